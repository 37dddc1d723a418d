"""Gradients are clipped as in Keras: each alone, all together, or value by value."""

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
