"""Shapes and types of variables, and the variables that the optimizer adds."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.behavior import (
    DECAY,
    MOMENTUM,
    RATE,
    SCHEDULES,
    SHAPES,
    TRUST,
    assert_follows,
    clip_each,
    clip_together,
    gradients_of,
    jit_choices,
    make_lars,
    make_references,
    make_variables,
    tensors,
)
from support.models import (
    assert_close,
    assert_equal,
    make_variable,
    normal,
    numbers,
)
from support.reference import ReferenceLARS


@jit_choices
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,), (1, 1, 1), (2, 3, 1, 2, 2)], ids=str)
@pytest.mark.parametrize("options", [{}, {"clipnorm": 0.5}, {"use_ema": True}], ids=str)
def test_shapes(shape, options, jit_compile):
    # Together with another variable, which an empty one must not disturb.
    shapes = [shape, (2, 3)]
    variables = [make_variable(f"v{i}", normal([10, i], s)) for i, s in enumerate(shapes)]
    references = [
        ReferenceLARS(normal([10, i], s), η=TRUST, m=MOMENTUM, β=DECAY)
        for i, s in enumerate(shapes)
    ]
    optimizer = make_lars(jit_compile=jit_compile, **options)
    for i in range(2):
        gradients = [normal([11, i, j], s) for j, s in enumerate(shapes)]
        optimizer.apply(tensors(gradients), variables)
        for reference, gradient in zip(references, gradients, strict=True):
            limit = options.get("clipnorm", np.inf) if gradient.size else np.inf
            reference.step(*clip_each([gradient], limit) if gradient.size else [gradient], RATE)
    assert [tuple(slot.shape) for slot in optimizer.momentums] == shapes
    assert_follows(variables, optimizer, references)


@jit_choices
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("float16", 2**-9), ("bfloat16", 2**-6), ("float32", 1e-6), ("float64", 1e-13)],
)
@pytest.mark.parametrize("options", [{}, {"global_clipnorm": 0.5}], ids=str)
def test_types(dtype, tolerance, options, jit_compile):
    variables = make_variables(dtype)
    # The reference starts from the variable's rounded values.
    references = [
        ReferenceLARS(w.astype("float64"), η=TRUST, m=MOMENTUM, β=DECAY) for w in numbers(variables)
    ]
    optimizer = make_lars(jit_compile=jit_compile, **options)
    for i in range(3):
        gradients = [tf.cast(g, dtype) for g in gradients_of(i)]
        optimizer.apply(gradients, variables)
        rounded = [g.numpy().astype("float64") for g in gradients]
        for limit in options.values():
            rounded = clip_together(rounded, limit)
        for reference, gradient in zip(references, rounded, strict=True):
            reference.step(gradient, RATE)
    for variable in [*variables, *optimizer.momentums]:
        assert keras.backend.standardize_dtype(variable.dtype) == dtype
    weights = [w.astype("float64") for w in numbers(variables)]
    assert_close(weights, [r.w for r in references], tolerance)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # Iteration and learning rate, then one slot per variable.
        ({}, 2 + 4),
        ({"learning_rate": SCHEDULES["polynomial"]}, 1 + 4),
        ({"momentum": 0}, 2),
        ({"use_ema": True}, 2 + 4 + 4),
        ({"gradient_accumulation_steps": 2}, 2 + 4 + 4),
        ({"momentum": 0, "use_ema": True, "gradient_accumulation_steps": 2}, 2 + 4 + 4),
        ({"exclude_from_layer_adaptation": "kernel", "trust_clip": True}, 2 + 4),
    ],
)
@jit_choices
def test_the_number_of_variables(options, expected, jit_compile):
    variables = make_variables()
    created = []

    def count(next_creator, **kwargs):
        created.append(kwargs.get("name"))
        return next_creator(**kwargs)

    # Counted where TensorFlow creates them, since a hidden variable would not be in the list.
    with tf.variable_creator_scope(count):
        optimizer = make_lars(jit_compile=jit_compile, **options)
        optimizer.apply(tensors(gradients_of(0)), variables)
    assert len(optimizer.variables) == len(created) == expected
    if "momentum" in options:
        assert optimizer.momentums == []
    else:
        assert [tuple(m.shape) for m in optimizer.momentums] == list(SHAPES.values())
        assert {id(m) for m in optimizer.momentums} <= {id(v) for v in optimizer.variables}


def test_without_momentum_the_reference_is_followed():
    variables = make_variables()
    references = [ReferenceLARS(w, η=TRUST, m=0.0, β=DECAY) for w in numbers(variables)]
    optimizer = make_lars(momentum=0)
    for i in range(3):
        optimizer.apply(tensors(gradients_of(i)), variables)
        for reference, gradient in zip(references, gradients_of(i), strict=True):
            reference.step(gradient, RATE)
    assert_close(numbers(variables), [r.w for r in references])


def test_building_twice_is_harmless():
    variables, references = make_variables(), make_references()
    optimizer = make_lars(use_ema=True)
    optimizer.build(variables)
    optimizer.apply(tensors(gradients_of(0)), variables)
    before = optimizer.variables
    state = numbers(before)
    optimizer.build(variables)
    assert [id(v) for v in optimizer.variables] == [id(v) for v in before]
    assert_equal(numbers(optimizer.variables), state)
    optimizer.apply(tensors(gradients_of(1)), variables)
    for i in range(2):
        for reference, gradient in zip(references, gradients_of(i), strict=True):
            reference.step(gradient, RATE)
    assert_follows(variables, optimizer, references)


def test_unknown_variables_raise():
    variables = make_variables()
    optimizer = make_lars()
    optimizer.build(variables[:2])
    with pytest.raises(ValueError, match="Unknown variable"):
        optimizer.apply(tensors(gradients_of(0)), variables)
    with pytest.raises(ValueError, match="gradients"):
        optimizer.apply(tensors(gradients_of(0)))


def test_set_weights():
    variables, others = make_variables(), make_variables()
    optimizer, other = make_lars(), make_lars(0.125)
    for i in range(2):
        optimizer.apply(tensors(gradients_of(i)), variables)
    other.build(others)
    other.set_weights(numbers(optimizer.variables))
    for variable, value in zip(others, numbers(variables), strict=True):
        variable.assign(value)
    assert float(other.learning_rate) == RATE
    for each, its_variables in ((optimizer, variables), (other, others)):
        each.apply(tensors(gradients_of(2)), its_variables)
    assert_equal(numbers(others), numbers(variables))
    assert_equal(numbers(other.variables), numbers(optimizer.variables))


@jit_choices
def test_weight_decay_is_not_applied_a_second_time(jit_compile):
    variable = make_variable("v", [3.0, 4.0])
    optimizer = make_lars(momentum=0.0, jit_compile=jit_compile)
    optimizer.apply([tf.constant([0.6, 0.8])], [variable])
    # |w| = 5, |g| = 1, the ratio is 0.25 * 5 / (1 + 0.125 * 5) = 10 / 13, the rate 0.5.
    expected = [3.0 - 0.5 * 10 / 13 * (0.6 + 0.375), 4.0 - 0.5 * 10 / 13 * (0.8 + 0.5)]
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-6)


def test_weight_decay_alone_shrinks_by_the_formula():
    # The ratio is `zero_gradient_ratio`, and rate * ratio * decay * w is subtracted once.
    variable = make_variable("v", [3.0, 4.0])
    make_lars(momentum=0.0, zero_gradient_ratio=0.5).apply([tf.zeros(2)], [variable])
    np.testing.assert_allclose(
        variable.numpy(), np.array([3.0, 4.0]) * (1 - 0.5 * 0.5 * 0.125), rtol=1e-6
    )
