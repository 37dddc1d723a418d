"""Warm-up values from a formula at every boundary, saving, errors, and the two scaling rules."""

import json

import keras
import numpy as np
import pytest
from keras.optimizers.schedules import (
    CosineDecay,
    ExponentialDecay,
    InverseTimeDecay,
    LearningRateSchedule,
    PolynomialDecay,
)

from keras_lars.schedules import WarmUp, for_fit, linear_scaling, sqrt_scaling

PEAK, END, DECAY_STEPS = 8.0, 0.5, 40


def polynomial(step):
    """`PolynomialDecay(power=2)`, written independently."""
    left = 1 - min(step, DECAY_STEPS) / DECAY_STEPS
    return END + (PEAK - END) * left**2


def decay():
    return PolynomialDecay(PEAK, DECAY_STEPS, end_learning_rate=END, power=2)


def expected(step, warmup_steps, start, power, shift):
    if step < warmup_steps:
        return start + (PEAK - start) * (step / warmup_steps) ** power
    return polynomial(step - warmup_steps if shift else step)


@keras.saving.register_keras_serializable(package="test_schedules")
class StepsSeen(LearningRateSchedule):
    """Returns the step minus a large number, a difference that float32 would lose."""

    def __init__(self, origin=0):
        self.origin = origin

    def __call__(self, step):
        return keras.ops.cast(step - self.origin, "float32")

    def get_config(self):
        return {"origin": self.origin}


class Unregistered(StepsSeen):
    pass


@pytest.mark.parametrize("shift", [True, False])
@pytest.mark.parametrize(("start", "power"), [(0.0, 1.0), (1.0, 1.0), (0.5, 2.0), (PEAK, 0.5)])
@pytest.mark.parametrize("warmup_steps", [0, 1, 2, 10])
def test_every_boundary(warmup_steps, start, power, shift):
    schedule = WarmUp(decay(), warmup_steps, start, power, shift)
    last = DECAY_STEPS + (warmup_steps if shift else 0)
    steps = {0, warmup_steps - 1, warmup_steps, warmup_steps + 1, last - 1, last, last + 1} - {-1}
    for step in sorted(steps):
        value = float(schedule(step))
        assert value == pytest.approx(expected(step, warmup_steps, start, power, shift), rel=1e-6)


@pytest.mark.parametrize("shift", [True, False])
def test_start_peak_and_end_are_exact(shift):
    schedule = WarmUp(decay(), 10, 0.25, shift_decay=shift)
    assert float(schedule(0)) == 0.25
    assert float(schedule(10)) == (PEAK if shift else float(decay()(10)))
    assert float(schedule(50 if shift else 40)) == END


def test_rate_drops_after_the_papers_own_warm_up():
    schedule = WarmUp(PolynomialDecay(1.0, 100, 0.0, power=2), 5, shift_decay=False)
    values = [float(schedule(step)) for step in (4, 5)]
    assert values == pytest.approx([0.8, 0.9025])
    schedule = WarmUp(PolynomialDecay(1.0, 100, 0.0, power=2), 50, shift_decay=False)
    values = [float(schedule(step)) for step in (49, 50)]
    assert values == pytest.approx([0.98, 0.25])


def test_a_float_stays_constant_after_the_warm_up():
    schedule = WarmUp(2, warmup_steps=4, start_learning_rate=1)
    assert [float(schedule(step)) for step in (0, 2, 4, 1000)] == [1.0, 1.5, 2.0, 2.0]


def test_warm_up_of_a_warm_up():
    inner = WarmUp(decay(), 4, start_learning_rate=2.0)
    schedule = WarmUp(inner, 2, start_learning_rate=1.0)
    assert [float(schedule(step)) for step in (0, 1, 2, 4, 6)] == [1.0, 1.5, 2.0, 5.0, PEAK]


def test_a_warm_up_of_a_schedule_for_a_whole_fit_warns():
    whole = for_fit(640, epochs=10, global_batch_size=64)
    with pytest.warns(UserWarning, match=r"made by `for_fit`.* updates=100, .*warmup_steps=10$"):
        WarmUp(whole, 10)


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64"])
def test_dtypes_of_the_step(dtype):
    schedule = WarmUp(decay(), 10)
    for step in (0, 9, 10, 11, 50):
        value = schedule(keras.ops.convert_to_tensor(step, dtype=dtype))
        assert keras.backend.standardize_dtype(value.dtype) == "float32"
        assert float(value) == float(schedule(step))
        assert float(schedule(keras.Variable(step, dtype=dtype, trainable=False))) == float(value)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_large_integer_steps_are_not_rounded(dtype):
    warmup_steps = 2**24 + 1  # rounded to 2**24 in float32
    shifted = WarmUp(StepsSeen(), warmup_steps, start_learning_rate=7.0, power=100.0)
    unshifted = WarmUp(StepsSeen(warmup_steps), warmup_steps, shift_decay=False)
    for beyond in range(4):
        step = keras.ops.convert_to_tensor(warmup_steps + beyond, dtype=dtype)
        assert float(shifted(step)) == beyond
        assert float(unshifted(step)) == beyond
    last = keras.ops.convert_to_tensor(warmup_steps - 1, dtype=dtype)
    halfway = keras.ops.convert_to_tensor(2**23, dtype=dtype)
    ramp = WarmUp(2.0, warmup_steps)
    assert float(ramp(last)) == pytest.approx(2.0)
    assert float(ramp(halfway)) == pytest.approx(1.0)


def test_the_schedule_gets_no_negative_steps():
    class Root(LearningRateSchedule):
        def __call__(self, step):
            return 1 / keras.ops.sqrt(keras.ops.cast(step, "float32") + 1)

    assert np.isfinite([float(WarmUp(Root(), 5)(step)) for step in range(8)]).all()


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX has float64 by a setting only")
def test_float64_if_keras_computes_in_it():
    keras.config.set_floatx("float64")
    try:
        value = WarmUp(0.1, 3)(1)
        assert keras.backend.standardize_dtype(value.dtype) == "float64"
        assert float(value) == 0.1 / 3
    finally:
        keras.config.set_floatx("float32")


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.function")
@pytest.mark.parametrize("jit_compile", [False, True])
def test_in_a_tf_function(jit_compile):
    import tensorflow as tf

    schedule = WarmUp(decay(), 10, 1.0, 2.0)
    function = tf.function(schedule, jit_compile=jit_compile)
    steps = tf.range(60, dtype=tf.int64)
    np.testing.assert_allclose(
        [function(step) for step in steps],
        [expected(step, 10, 1.0, 2.0, True) for step in range(60)],
        rtol=1e-6,
    )
    assert function.experimental_get_tracing_count() == 1


def test_drives_an_optimizer():
    optimizer = keras.optimizers.SGD(WarmUp(1.0, 4))
    variable = keras.Variable(0.0)
    for _ in range(6):
        optimizer.apply([keras.ops.convert_to_tensor(1.0)], [variable])
    assert float(variable) == -(0 + 0.25 + 0.5 + 0.75 + 1 + 1)


@pytest.mark.parametrize(
    "wrapped",
    [
        0.5,
        decay(),
        CosineDecay(2.0, 30),
        StepsSeen(3),
        WarmUp(WarmUp(StepsSeen(3), 2), 5, 0.5),
    ],
    ids=["float", "polynomial", "cosine", "registered", "nested"],
)
def test_saving_includes_the_wrapped_schedule(wrapped):
    schedule = WarmUp(wrapped, 7, 0.25, 2.0, shift_decay=False)
    config = json.loads(json.dumps(keras.optimizers.schedules.serialize(schedule)))
    again = keras.optimizers.schedules.deserialize(config)
    assert type(again) is WarmUp
    assert json.dumps(again.get_config()) == json.dumps(schedule.get_config())
    assert [float(again(s)) for s in range(12)] == [float(schedule(s)) for s in range(12)]

    optimizer = keras.optimizers.SGD(schedule)
    again = keras.optimizers.SGD.from_config(optimizer.get_config())
    assert json.dumps(again.get_config()) == json.dumps(optimizer.get_config())


def test_saving_an_unregistered_schedule_needs_its_class():
    config = json.loads(
        json.dumps(keras.optimizers.schedules.serialize(WarmUp(Unregistered(4), 2)))
    )
    again = keras.optimizers.schedules.deserialize(config, {"Unregistered": Unregistered})
    assert type(again.schedule) is Unregistered
    assert again.schedule.origin == 4


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"schedule": "0.1"}, "`schedule` must be .* `LearningRateSchedule`. Received: sch.*'0.1'"),
        ({"schedule": True}, "`schedule` must be"),
        ({"schedule": -1.0}, "`schedule` must be .* Received: schedule=-1.0"),
        ({"schedule": float("nan")}, "`schedule` must be"),
        ({"schedule": float("inf")}, "`schedule` must be"),
        ({"schedule": lambda: 0.1}, "`schedule` must be"),
        ({"schedule": None}, "`schedule` must be"),
        ({"warmup_steps": -1}, "`warmup_steps` must be .* Received: warmup_steps=-1"),
        ({"warmup_steps": 2.0}, "`warmup_steps` must be an integer >= 0"),
        ({"warmup_steps": True}, "`warmup_steps` must be"),
        ({"warmup_steps": "2"}, "`warmup_steps` must be"),
        ({"start_learning_rate": -0.1}, "`start_learning_rate` must be"),
        ({"start_learning_rate": False}, "`start_learning_rate` must be"),
        ({"power": 0}, "`power` must be .* > 0. Received: power=0"),
        ({"power": -1.0}, "`power` must be"),
        ({"power": "2"}, "`power` must be"),
        ({"shift_decay": 1}, "`shift_decay` must be one of .* Received: shift_decay=1"),
        ({"shift_decay": None}, "`shift_decay` must be"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        WarmUp(**{"schedule": 1.0, "warmup_steps": 2, **kwargs})


def test_ints_and_numpy_numbers_are_numbers():
    schedule = WarmUp(np.float32(2), np.int64(4), np.float64(1), 1)
    assert float(schedule(2)) == 1.5
    json.dumps(schedule.get_config())


@pytest.mark.parametrize(
    ("wrapped", "updates"),
    [
        (decay(), 40),
        (CosineDecay(1.0, 30), 30),
        (CosineDecay(0.0, 30, warmup_target=1.0, warmup_steps=10), 40),
        (WarmUp(decay(), 20), 60),
        (WarmUp(decay(), 20, shift_decay=False), 40),
    ],
)
def test_warm_up_longer_than_training(wrapped, updates):
    WarmUp(wrapped, updates - 1, shift_decay=False)
    WarmUp(wrapped, updates)  # the decay is added after the warm-up
    with pytest.raises(ValueError, match=f"`warmup_steps` must be less .* of {updates} updates"):
        WarmUp(wrapped, updates, shift_decay=False)


@pytest.mark.parametrize(
    "wrapped",
    [
        ExponentialDecay(1.0, 10, 0.9),
        InverseTimeDecay(1.0, 1, 0.5),
        PolynomialDecay(1.0, 10, cycle=True),
        1.0,
    ],
)
def test_a_decay_without_an_end_has_no_length(wrapped):
    WarmUp(wrapped, 1000, shift_decay=False)


def test_scaling_rules():
    assert linear_scaling(0.1, 8192) == 3.2
    assert linear_scaling(0.1, 256) == sqrt_scaling(0.1, 256) == 0.1
    assert linear_scaling(1, 64, base_batch_size=256) == 0.25
    assert sqrt_scaling(0.2, 1024) == 0.4
    assert sqrt_scaling(4, 4096, base_batch_size=64) == 32.0
    assert type(linear_scaling(1, 256)) is type(sqrt_scaling(1, 256)) is float


@pytest.mark.parametrize("rule", [linear_scaling, sqrt_scaling])
@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("base_learning_rate", -0.1),
        ("base_learning_rate", float("nan")),
        ("base_learning_rate", "0.1"),
        ("base_learning_rate", True),
        ("global_batch_size", 0),
        ("global_batch_size", 256.0),
        ("global_batch_size", True),
        ("base_batch_size", 0),
        ("base_batch_size", "256"),
    ],
)
def test_bad_arguments_of_scaling_rules(rule, argument, value):
    arguments = {"base_learning_rate": 0.1, "global_batch_size": 512, argument: value}
    with pytest.raises(ValueError, match=f"`{argument}` must be .* Received: {argument}={value!r}"):
        rule(**arguments)
