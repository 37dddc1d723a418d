"""Gradients that are missing or sparse, or that replace their variable."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.behavior import (
    DECAY,
    MOMENTUM,
    RATE,
    TRUST,
    assert_follows,
    clip_each,
    clip_together,
    eagerly_and_in_a_graph,
    gradients_of,
    jit_choices,
    make_lars,
    make_references,
    make_variables,
    steps_of,
    without,
)
from support.models import (
    assert_close,
    assert_equal,
    make_variable,
    normal,
    numbers,
)
from support.reference import ReferenceLARS


@eagerly_and_in_a_graph
@pytest.mark.parametrize("options", [{}, {"clipnorm": 0.5}, {"global_clipnorm": 0.5}], ids=str)
def test_a_missing_gradient_leaves_variable_and_slot_alone(options, graph):
    variables, references = make_variables(), make_references()
    optimizer = make_lars(**options)
    step = steps_of(optimizer, variables, graph)
    step(gradients_of(0))
    before = [numbers(variables)[1], numbers(optimizer.momentums)[1]]
    assert np.any(before[1])
    with pytest.warns(UserWarning, match="Gradients do not exist.*kernel"):
        step(without(1, gradients_of(1)))
    assert_equal([numbers(variables)[1], numbers(optimizer.momentums)[1]], before)
    assert int(optimizer.iterations) == 2

    clip = {"clipnorm": clip_each, "global_clipnorm": clip_together}
    for i, positions in enumerate([(0, 1, 2, 3), (0, 2, 3)]):
        gradients = [gradients_of(i)[p] for p in positions]
        for kind, limit in options.items():
            gradients = clip[kind](gradients, limit)
        for position, gradient in zip(positions, gradients, strict=True):
            references[position].step(gradient, RATE)
    assert_follows(variables, optimizer, references)


def test_no_gradient_at_all_raises():
    variables = make_variables()
    with pytest.raises(ValueError, match="No gradients"):
        make_lars().apply([None] * len(variables), variables)


@jit_choices
@eagerly_and_in_a_graph
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"clipnorm": 0.5},
        {"global_clipnorm": 0.5},
        {"clipvalue": 0.25},
        {"loss_scale_factor": 4.0},
        {"gradient_accumulation_steps": 2},
        {"gradient_accumulation_steps": 2, "loss_scale_factor": 4.0, "clipvalue": 0.25},
        {"momentum_form": "ratio_outside", "nesterov": True, "decay_in_norm": True},
    ],
    ids=str,
)
def test_indexed_slices_equal_their_sum(options, graph, jit_compile):
    pairs = [
        [make_variable("table/embeddings", normal(5, (5, 2))), make_variable("b", normal(6, 3))]
        for _ in range(2)
    ]
    (sparse, dense) = [
        steps_of(make_lars(jit_compile=jit_compile, **options), pair, graph) for pair in pairs
    ]
    for i in range(4):
        # Row 3 occurs three times. Rows 0, 2 and 4 do not, but momentum and decay still move them.
        values, indices = normal([7, i], (4, 2)), [3, 1, 3, 3]
        slices = tf.IndexedSlices(*map(tf.constant, (values, indices, (5, 2))))
        total = np.zeros((5, 2), "float32")
        np.add.at(total, indices, values)
        other = normal([8, i], 3)
        sparse([slices, other])
        dense([total, other])
    assert_close(numbers(pairs[0]), numbers(pairs[1]))


@pytest.mark.slow
def test_a_model_with_an_embedding():
    def build():
        return keras.Sequential(
            [
                keras.Input((3,), dtype="int32"),
                keras.layers.Embedding(6, 2),
                keras.layers.Flatten(),
                keras.layers.Dense(1),
            ]
        )

    tokens = np.array([[0, 0, 5], [5, 5, 5], [1, 0, 3]])
    targets = normal(9, (3, 1))
    model, twin = build(), build()
    twin.set_weights(model.get_weights())
    model.compile(make_lars(jit_compile="auto"), "mse")
    for _ in range(3):
        model.train_on_batch(tokens, targets)

    # By hand, with the dense gradient that equals the slices.
    references = [ReferenceLARS(w, η=TRUST, m=MOMENTUM, β=DECAY) for w in twin.get_weights()]
    sparse = []
    for _ in range(3):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((twin(tokens) - targets) ** 2)
        gradients = tape.gradient(loss, [v.value for v in twin.trainable_variables])
        sparse += [isinstance(g, tf.IndexedSlices) for g in gradients]
        for reference, gradient in zip(references, gradients, strict=True):
            reference.step(tf.convert_to_tensor(gradient).numpy(), RATE)
        twin.set_weights([r.w for r in references])
    assert any(sparse)
    assert_close(model.get_weights(), [r.w for r in references], tolerance=1e-5)


@eagerly_and_in_a_graph
@jit_choices
@pytest.mark.parametrize("options", [{}, {"use_ema": True}, {"global_clipnorm": 0.5}], ids=str)
def test_overwritten_variables(options, graph, jit_compile):
    variables, references = make_variables(), make_references()
    variables[1].overwrite_with_gradient = True
    optimizer = make_lars(jit_compile=jit_compile, **options)
    step = steps_of(optimizer, variables, graph)
    assert optimizer.momentums[1] is None
    assert [slot is None for slot in optimizer.momentums] == [False, True, False, False]
    kept = (0, 2, 3)
    for i in range(2):
        step(gradients_of(i))
        assert_equal([numbers(variables)[1]], [gradients_of(i)[1]])
        gradients = [gradients_of(i)[k] for k in kept]
        if "global_clipnorm" in options:
            # The "gradient" of a scale is not a gradient, so the global norm leaves it out.
            gradients = clip_together(gradients, options["global_clipnorm"])
        for k, gradient in zip(kept, gradients, strict=True):
            references[k].step(gradient, RATE)
    assert_close([numbers(variables)[k] for k in kept], [references[k].w for k in kept])
    assert_close(numbers([optimizer.momentums[k] for k in kept]), [references[k].v for k in kept])


@eagerly_and_in_a_graph
def test_overwritten_variables_under_accumulation(graph):
    variables, references = make_variables(), make_references()
    variables[1].overwrite_with_gradient = True
    optimizer = make_lars(gradient_accumulation_steps=2)
    step = steps_of(optimizer, variables, graph)
    assert optimizer.momentums[1] is None
    for update in range(2):
        first, second = gradients_of(2 * update), gradients_of(2 * update + 1)
        before = numbers(variables)[1]
        step(first)
        assert_equal([numbers(variables)[1]], [before])
        step(second)
        # Keras keeps the maximum over the micro-batches, from an accumulator that starts at 0 (the
        # gradients here have both signs).
        largest = np.maximum(np.maximum(first[1], second[1]), 0.0)
        assert_equal([numbers(variables)[1]], [largest])
        for k in (0, 2, 3):
            references[k].step(np.mean([first[k], second[k]], axis=0), RATE)
    kept = (0, 2, 3)
    assert_close([numbers(variables)[k] for k in kept], [references[k].w for k in kept])


def test_only_overwritten_variables():
    variable = make_variable("scale", [1.0, 2.0], overwrite_with_gradient=True)
    optimizer = make_lars()
    optimizer.apply([tf.constant([3.0, 4.0])], [variable])
    np.testing.assert_array_equal(variable.numpy(), [3.0, 4.0])
    assert optimizer.momentums == [None]
    assert int(optimizer.iterations) == 1
