"""Gradients are clipped as in Keras: each alone, all together, or value by value."""

import keras
import numpy as np
import pytest
from support.behavior import (
    RATE,
    assert_follows,
    clip_each,
    clip_together,
    gradients_of,
    jit_choices,
    make_lars,
    make_references,
    make_variables,
    norm,
    tensors,
)

import keras_lars


def clip_values(gradients, limit):
    return [np.clip(g, -limit, limit) for g in gradients]


CLIPPING = {"clipnorm": clip_each, "global_clipnorm": clip_together, "clipvalue": clip_values}


@jit_choices
@pytest.mark.parametrize("limit", [0.75, 1, 100.0])
@pytest.mark.parametrize("kind", CLIPPING)
def test_clipping(kind, limit, jit_compile):
    variables, references = make_variables(), make_references()
    optimizer = make_lars(jit_compile=jit_compile, **{kind: limit})
    for i in range(3):
        gradients = gradients_of(i)
        optimizer.apply(tensors(gradients), variables)
        clipped = CLIPPING[kind](gradients, limit)
        # Some gradients exceed the first two limits, and none exceeds the last.
        assert any(norm(c) < 0.999 * norm(g) for c, g in zip(clipped, gradients)) == (limit <= 1)
        for reference, gradient in zip(references, clipped, strict=True):
            reference.step(gradient, RATE)
    assert_follows(variables, optimizer, references)


@jit_choices
@pytest.mark.parametrize("kind", CLIPPING)
def test_clipping_of_several_dtypes(kind, jit_compile):
    dtypes = ["float16", "float32", "float64"]
    variables = [keras.Variable(np.ones(2), dtype=dtype) for dtype in dtypes]
    gradients = [np.array([0.5, -2.0]), np.array([1.0, 0.25]), np.array([-4.0, 0.5])]
    # Without adaptation, momentum and decay, a step of rate 1 is the clipped gradient.
    optimizer = keras_lars.LARS(
        1.0,
        momentum=0.0,
        weight_decay=0.0,
        exclude_from_layer_adaptation=".*",
        jit_compile=jit_compile,
        **{kind: 0.75},
    )
    optimizer.apply(
        [keras.ops.convert_to_tensor(g, dtype) for g, dtype in zip(gradients, dtypes)], variables
    )
    for variable, clipped, digits in zip(variables, CLIPPING[kind](gradients, 0.75), (3, 6, 6)):
        np.testing.assert_allclose(variable, 1 - clipped, rtol=10.0**-digits, atol=10.0**-digits)
