"""An optimizer that is pickled or copied without its model keeps its state."""

import copy
import pickle

import numpy as np
import pytest
import tensorflow as tf
from support.models import (
    assert_equal,
    make_variable,
    normal,
    numbers,
)
from support.saving import decaying_rate, make_lars, make_variables, no_warning


def apply_steps(optimizer, variables, first, last):
    for step in range(first, last):
        gradients = [normal([step, i], v.shape) for i, v in enumerate(variables)]
        optimizer.apply([tf.constant(g) for g in gradients], variables)


def duplicate(variables):
    return [make_variable(v.path, v.numpy()) for v in variables]


@pytest.mark.parametrize(
    "duplicates",
    [
        [copy.deepcopy],
        [lambda optimizer: pickle.loads(pickle.dumps(optimizer))],
        [copy.deepcopy, copy.deepcopy],
        [lambda optimizer: pickle.loads(pickle.dumps(optimizer))] * 2,
        [copy.deepcopy, lambda optimizer: pickle.loads(pickle.dumps(optimizer)), copy.deepcopy],
    ],
    ids=["deepcopy", "pickle", "deepcopy twice", "pickle twice", "mixed"],
)
@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": decaying_rate()},
        {"use_ema": True, "gradient_accumulation_steps": 2},
        {"momentum": 0.0},
    ],
    ids=["schedule", "ema+accumulation", "no momentum"],
)
def test_a_copied_optimizer_keeps_its_state_until_build(duplicates, options):
    variables = make_variables()
    optimizer = make_lars(**options)
    apply_steps(optimizer, variables, 0, 3)
    copied = optimizer
    # The state is kept, so Keras's warning that it is skipped would be wrong.
    with no_warning():
        for make_copy in duplicates:
            copied = make_copy(copied)
            assert not copied.built
        others = duplicate(variables)
        copied.build(others)
    assert_equal(numbers(copied.variables), numbers(optimizer.variables))
    assert int(copied.iterations) == int(optimizer.iterations)
    apply_steps(optimizer, variables, 3, 6)
    apply_steps(copied, others, 3, 6)
    assert_equal(numbers(others), numbers(variables))
    assert_equal(numbers(copied.variables), numbers(optimizer.variables))


def test_a_copied_optimizer_is_independent():
    variables = make_variables()
    optimizer = make_lars()
    apply_steps(optimizer, variables, 0, 2)
    state, weights = numbers(optimizer.variables), numbers(variables)
    copied = copy.deepcopy(optimizer)
    others = duplicate(variables)
    apply_steps(copied, others, 2, 4)
    assert_equal(numbers(optimizer.variables), state)
    assert_equal(numbers(variables), weights)
    assert int(copied.iterations) == 4


@pytest.mark.parametrize("make_copy", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_an_optimizer_without_state_can_be_copied(make_copy):
    variables = make_variables()
    # There is no state to lose, so there is nothing to warn about.
    with no_warning():
        copied = make_copy(make_lars(momentum=0.5))
        assert copied.momentum == 0.5
        apply_steps(copied, variables, 0, 1)
    assert int(copied.iterations) == 1


def test_a_refused_file_drops_the_state_that_waits_for_build():
    variables = make_variables()
    optimizer = make_lars()
    apply_steps(optimizer, variables, 0, 2)
    copied = copy.deepcopy(optimizer)
    with pytest.warns(UserWarning, match="set to 0"):
        copied.load_own_variables({"0": np.array(3)})
    copied.build(variables)
    assert int(copied.iterations) == 0
    assert not any(np.any(momentum) for momentum in numbers(copied.momentums))


def test_a_loaded_rate_is_read_and_changed_before_build():
    variables = make_variables()
    optimizer = make_lars()
    apply_steps(optimizer, variables, 0, 2)
    optimizer.learning_rate = 0.25

    def reloaded(optimizer):
        store, other = {}, make_lars()
        optimizer.save_own_variables(store)
        other.load_own_variables(store)
        return other

    loaded = reloaded(optimizer)
    # As `LearningRateScheduler` does at the beginning of the first epoch.
    loaded.learning_rate.assign(loaded.learning_rate / 2)
    for each in (loaded, reloaded(loaded)):
        assert (int(each.iterations), float(each.learning_rate)) == (2, 0.125)
        each.build(variables)
        assert (int(each.iterations), float(each.learning_rate)) == (2, 0.125)
        assert_equal(numbers(each.momentums), numbers(optimizer.momentums))
