"""`record_noise_scale` records squared norms of micro-batches and of their mean."""

import numpy as np
import pytest
from support.behavior import (
    eagerly_and_in_a_graph,
    gradients_of,
    make_lars,
    make_variables,
    squares_of,
    steps_of,
    tensors,
    without,
)
from support.models import assert_equal, compiled, numbers, sequential

import keras_lars
from keras_lars import _model_state

STEPS = 3


@pytest.mark.slow
@eagerly_and_in_a_graph
@pytest.mark.parametrize("options", [{}, {"global_clipnorm": 0.1}], ids=str)
def test_norms_are_those_of_the_last_update_and_change_no_bit(graph, options):
    variables, twins = make_variables(), make_variables()
    recording, plain = (
        make_lars(gradient_accumulation_steps=STEPS, record_noise_scale=record, **options)
        for record in (True, False)
    )
    step, step_twin = steps_of(recording, variables, graph), steps_of(plain, twins, graph)
    assert recording._recorded_squares() == {}
    for update in range(2):
        micro = [gradients_of(update * STEPS + i) for i in range(STEPS)]
        for i, gradients in enumerate(micro):
            before = recording._recorded_squares()
            step(gradients)
            step_twin(gradients)
            assert (recording._recorded_squares() == before) == (i < STEPS - 1)
        found = list(recording._recorded_squares().values())
        np.testing.assert_allclose(found, squares_of(micro), rtol=1e-5)
        assert_equal(numbers(variables), numbers(twins))
        assert_equal(numbers(recording.variables), numbers(plain.variables))
    assert recording._update.squares.replicas == 1


def test_a_variable_without_a_gradient():
    variables = make_variables()
    optimizer = make_lars(gradient_accumulation_steps=2, record_noise_scale=True)
    for i in range(2):
        with pytest.warns(UserWarning, match="Gradients do not exist.*bias"):
            optimizer.apply(tensors(without(2, gradients_of(i))), variables)
    found = list(optimizer._recorded_squares().values())
    expected = squares_of([gradients_of(0), gradients_of(1)])
    assert found[2] == (0, 0)
    np.testing.assert_allclose(found[3], expected[3], rtol=1e-5)


def test_norms_are_of_unscaled_gradients():
    (variable,) = make_variables()[:1]
    optimizer = make_lars(
        gradient_accumulation_steps=2, record_noise_scale=True, loss_scale_factor=4.0
    )
    micro = [gradients_of(i)[:1] for i in range(2)]
    for (gradient,) in micro:
        optimizer.apply(tensors([4.0 * gradient]), [variable])
    (found,) = optimizer._recorded_squares().values()
    np.testing.assert_allclose([found], squares_of(micro), rtol=1e-5)


@pytest.mark.parametrize("build_first", [False, True])
def test_one_part_is_refused_in_the_first_step(build_first):
    variables = make_variables()
    optimizer = make_lars(record_noise_scale=True)
    if build_first:  # as when loading a model that was trained under a strategy
        optimizer.build(variables)
    with pytest.raises(ValueError, match=r"(?s)`gradient_accumulation_steps`.*Received: record_n"):
        optimizer.apply(tensors(gradients_of(0)), variables)
    assert int(optimizer.iterations) == 0


def test_it_is_an_argument_like_others():
    optimizer = keras_lars.LARS(record_noise_scale=True)
    assert repr(optimizer) == "LARS(record_noise_scale=True)"
    assert keras_lars.LARS.from_config(optimizer.get_config()).record_noise_scale is True
    old = keras_lars.LARS().get_config()
    del old["record_noise_scale"], old["weight_norm_floor"]  # as in version 0.1.0
    assert keras_lars.LARS.from_config(old).weight_norm_floor == 0.0


def begun(records, variables, micro):
    """An optimizer between two updates, and its state as saved in a file."""
    optimizer = make_lars(gradient_accumulation_steps=STEPS, record_noise_scale=records)
    optimizer.apply(tensors(micro[0]), variables)
    state = {}
    optimizer.save_own_variables(state)
    return optimizer, state


@pytest.mark.slow
@pytest.mark.parametrize("is_built", [False, True])
def test_a_restart_between_two_updates_keeps_the_first_parts(is_built):
    variables, twins = make_variables(), make_variables()
    micro = [gradients_of(i) for i in range(STEPS)]
    optimizer, state = begun(True, variables, micro)
    again = make_lars(gradient_accumulation_steps=STEPS, record_noise_scale=True)
    if is_built:
        again.apply(tensors(gradients_of(9)), twins)
    again.load_own_variables(state)
    for gradients in micro[1:]:
        again.apply(tensors(gradients), twins)
        optimizer.apply(tensors(gradients), variables)
    assert_equal(numbers(twins), numbers(variables))
    found, expected = (list(each._recorded_squares().values()) for each in (again, optimizer))
    assert found == expected
    np.testing.assert_allclose(found, squares_of(micro), rtol=1e-5)


@pytest.mark.slow
def test_first_parts_follow_their_variables_in_another_order():
    variables = make_variables()
    micro = [gradients_of(i) for i in range(STEPS)]
    _, state = begun(True, variables, micro)
    again = make_lars(gradient_accumulation_steps=STEPS, record_noise_scale=True)
    order = [2, 0, 3, 1]
    turned = [make_variables()[i] for i in order]
    again.build(turned)
    again.load_own_variables(state)
    for gradients in micro[1:]:
        again.apply(tensors([gradients[i] for i in order]), turned)
    found = list(again._recorded_squares().values())
    np.testing.assert_allclose(found, [squares_of(micro)[i] for i in order], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("records", [False, True])
def test_recording_may_begin_or_end_at_a_restart(records):
    """The recorded mean is then over the later parts, and the state is the same."""
    variables, twins = make_variables(), make_variables()
    micro = [gradients_of(i) for i in range(STEPS)]
    optimizer, state = begun(records, variables, micro)
    again = make_lars(gradient_accumulation_steps=STEPS, record_noise_scale=not records)
    again.apply(tensors(gradients_of(9)), twins)
    again.load_own_variables(state)
    for gradients in micro[1:]:
        again.apply(tensors(gradients), twins)
        optimizer.apply(tensors(gradients), variables)
    assert_equal(numbers(twins), numbers(variables))
    if not records:
        found = list(again._recorded_squares().values())
        pairs = zip(squares_of(micro[1:]), squares_of(micro), strict=True)
        expected = [(of_parts, of_mean) for (of_parts, _), (_, of_mean) in pairs]
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
def test_recording_changes_no_bit_of_fit():
    ends = []
    for record in (False, True):
        lars = make_lars(
            gradient_accumulation_steps=2, record_noise_scale=record, jit_compile="auto"
        )
        model = compiled(sequential, lars)
        x = np.random.default_rng(0).normal(size=(16, *model.input_shape[1:])).astype("float32")
        y = np.ones((16, *model.output_shape[1:]), "float32")
        model.fit(x, y, 4, epochs=2, shuffle=False, verbose=0)
        ends.append([*model.get_weights(), *numbers(lars.variables)])
    assert_equal(*ends)


@pytest.mark.slow
def test_temporary_training_leaves_no_records():
    options = {"record_noise_scale": True, "record_trust_ratios": True}
    lars = make_lars(gradient_accumulation_steps=2, **options)
    model = compiled(sequential, lars, run_eagerly=True)
    x = np.ones((4, *model.input_shape[1:]), "float32")
    y = np.ones((4, *model.output_shape[1:]), "float32")
    model.train_on_batch(x, y)
    records = [lars._update.record, lars._update.squares.parts, lars._update.squares.last]
    before = numbers(records)
    assert before[1][-1] == 1
    with _model_state.restored(model):
        model.train_on_batch(2 * x, y)
    assert_equal(numbers(records), before)
