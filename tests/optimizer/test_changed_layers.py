"""Layers, or the optimizer, that change after TensorFlow has compiled the training step."""

import warnings

import keras
import numpy as np
import pytest
from support.models import FEATURES, batch

import keras_lars

pytestmark = pytest.mark.slow

ADVICE = (
    " Keras compiles the training step once: call `compile`, with a new optimizer, after you "
    "change `trainable` or the optimizer. Received: optimizer 'lars'"
)


def make_model(trainable=True, wrap=lambda optimizer: optimizer, of_class=keras.Model):
    inputs = keras.Input((FEATURES,))
    outputs = keras.layers.Dense(FEATURES, name="base", trainable=trainable)(inputs)
    model = of_class(inputs, keras.layers.Dense(1, name="head")(outputs))
    compile_again(model, wrap)
    return model


def compile_again(model, wrap=lambda optimizer: optimizer):
    model.compile(wrap(keras_lars.LARS(jit_compile=False)), "mse", jit_compile=False)


def fit(model, **options):
    """Whether the base was trained, and the warnings."""
    before = np.array(model.get_layer("base").kernel)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(*batch(0), batch_size=4, verbose=0, **options)
    is_trained = bool(np.any(before != np.array(model.get_layer("base").kernel)))
    return is_trained, [str(each.message) for each in caught if each.category is UserWarning]


@pytest.mark.parametrize("wrap", [lambda o: o, keras_lars.LossScaleOptimizer])
def test_a_layer_that_is_unfrozen_between_two_fits(wrap):
    model = make_model(trainable=False, wrap=wrap)
    assert fit(model) == (False, [])
    model.get_layer("base").trainable = True
    is_trained, (message,) = fit(model)
    assert not is_trained
    assert message == (
        "`fit` did not train `base/kernel`, `base/bias`, although they are not frozen." + ADVICE
    )
    assert fit(model) == (False, [])  # it is said once
    compile_again(model, wrap)
    assert fit(model) == (True, [])


def test_a_layer_that_a_callback_unfreezes():
    model = make_model(trainable=False)

    def unfreeze(epoch, logs):
        model.get_layer("base").trainable = True

    callback = keras.callbacks.LambdaCallback(on_epoch_begin=unfreeze)
    unused = fit(model)
    assert unused == (False, [])
    is_trained, (message,) = fit(model, callbacks=[callback])
    assert not is_trained
    assert message.startswith("`fit` did not train `base/kernel`, `base/bias`")


def test_a_layer_that_is_frozen_between_two_fits():
    model = make_model()
    assert fit(model) == (True, [])
    model.get_layer("base").trainable = False
    is_trained, (message,) = fit(model)
    assert is_trained
    assert message == (
        "`fit` still trained `base/kernel`, `base/bias`, although they are frozen." + ADVICE
    )
    model.compile(model.optimizer, "mse", jit_compile=False)
    assert fit(model) == (False, [])


def test_a_single_variable_that_is_frozen():
    model = make_model()
    fit(model)
    model.get_layer("base").bias.trainable = False
    _, (message,) = fit(model)
    assert message == "`fit` still trained `base/bias`, although it is frozen." + ADVICE


def test_an_optimizer_that_is_assigned():
    model = make_model()
    model.fit(*batch(0), verbose=0)
    model.optimizer = keras_lars.LARS(jit_compile=False)
    is_trained, (message,) = fit(model)
    assert is_trained
    assert message == "`fit` made no update with the optimizer of the model." + ADVICE
    assert not model.optimizer.built


def test_a_model_of_which_all_was_frozen():
    model = make_model()
    model.trainable = False
    compile_again(model)
    assert not fit(model)[0]
    model.trainable = True
    is_trained, (message,) = fit(model)
    assert not is_trained
    assert message == "`fit` made no update with the optimizer of the model." + ADVICE


class TrainsItsHead(keras.Model):
    """A step of its own, which leaves out a layer on purpose."""

    def train_step(self, data):
        import tensorflow as tf

        x, y = data
        variables = self.get_layer("head").trainable_variables
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return {"loss": loss}


def test_a_step_of_the_users_own():
    assert fit(make_model(of_class=TrainsItsHead)) == (False, [])


def test_a_fit_that_makes_no_batch():
    model = make_model()
    assert fit(model, epochs=1, initial_epoch=1) == (False, [])
    model.fit(*batch(0), verbose=0)
    model.get_layer("base").trainable = False
    model.compile(model.optimizer, "mse", jit_compile=False)
    assert fit(model, epochs=1, initial_epoch=1) == (False, [])
