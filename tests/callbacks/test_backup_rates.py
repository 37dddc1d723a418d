"""A constant learning rate that was changed for a restart is the user's choice, and he is told."""

import re
import warnings

import keras
import numpy as np
import pytest
from support.backups import BATCH, INPUTS, TARGETS
from support.models import FEATURES

import keras_lars
from keras_lars.callbacks import BackupAndRestore

pytestmark = pytest.mark.slow


def make_model(optimizer):
    model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(1)])
    model.compile(optimizer, "mse", run_eagerly=True)
    return model


class SetRate(keras.callbacks.Callback):
    """As `ReduceLROnPlateau` does."""

    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def on_epoch_begin(self, epoch, logs=None):
        self.model.optimizer.learning_rate = self.rate


def fit(model, folder, epochs, *callbacks):
    """The learning rate at the end, and what is said of it."""
    callbacks = [*callbacks, BackupAndRestore(folder, delete_checkpoint=False)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(INPUTS, TARGETS, BATCH, epochs=epochs, callbacks=callbacks, verbose=0)
    rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
    return rate, [str(each.message) for each in caught if "rate" in str(each.message)]


OPTIMIZERS = {
    "sgd": lambda rate: keras.optimizers.SGD(rate, momentum=0.9),
    "lars": lambda rate: keras_lars.LARS(rate, jit_compile=False),
    "scaled": lambda rate: keras_lars.LossScaleOptimizer(keras.optimizers.SGD(rate)),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_changed_rate_is_used(tmp_path, make):
    assert fit(make_model(make(0.5)), tmp_path, 1) == (0.5, [])
    assert fit(make_model(make(0.5)), tmp_path, 2) == (0.5, [])  # not changed
    model = make_model(make(0.375))
    assert fit(model, tmp_path, 3) == (
        0.375,
        [
            f"The learning rate is 0.375, as set for this run. The training in '{tmp_path}' began "
            "with 0.5, and was backed up with 0.5."
        ],
    )
    assert int(model.optimizer.iterations) == 18  # all else is restored
    # From then on it is the one that the training began with.
    assert fit(make_model(make(0.375)), tmp_path, 4) == (0.375, [])


def test_a_rate_that_a_callback_has_changed_is_restored(tmp_path):
    make = OPTIMIZERS["sgd"]
    assert fit(make_model(make(0.5)), tmp_path, 1, SetRate(0.125)) == (0.125, [])
    model = make_model(make(0.5))
    assert fit(model, tmp_path, 2) == (0.125, [])
    # Also in the same process, in which it is the rate there was.
    assert fit(model, tmp_path, 3) == (0.125, [])
    rate, said = fit(make_model(make(0.25)), tmp_path, 4)
    assert rate == 0.25
    assert said[0].endswith("began with 0.5, and was backed up with 0.125.")


def test_a_schedule_is_not_a_constant_rate(tmp_path):
    def make(rate):
        return make_model(
            keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(rate, 6, 0.5))
        )

    assert fit(make(0.5), tmp_path, 1)[1] == []
    rate, said = fit(make(0.25), tmp_path, 2)
    assert np.isclose(rate, 0.25 * 0.5**2)
    (message,) = said
    assert re.fullmatch(
        r"The learning-rate schedule is .*0\.25,.*, as set for this run\. The training in "
        rf"'{tmp_path}' was backed up with .*0\.5,.*\.",
        message,
    )
    assert fit(make(0.25), tmp_path, 3)[1] == []  # said once


class Own(keras.optimizers.schedules.LearningRateSchedule):
    """Without a configuration."""

    def __call__(self, step):
        return 0.5


def test_a_schedule_without_a_configuration_is_not_compared(tmp_path):
    for epochs in (1, 2):
        assert fit(make_model(keras.optimizers.SGD(Own())), tmp_path, epochs)[1] == []
