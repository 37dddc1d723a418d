"""Variables, gradients and NumPy references for tests of what every Keras optimizer does.

Tests give the references what Keras itself must compute: the learning rate of the step, the clipped
gradient, the average.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_lars
from support.models import (
    assert_close,
    batch,
    make_variable,
    normal,
    numbers,
)
from support.reference import ReferenceLARS

RATE, MOMENTUM, DECAY, TRUST = 0.5, 0.75, 0.125, 0.25  # exact in every floating-point type
# Two kernels have the same shape, so that tests notice mixed-up slots.
SHAPES = {"a/kernel": (2, 3), "b/kernel": (2, 3), "b/bias": (3,), "c/temperature": ()}


def make_lars(learning_rate=RATE, **options):
    options = {
        "momentum": MOMENTUM,
        "weight_decay": DECAY,
        "trust_coefficient": TRUST,
        "exclude_from_weight_decay": [],
        "jit_compile": False,
        **options,
    }
    return keras_lars.LARS(learning_rate, **options)


def make_variables(dtype="float32", **attributes):
    return [
        make_variable(path, normal([3, i], shape), dtype, **attributes)
        for i, (path, shape) in enumerate(SHAPES.items())
    ]


def make_references():
    return [
        ReferenceLARS(normal([3, i], shape), η=TRUST, m=MOMENTUM, β=DECAY)
        for i, shape in enumerate(SHAPES.values())
    ]


def gradients_of(step):
    return [normal([4, step, i], shape) for i, shape in enumerate(SHAPES.values())]


def squares_of(micro):
    """By definition, for each variable: (mean square of the parts, square of their mean)."""
    by_variable = [np.array(same, "float64") for same in zip(*micro, strict=True)]
    return [
        (np.mean([np.sum(g**2) for g in parts]), np.sum(parts.mean(axis=0) ** 2))
        for parts in by_variable
    ]


def tensors(gradients):
    return [g if g is None or tf.is_tensor(g) else tf.constant(g) for g in gradients]


def assert_follows(variables, optimizer, references, tolerance=1e-6):
    assert_close(numbers(variables), [r.w for r in references], tolerance)
    assert_close(numbers(optimizer.momentums), [r.v for r in references], tolerance)


def steps_of(optimizer, variables, graph=False):
    """A function that takes one step with a list of arrays, eagerly or in a tf.function."""
    optimizer.build(variables)

    def apply(gradients):
        optimizer.apply(gradients, variables)

    run = tf.function(apply) if graph else apply
    return lambda gradients: run(tensors(gradients))


eagerly_and_in_a_graph = pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
jit_choices = pytest.mark.parametrize("jit_compile", ["auto", False])


SCHEDULES = {
    "polynomial": keras.optimizers.schedules.PolynomialDecay(0.5, 4, 0.125, power=2.0),
    "exponential": keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5),
    "warm-up": keras_lars.schedules.WarmUp(
        keras.optimizers.schedules.ExponentialDecay(0.5, 3, 0.5), warmup_steps=2
    ),
}


def fit(model, epochs=4, **options):
    inputs, targets = batch(0, size=16)
    return model.fit(inputs, targets, 8, epochs, verbose=0, shuffle=False, **options)


def norm(array):
    return np.sqrt(np.sum(np.square(np.asarray(array, "float64"))))


def clip_each(gradients, limit):
    return [g * min(1.0, limit / norm(g)) for g in gradients]


def clip_together(gradients, limit):
    together = norm([norm(g) for g in gradients])
    return [g * min(1.0, limit / together) for g in gradients]


def without(position, gradients):
    return [None if i == position else g for i, g in enumerate(gradients)]
