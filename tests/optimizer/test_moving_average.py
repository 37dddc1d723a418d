"""The exponential moving average of the weights, and weights that it overwrites."""

import keras
import numpy as np
import pytest
from support.behavior import (
    RATE,
    assert_follows,
    eagerly_and_in_a_graph,
    fit,
    gradients_of,
    make_lars,
    make_references,
    make_variables,
    steps_of,
)
from support.models import (
    assert_close,
    assert_equal,
    compiled,
    numbers,
    sequential,
)


def averages_of(optimizer):
    return [v for v in optimizer.variables if "average" in v.path]


@pytest.mark.slow
@eagerly_and_in_a_graph
@pytest.mark.parametrize("frequency", [None, 1, 2, 3])
def test_averages(frequency, graph):
    variables, references = make_variables(), make_references()
    optimizer = make_lars(use_ema=True, ema_momentum=0.75, ema_overwrite_frequency=frequency)
    step = steps_of(optimizer, variables, graph)
    averages = None
    for i in range(5):
        step(gradients_of(i))
        for reference, gradient in zip(references, gradients_of(i), strict=True):
            reference.step(gradient, RATE)
        weights = [r.w for r in references]
        # The average starts at the weights after the first update.
        averages = (
            weights
            if averages is None
            else [0.75 * a + 0.25 * w for a, w in zip(averages, weights, strict=True)]
        )
        if frequency and (i + 1) % frequency == 0:
            for reference, average in zip(references, averages, strict=True):
                reference.w = average
        assert_follows(variables, optimizer, references)
        assert_close(numbers(averages_of(optimizer)), averages)
    optimizer.finalize_variable_values(variables)
    assert_close(numbers(variables), averages)


@pytest.mark.slow
def test_fit_ends_with_the_averages():
    model = compiled(sequential, make_lars(use_ema=True, ema_momentum=0.5))
    plain = compiled(sequential, make_lars())
    fit(model)
    fit(plain)
    assert_equal(model.get_weights(), numbers(averages_of(model.optimizer)))
    assert not np.array_equal(model.get_weights()[0], plain.get_weights()[0])


def test_variables_get_their_own_averages_if_some_are_left_out():
    variables = [keras.Variable([value]) for value in (1.0, 2.0)]
    optimizer = make_lars(use_ema=True, ema_momentum=0.5)
    for _ in range(2):
        optimizer.apply([keras.ops.ones(1), keras.ops.ones(1)], variables)
    left_out, average = numbers([variables[0], averages_of(optimizer)[1]])
    optimizer.finalize_variable_values(variables[1:])  # as `fit` does once the first is frozen
    assert_equal(numbers(variables), [left_out, average])


@pytest.mark.parametrize("micro_batches", [0, 1])
def test_before_the_first_update_there_are_no_averages(micro_batches):
    variable = keras.Variable([3.0, 4.0])
    optimizer = make_lars(use_ema=True, gradient_accumulation_steps=2)
    optimizer.build([variable])
    for _ in range(micro_batches):
        optimizer.apply([keras.ops.ones(2)], [variable])
    optimizer.finalize_variable_values([variable])
    assert variable.numpy().tolist() == [3.0, 4.0]
