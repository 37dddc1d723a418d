"""Changing `gradient_accumulation_steps` equals separate trainings that pass on their state."""

import copy
import itertools
import json
import pickle

import keras
import numpy as np
import pytest
from support.behavior import (
    SCHEDULES,
    eagerly_and_in_a_graph,
    gradients_of,
    make_lars,
    make_variables,
    squares_of,
    steps_of,
    tensors,
)
from support.models import assert_equal, numbers

import keras_lars
from keras_lars import _accumulation

TABLE = {0: 1, 2: 3, 3: 2, 5: 3}
# The steps of each update, and the updates that are done after each number of micro-batches.
STEPS = [1, 1, 3, 2, 2, 3, 3, 3]
DONE = list(itertools.chain(*([i] * steps for i, steps in enumerate(STEPS))))


# Counting.


@pytest.mark.parametrize("of", [int, np.array, keras.ops.array], ids=["int", "array", "tensor"])
def test_counts_in_closed_form(of):
    accumulation = _accumulation.of(TABLE)
    assert len(DONE) == sum(STEPS) == 18
    for micro_batches, updates in enumerate(DONE):
        assert int(accumulation.updates(of(micro_batches))) == updates
        due = accumulation.due(of(micro_batches))
        ends = DONE[micro_batches + 1 : micro_batches + 2] != [updates]
        expected = {steps: ends and STEPS[updates] == steps for steps in (1, 2, 3)}
        assert {steps: bool(is_due) for steps, is_due in due.items()} == expected
    for update, steps in enumerate(STEPS):
        assert accumulation.steps_of(update) == steps
        assert accumulation.micro_batches(update) == sum(STEPS[:update]) == DONE.index(update)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_an_integer_counts_as_before(steps):
    accumulation = _accumulation.of(steps)
    for i in range(3 * steps):
        assert accumulation.updates(i) == i // steps
        assert accumulation.due(i) == {steps: (i + 1) % steps == 0}
        assert accumulation.micro_batches(i) == i * steps
    assert dict(accumulation) == {0: steps}


# The argument.


def test_it_is_stored_as_an_immutable_dictionary():
    given = {500: np.int64(4), np.int32(0): 1}
    optimizer = keras_lars.LARS(gradient_accumulation_steps=given)
    steps = optimizer.gradient_accumulation_steps
    assert steps == {0: 1, 500: 4}
    assert repr(optimizer) == "LARS(gradient_accumulation_steps={0: 1, 500: 4})"
    with pytest.raises(TypeError):
        steps[800] = 32
    assert copy.deepcopy(steps) == pickle.loads(pickle.dumps(steps)) == steps
    optimizer.build(make_variables())
    with pytest.raises(ValueError, match=r"must not be assigned.*it is \{0: 1, 500: 4\}"):
        optimizer.gradient_accumulation_steps = {0: 1, 500: 8}
    optimizer.gradient_accumulation_steps = {0: 1, 500: 4}


def test_configuration():
    config = keras_lars.LARS(gradient_accumulation_steps={0: 1, 500: 4}).get_config()
    assert config["gradient_accumulation_steps"] == {0: 1, 500: 4}
    assert type(config["gradient_accumulation_steps"]) is dict
    # JSON turns integers into strings, and may sort them as strings.
    for read in (config, json.loads(json.dumps(config, sort_keys=True))):
        again = keras_lars.LARS.from_config(read)
        assert again.gradient_accumulation_steps == {0: 1, 500: 4}
        assert again.get_config() == config


@pytest.mark.parametrize(
    "steps",
    [
        {},
        {1: 2},
        {0: 1, 500: 0},
        {0: 1, -1: 2},
        {0: 1, 1.5: 2},
        {0: 1.0},
        {0: None},
        {False: 2},
        {0: True},
        {"0": 1, 0: 1},
        {"zero": 1},
        {0: 2**31},
        {0: 1, "9" * 50: 2},
    ],
    ids=str,
)
def test_dictionaries_that_are_refused(steps):
    with pytest.raises(
        ValueError, match=r"`gradient_accumulation_steps` must be a dictionary .*=\{"
    ):
        keras_lars.LARS(gradient_accumulation_steps=steps)


def test_steps_beyond_the_range_of_the_counter():
    steps = {0: 2, 2**30 - 1: 4}
    assert keras_lars.LARS(gradient_accumulation_steps=steps).gradient_accumulation_steps == steps
    with pytest.raises(ValueError, match=r"within 2\*\*31 micro-batches"):
        keras_lars.LARS(gradient_accumulation_steps={0: 2, 2**30: 4})


def test_the_error_for_other_types_mentions_the_dictionary():
    with pytest.raises(ValueError, match=r"integer >= 2, or a dictionary .*, or None. Received"):
        keras_lars.LARS(gradient_accumulation_steps=[1, 4])


def test_variables_that_keras_overwrites_are_refused():
    variables = make_variables()
    variables[0].overwrite_with_gradient = True
    with pytest.raises(ValueError, match=r"`gradient_accumulation_steps` must be .*'a/kernel'"):
        make_lars(gradient_accumulation_steps=TABLE).build(variables)


# The updates.


def separately(variables, graph, micro_batches, **options):
    """Trains with one optimizer per phase, each of which takes over the state of the one before.

    Returns the last optimizer.
    """
    before, done = None, 0
    ends = [*list(TABLE)[1:], None]
    for (first, steps), end in zip(TABLE.items(), ends, strict=True):
        lars = make_lars(gradient_accumulation_steps=steps if steps > 1 else None, **options)
        step = steps_of(lars, variables, graph)
        if before is not None:
            for slots, old in zip(lars._slots[1:3], before._slots[1:3], strict=True):
                for new_slot, old_slot in zip(slots, old, strict=True):
                    if new_slot is not None:
                        new_slot.assign(old_slot)
            lars._micro_batches.assign(first * steps)
        count = sum(STEPS[first:end])
        for i in range(done, min(done + count, micro_batches)):
            step(gradients_of(i))
        before, done = lars, done + count
    return before


OPTIONS = {
    "plain": {},
    "everything": {
        "learning_rate": SCHEDULES["polynomial"],
        "global_clipnorm": 0.5,
        "use_ema": True,
        "ema_momentum": 0.5,
        "ema_overwrite_frequency": 3,
        "loss_scale_factor": 2.0,
        "momentum_form": "learning_rate_outside",
        "jit_compile": "auto",
    },
}


@pytest.mark.slow
@eagerly_and_in_a_graph
@pytest.mark.parametrize("name", OPTIONS)
def test_it_equals_separate_trainings(graph, name):
    options = OPTIONS[name]
    variables, twins = make_variables(), make_variables()
    growing = make_lars(gradient_accumulation_steps=TABLE, **options)
    step = steps_of(growing, variables, graph)
    for i, done in enumerate(DONE[:-1]):  # up to the middle of an update
        assert int(growing.iterations) == done
        step(gradients_of(i))
    last = separately(twins, graph, len(DONE) - 1, **options)
    assert_equal(numbers(variables), numbers(twins))
    for slots, expected in zip(growing._slots[1:], last._slots[1:], strict=True):
        if slots[0] is not None:
            assert_equal(numbers(slots), numbers(expected))
    assert np.any(numbers(growing._slots.accumulators)[0])
    assert int(growing.iterations) == int(last.iterations) == DONE[-1]
    assert float(growing.learning_rate) == float(last.learning_rate)
    assert all(np.any(w != v) for w, v in zip(numbers(twins), numbers(make_variables())))


def test_steps_of_later_updates_may_change_at_a_restart():
    variables, twins = make_variables(), make_variables()
    whole, first = (make_lars(gradient_accumulation_steps=steps) for steps in (TABLE, {0: 1}))
    for i in range(2):
        whole.apply(tensors(gradients_of(i)), variables)
        first.apply(tensors(gradients_of(i)), twins)
    state = {}
    first.save_own_variables(state)
    then = make_lars(gradient_accumulation_steps=TABLE)
    then.load_own_variables(state)
    for i in range(2, 6):
        whole.apply(tensors(gradients_of(i)), variables)
        then.apply(tensors(gradients_of(i)), twins)
    assert_equal(numbers(variables), numbers(twins))
    assert int(then.iterations) == int(whole.iterations) == DONE[6]


def test_a_micro_batch_that_loss_scaling_skips_does_not_count():
    variables, twins = make_variables(), make_variables()
    inner, plain = (make_lars(gradient_accumulation_steps=TABLE) for _ in range(2))
    scaling = keras_lars.LossScaleOptimizer(inner, initial_scale=2.0)
    for i in range(6):
        scale = scaling.dynamic_scale if scaling.built else 2.0
        if i in (1, 3):
            scaling.apply(tensors([np.inf * g for g in gradients_of(i)]), variables)
            scale = scaling.dynamic_scale
        scaling.apply([scale * g for g in gradients_of(i)], variables)
        plain.apply(tensors(gradients_of(i)), twins)
        assert int(scaling.iterations) == int(plain.iterations) == DONE[i + 1]
    assert_equal(numbers(variables), numbers(twins))


def test_squared_norms_of_the_micro_batches_of_each_update():
    variables = make_variables()
    lars = make_lars(gradient_accumulation_steps=TABLE, record_noise_scale=True)
    for i in range(7):
        lars.apply(tensors(gradients_of(i)), variables)
        if DONE[i + 1] > DONE[i]:
            micro = [gradients_of(j) for j in range(i + 1) if DONE[j] == DONE[i]]
            found = list(lars._recorded_squares().values())
            np.testing.assert_allclose(found, squares_of(micro), rtol=1e-5)


def test_the_noise_scale_needs_more_than_one_micro_batch():
    lars = make_lars(gradient_accumulation_steps={0: 1}, record_noise_scale=True)
    with pytest.raises(ValueError, match=r"gradient_accumulation_steps=\{0: 1\}, 1 replica"):
        lars.apply(tensors(gradients_of(0)), make_variables())
