"""k micro-batches equal one batch k times as large."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.behavior import (
    RATE,
    SCHEDULES,
    assert_follows,
    eagerly_and_in_a_graph,
    gradients_of,
    make_lars,
    make_references,
    make_variables,
    steps_of,
    tensors,
    without,
)
from support.models import (
    assert_close,
    assert_equal,
    batch,
    compiled,
    numbers,
    sequential,
)


@keras.saving.register_keras_serializable(package="keras_lars_tests")
class Shrink(keras.constraints.Constraint):
    """Its result differs if it is applied twice, so tests notice if that happens."""

    def __call__(self, w):
        return 0.5 * w


ACCUMULATED = {
    "plain": {},
    "schedule": {"learning_rate": keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)},
    "clipnorm": {"clipnorm": 0.5},
    "global_clipnorm": {"global_clipnorm": 0.5},
    "clipvalue": {"clipvalue": 0.25},
    "average": {"use_ema": True, "ema_momentum": 0.5},
    "overwriting average": {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
    "loss scale": {"loss_scale_factor": 4.0},
    "ratio outside": {"momentum_form": "ratio_outside", "nesterov": True},
    "everything": {
        "learning_rate": SCHEDULES["polynomial"],
        "global_clipnorm": 0.5,
        "use_ema": True,
        "ema_overwrite_frequency": 3,
        "loss_scale_factor": 2.0,
        "momentum_form": "learning_rate_outside",
    },
}


def state_of_updates(optimizer):
    return [v for v in optimizer.variables if not v.path.endswith(("iteration", "accumulator"))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "micro_batches", "graph", "constraint"),
    [
        # Every option with two and with three micro-batches, eagerly or in a graph, with or
        # without the constraint. The options together cover each pair of these choices.
        (name, 2 + j, (i + j) % 2 == 0, (i // 2 + j) % 2 == 0)
        for i, name in enumerate(ACCUMULATED)
        for j in (0, 1)
    ],
)
def test_micro_batches_equal_one_batch(name, micro_batches, graph, constraint):
    options, constraint = ACCUMULATED[name], Shrink() if constraint else None
    attributes = {"constraint": constraint} if constraint else {}
    whole, parts = make_variables(**attributes), make_variables(**attributes)
    optimizer = make_lars(**options)
    accumulating = make_lars(**options, gradient_accumulation_steps=micro_batches)
    step_whole = steps_of(optimizer, whole, graph)
    step_part = steps_of(accumulating, parts, graph)
    scale = options.get("loss_scale_factor", 1.0)

    for update in range(4):
        micro = [gradients_of(update * micro_batches + i) for i in range(micro_batches)]
        step_whole([scale * np.mean(same, axis=0) for same in zip(*micro, strict=True)])
        for i, gradients in enumerate(micro):
            assert int(accumulating.iterations) == update
            before = numbers(parts) + numbers(state_of_updates(accumulating))
            step_part([scale * g for g in gradients])
            if i < micro_batches - 1:
                assert_equal(numbers(parts) + numbers(state_of_updates(accumulating)), before)
        assert_close(numbers(parts), numbers(whole))
        assert_close(numbers(state_of_updates(accumulating)), numbers(state_of_updates(optimizer)))
        assert float(accumulating.learning_rate) == float(optimizer.learning_rate)
        assert int(accumulating.iterations) == int(optimizer.iterations) == update + 1


@pytest.mark.slow
def test_micro_batches_equal_one_batch_in_fit():
    # Without batch statistics, which would be those of a micro-batch.
    options = {"learning_rate": SCHEDULES["polynomial"], "clipnorm": 0.25, "jit_compile": "auto"}
    whole = compiled(sequential, make_lars(**options))
    parts = compiled(sequential, make_lars(**options, gradient_accumulation_steps=4))
    inputs, targets = batch(0, size=32)
    for model, size in ((whole, 16), (parts, 4)):
        model.fit(inputs, targets, size, epochs=2, shuffle=False, verbose=0)
    assert_close(parts.get_weights(), whole.get_weights(), tolerance=1e-5)
    assert int(parts.optimizer.iterations) == int(whole.optimizer.iterations) == 4


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_a_gradient_that_is_missing_in_one_micro_batch_counts_as_zero():
    ends = []
    for missing in (None, keras.ops.zeros(2)):
        kept, at_times = (keras.Variable([3.0, 4.0], name=name) for name in ("kept", "at_times"))
        optimizer = make_lars(gradient_accumulation_steps=2)
        ones = keras.ops.ones(2)
        for gradient in (ones, missing, missing, ones):
            optimizer.apply([ones, gradient], [kept, at_times])
        ends.append(numbers([kept, at_times, *optimizer.variables]))
    assert_equal(*ends)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_a_gradient_that_is_missing_in_a_traced_step():
    used, unused = (keras.Variable([3.0, 4.0], name=name) for name in ("used", "unused"))
    optimizer = make_lars(gradient_accumulation_steps=2, jit_compile=False)
    optimizer.build([used, unused])
    step = tf.function(lambda gradient: optimizer.apply([gradient, None], [used, unused]))
    for _ in range(2):
        step(keras.ops.ones(2))
    assert int(optimizer.iterations) == 1
    assert numbers([unused])[0].tolist() == [3.0, 4.0]


def test_accumulation_with_a_missing_gradient():
    variables, references = make_variables(), make_references()
    optimizer = make_lars(gradient_accumulation_steps=2)
    for i in range(4):
        with pytest.warns(UserWarning, match="Gradients do not exist.*bias"):
            optimizer.apply(tensors(without(2, gradients_of(i))), variables)
    for update in range(2):
        for which in (0, 1, 3):
            gradients = [gradients_of(2 * update + i)[which] for i in range(2)]
            references[which].step(np.mean(gradients, axis=0), RATE)
    assert_follows(variables, optimizer, references)


@eagerly_and_in_a_graph
def test_constraints(graph):
    variables, references = make_variables(), make_references()
    variables[1].constraint = Shrink()
    variables[2].constraint = keras.constraints.NonNeg()
    optimizer = make_lars()
    step = steps_of(optimizer, variables, graph)
    for i in range(3):
        step(gradients_of(i))
        for reference, gradient in zip(references, gradients_of(i), strict=True):
            reference.step(gradient, RATE)
        # The weights are constrained after the update, but the slots never are.
        references[1].w = 0.5 * references[1].w
        references[2].w = np.maximum(references[2].w, 0.0)
    assert_follows(variables, optimizer, references)
