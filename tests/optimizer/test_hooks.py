"""Subclasses may override methods that LARS calls, but not methods that it never calls."""

import functools
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.models import make_variable

import keras_lars
from keras_lars._keras.hooks import NEVER_CALLED


class Mixin:
    """A mixin as it could be written for Keras's own optimizers."""

    def update_step(self, gradient, variable, learning_rate):
        raise AssertionError


@pytest.mark.parametrize("name", NEVER_CALLED)
def test_a_subclass_is_refused_when_it_is_defined(name):
    with pytest.raises(ValueError, match=rf"`{name}` must not.* Override .*Received: Mine.{name}"):
        type("Mine", (keras_lars.LARS,), {name: lambda self, *args: None})


def test_the_message_names_what_to_override():
    with pytest.raises(ValueError, match=r"Override `apply\(grads, trainable_variables\)`"):

        class Mine(keras_lars.LARS):
            def update_step(self, gradient, variable, learning_rate):
                pass


@pytest.mark.parametrize("other", [Mixin, keras.optimizers.SGD])
def test_a_hook_that_is_inherited_from_elsewhere_is_refused(other):
    with pytest.raises(ValueError, match=rf"Received: {other.__name__}\.update_step"):
        type("Mine", (other, keras_lars.LARS), {})
    # After LARS in the bases, it is unused like Keras's own method, and overrides nothing.
    type("Mine", (keras_lars.LARS, other), {})


def test_a_subclass_of_a_subclass():
    class Good(keras_lars.LARS):
        pass

    with pytest.raises(ValueError, match=r"Received: Bad\.assign"):
        type("Bad", (Good,), {"assign": None})


def test_assigning_a_hook_to_an_optimizer_is_refused():
    optimizer = keras_lars.LARS()
    with pytest.raises(ValueError, match="`update_step` must not"):
        optimizer.update_step = lambda *args: None


OPTIONS = {
    "clipnorm": 1.0,
    "use_ema": True,
    "ema_overwrite_frequency": 2,
    "gradient_accumulation_steps": 2,
}


def take_steps(optimizer):
    variable = make_variable("layer/kernel", np.ones((2, 3)))
    variable.constraint = keras.constraints.NonNeg()
    for _ in range(4):
        optimizer.apply([tf.ones((2, 3))], [variable])
    optimizer.finalize_variable_values([variable])


def test_refused_methods_are_those_that_keras_calls_in_a_fit_and_lars_does_not(monkeypatch):
    called = set()

    def recorded(name, function):
        @functools.wraps(function)
        def record(*args, **kwargs):
            called.add(name)
            return function(*args, **kwargs)

        return record

    for kind in keras_lars.LARS.__mro__[:-1]:
        # TensorFlow's base classes and Keras's tracking are not part of a step.
        for name, function in list(vars(kind).items()):
            if kind.__name__.endswith("Optimizer") and inspect.isfunction(function):
                monkeypatch.setattr(kind, name, recorded(name, function))
    take_steps(keras_lars.LARS(jit_compile=False, **OPTIONS))
    called_by_lars = {*called}
    called.clear()
    monkeypatch.setattr(keras.optimizers.SGD, "update_step", recorded("update_step", _sgd_step))
    take_steps(keras.optimizers.SGD(weight_decay=0.1, **OPTIONS))
    assert {"_clip_gradients", "_filter_empty_gradients"} <= called_by_lars & called
    assert not called_by_lars & {*NEVER_CALLED}
    assert called - called_by_lars <= {*NEVER_CALLED}
    assert {"update_step", "_apply_weight_decay", "assign_sub"} <= called - called_by_lars


_sgd_step = keras.optimizers.SGD.update_step


@pytest.mark.parametrize("options", [{}, {"clipnorm": 1.0}], ids=str)
def test_other_hooks_are_called(options):
    class Mine(keras_lars.LARS):
        def apply(self, grads, trainable_variables=None):
            super().apply([2.0 * g for g in grads], trainable_variables)

        def _clip_gradients(self, grads):
            return [tf.fill(g.shape, float(tf.reduce_max(g))) for g in grads]

        def _get_current_learning_rate(self):
            return 0.5

    variable = make_variable("layer/kernel", [[1.0, 1.0]])
    rule = {"exclude_from_layer_adaptation": "kernel", "jit_compile": False}
    optimizer = Mine(momentum=0, weight_decay=0, **rule, **options)
    optimizer.apply([tf.constant([[0.25, 0.75]])], [variable])
    np.testing.assert_array_equal(variable.numpy(), [[0.25, 0.25]])  # 1 - 0.5 * 2 * 0.75
