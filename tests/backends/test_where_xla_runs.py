"""`jit_compile` on a device for which XLA cannot compile, and inside an open gradient tape."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_lars
from keras_lars._backends import tensorflow_xla


@pytest.fixture
def without_xla(monkeypatch):
    monkeypatch.setattr(tensorflow_xla, "why_not_xla", lambda kind: f"no XLA for {kind}")


def one_update(**arguments):
    variable = keras.Variable(np.array([3.0, 4.0], "float32"))
    optimizer = keras_lars.LARS(10, momentum=0, weight_decay=0, **arguments)
    optimizer.apply([tf.constant([0.0, 0.5])], [variable])
    return optimizer, variable.numpy()


def test_auto_falls_back_to_plain_operations(without_xla):
    optimizer, weights = one_update(jit_compile="auto")
    assert not optimizer._update.compiled
    np.testing.assert_allclose(weights, [3.0, 3.95])


def test_true_raises(without_xla):
    with pytest.raises(
        ValueError, match=r"`jit_compile`.*no XLA for CPU.*Received: jit_compile=True"
    ):
        one_update(jit_compile=True)


def test_a_device_where_xla_runs_is_recognized():
    assert tensorflow_xla.why_not_xla("CPU") is None


@pytest.mark.slow
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("in_function", [False, True])
def test_an_update_inside_an_open_tape(persistent, in_function):
    """One wrong indentation is enough to write this."""
    variable = keras.Variable(np.linspace(-1, 1, 40, dtype="float32"))
    optimizer = keras_lars.LARS(1.0, record_trust_ratios=True)
    optimizer.build([variable])

    def step():
        with tf.GradientTape(persistent=persistent) as tape:
            loss = tf.reduce_sum(variable.value**2)
            optimizer.apply([tape.gradient(loss, variable.value)], [variable])

    before = variable.numpy()
    (tf.function(step) if in_function else step)()
    assert np.all(np.isfinite(variable.numpy()))
    assert not np.array_equal(variable.numpy(), before)
