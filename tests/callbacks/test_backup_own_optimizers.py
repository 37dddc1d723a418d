"""Backups of models that keep their optimizers themselves, such as GANs with two of them."""

import keras
import pytest
from support.backups import INPUTS, TARGETS, After, InterruptionError, refusal
from support.models import FEATURES, assert_equal

import keras_lars
from keras_lars.callbacks import BackupAndRestore


class TwoOptimizers(keras.Sequential):
    def train_step(self, data):
        x, y = data
        for layer, optimizer in zip(self.layers, (self.first, self.second), strict=True):
            optimizer.apply([keras.ops.sum(x) * variable for variable in layer.weights])
        return {"target": y[0, 0]}


def make_model(is_built=True, **options):
    keras.utils.set_random_seed(0)
    layers = keras.layers.Dense(FEATURES), keras.layers.Dense(1)
    model = TwoOptimizers([keras.Input((FEATURES,)), *layers])
    model.compile(run_eagerly=True, **options)
    model.first, model.second = keras_lars.LARS(), keras_lars.LARS()
    if is_built:
        model.first.build(layers[0].weights)
        model.second.build(layers[1].weights)
    return model


def fit(model, *callbacks):
    model.fit(INPUTS, TARGETS, shuffle=False, verbose=0, callbacks=callbacks)


@pytest.mark.parametrize("of_compile", ["rmsprop", None])
def test_all_are_restored(tmp_path, of_compile):
    uninterrupted = make_model(optimizer=of_compile)
    fit(uninterrupted)
    with pytest.raises(InterruptionError):
        fit(make_model(optimizer=of_compile), BackupAndRestore(tmp_path, save_freq=1), After(1))
    resumed = make_model(optimizer=of_compile)
    fit(resumed, BackupAndRestore(tmp_path, save_freq=1))
    assert_equal(resumed.weights, uninterrupted.weights)
    for name in ("first", "second"):
        optimizers = getattr(resumed, name), getattr(uninterrupted, name)
        assert_equal(*(optimizer.variables for optimizer in optimizers))


def test_they_must_be_built(tmp_path):
    message = refusal(fit, make_model(is_built=False), BackupAndRestore(tmp_path))
    assert "call `build(variables)`. Received: LARS()" in message
