"""Schedules, callables, and rates that are assigned during training."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.behavior import (
    SCHEDULES,
    assert_follows,
    eagerly_and_in_a_graph,
    fit,
    gradients_of,
    jit_choices,
    make_lars,
    make_references,
    make_variables,
    steps_of,
    tensors,
)
from support.models import (
    assert_equal,
    compiled,
    sequential,
)


@pytest.mark.slow
@eagerly_and_in_a_graph
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())
def test_schedules(schedule, graph):
    variables, references = make_variables(), make_references()
    optimizer = make_lars(schedule)
    step = steps_of(optimizer, variables, graph)
    rates = [float(schedule(i)) for i in range(5)]
    assert len(set(rates)) == 5
    for i, rate in enumerate(rates):
        assert float(optimizer.learning_rate) == pytest.approx(rate, rel=1e-6)
        step(gradients_of(i))
        for reference, gradient in zip(references, gradients_of(i), strict=True):
            reference.step(gradient, rate)
    assert_follows(variables, optimizer, references)
    assert int(optimizer.iterations) == 5


@eagerly_and_in_a_graph
def test_a_callable_is_called_at_every_step(graph):
    variables, references = make_variables(), make_references()
    rate = tf.Variable(0.0)
    optimizer = make_lars(lambda: rate)
    step = steps_of(optimizer, variables, graph)
    for i, value in enumerate([0.5, 0.125, 1.0]):
        rate.assign(value)
        step(gradients_of(i))
        for reference, gradient in zip(references, gradients_of(i), strict=True):
            reference.step(gradient, value)
    assert_follows(variables, optimizer, references)


def warnings_of_a_callable(function, **options):
    model = compiled(sequential, make_lars(function), **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model, epochs=1)
        fit(model, epochs=1)
    texts = [str(each.message) for each in caught]
    return [text for text in texts if "is called once" in text]


@pytest.mark.slow
def test_a_callable_whose_number_is_compiled_into_the_step():
    (message,) = warnings_of_a_callable(lambda: 0.5)
    assert message.startswith("The callable `learning_rate` is called once, when the training step")
    assert message.endswith(", which returns 0.5, in optimizer 'lars'")
    assert warnings_of_a_callable(lambda: 0.5, run_eagerly=True) == []
    for variable in (keras.Variable(0.5), tf.Variable(0.5)):
        assert warnings_of_a_callable(lambda: variable) == []  # noqa: B023
        assert warnings_of_a_callable(lambda: 2.0 * variable) == []  # noqa: B023


@jit_choices
def test_an_assigned_rate_takes_effect_at_once_without_retracing(jit_compile):
    variables, references = make_variables(), make_references()
    optimizer = make_lars(jit_compile=jit_compile)
    optimizer.build(variables)
    traced = []

    @tf.function
    def step(gradients):
        traced.append(None)
        optimizer.apply(gradients, variables)

    for i, rate in enumerate([0.5, 0.25, 2, 0.0]):
        optimizer.learning_rate = rate
        step(tensors(gradients_of(i)))
        for reference, gradient in zip(references, gradients_of(i), strict=True):
            reference.step(gradient, rate)
    assert_follows(variables, optimizer, references)
    assert len(traced) == 1


def test_a_fixed_rate_cannot_replace_a_schedule():
    optimizer = make_lars(SCHEDULES["polynomial"])
    with pytest.raises(TypeError, match="LearningRateSchedule"):
        optimizer.learning_rate = 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    "callback",
    [
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / (epoch + 1)),
        # No improvement is large enough, so the rate halves again and again.
        keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e9),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_callbacks_that_set_the_rate(callback):
    model, by_hand, constant = (compiled(sequential, make_lars()) for _ in range(3))
    rates = []
    record = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: rates.append(float(model.optimizer.learning_rate))
    )
    fit(model, callbacks=[callback, record])
    assert rates[-1] < rates[0] / 2
    for rate in rates:
        by_hand.optimizer.learning_rate = rate
        fit(by_hand, epochs=1)
    fit(constant)
    assert_equal(model.get_weights(), by_hand.get_weights())
    assert not np.array_equal(model.get_weights()[0], constant.get_weights()[0])
