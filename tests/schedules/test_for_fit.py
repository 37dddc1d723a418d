"""`for_fit` has the updates of real fits and the values of `WarmUp`, and refuses bad arguments."""

import copy
import json
import math
import pickle
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.optimizers.schedules import PolynomialDecay
from support.models import batch

import keras_lars
from keras_lars.schedules import FitSchedule, WarmUp, for_fit

pytestmark = pytest.mark.filterwarnings("ignore:`fit` will make")


def lars(schedule, **options):
    return keras_lars.LARS(schedule, jit_compile=False, **options)


# The number of updates.


def arrays(x, y, batch_size):
    return {"x": x, "y": y, "batch_size": batch_size}


def dataset(x, y, batch_size, **options):
    return {"x": tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size, **options)}


def dropped(x, y, batch_size):
    return dataset(x, y, batch_size, drop_remainder=True)


def of_unknown_length(x, y, batch_size):
    return {"x": dataset(x, y, batch_size)["x"].filter(lambda x, y: True)}


# (samples, epochs, global batch, accumulation, data), updates
FITS = [
    ((10, 3, 4, None, arrays), 9),
    ((8, 3, 4, None, arrays), 6),
    ((3, 3, 4, None, arrays), 3),
    ((10, 3, 4, None, dataset), 9),
    ((10, 3, 4, None, of_unknown_length), 9),
    ((10, 3, 4, None, dropped), 6),
    ((8, 3, 8, 2, arrays), 3),
    ((10, 3, 8, 2, arrays), 4),  # not 3 * ceil(10 / 8)
    ((10, 2, 6, 3, dataset), 3),
    ((10, 3, 8, 2, dropped), 3),
    ((10, 3, 8, {0: 1, 4: 2}, arrays), 6),  # 9 batches; the last one is left over
]
FITS_OF_REPLICAS = [
    ((9, 3, 4, None, arrays), 9),  # the last batch has one sample for two replicas
    ((10, 3, 4, None, dropped), 6),
    ((10, 3, 8, 2, dataset), 4),
]


def fit(samples, epochs, global_batch_size, steps, data):
    schedule = for_fit(samples, epochs, global_batch_size, drop_remainder=data is dropped)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(lars(schedule, gradient_accumulation_steps=steps), "mse", jit_compile=False)
    most = max(steps.values()) if isinstance(steps, dict) else steps or 1
    model.fit(**data(*batch(0, samples), global_batch_size // most), epochs=epochs, verbose=0)
    return model.optimizer


def assert_is_over(optimizer, updates):
    """The training has ended, and so has the schedule."""
    assert optimizer._schedule.updates == updates
    assert int(keras.ops.convert_to_numpy(optimizer.iterations)) == updates
    assert float(optimizer.learning_rate) == 0.0
    assert optimizer._last_learning_rate() > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize(("arguments", "updates"), FITS)
def test_updates_are_those_of_a_fit(arguments, updates):
    assert_is_over(fit(*arguments), updates)


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "updates"), FITS_OF_REPLICAS)
def test_updates_are_those_of_a_fit_on_two_replicas(strategy, arguments, updates):
    with strategy.scope():
        optimizer = fit(*arguments)
    assert_is_over(optimizer, updates)


@pytest.mark.slow
def test_steps_per_epoch_given_as_samples():
    schedule = for_fit(5 * 4, 2, 4)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(lars(schedule), "mse", jit_compile=False)
    data = dataset(*batch(0, 8), 4)["x"].repeat()
    model.fit(data, epochs=2, steps_per_epoch=5, verbose=0)
    assert_is_over(model.optimizer, 10)


# The values.


@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.29, 0.999999999])
@pytest.mark.parametrize("power", [1.0, 2.0])
def test_values_are_those_of_a_warm_up_before_a_decay(fraction, power):
    schedule = for_fit(1000, 10, 100, 7.0, warmup_fraction=fraction, power=power)
    assert schedule.updates == 100
    ramp = {0.0: 0, 0.2: 20, 0.29: 29, 0.999999999: 99}[fraction]
    assert schedule.warmup_updates == ramp
    expected = WarmUp(PolynomialDecay(7.0, 100 - ramp, 0.0, power=power), ramp, shift_decay=True)
    for update in (0, 1, ramp - 1, ramp, ramp + 1, 99, 100, 101):
        assert float(schedule(update)) == float(expected(update))
    assert float(schedule(0)) == (0.0 if ramp else 7.0)
    assert float(schedule(ramp)) == 7.0
    assert float(schedule(99)) == pytest.approx(7.0 * (1 / (100 - ramp)) ** power, rel=1e-5)


@pytest.mark.parametrize("updates", range(1, 12))
def test_few_updates(updates):
    schedule = for_fit(4, updates, 4, 3.0)
    assert (schedule.updates, schedule.warmup_updates) == (updates, updates // 5)
    values = [float(schedule(update)) for update in range(updates + 1)]
    assert np.isfinite(values).all()
    assert max(values) == 3.0
    assert values[-1] == 0.0
    assert values[0] == (0.0 if updates >= 5 else 3.0)


def test_the_peak():
    assert for_fit(10**6, 10, 128).peak == 4.0
    assert for_fit(10**6, 10, 512).peak == 8.0
    assert for_fit(10**6, 10, 4096).peak == 4 * math.sqrt(32)
    assert for_fit(10**6, 10, 16384).peak == 30.0
    assert for_fit(10**6, 10, 16384, maximum_learning_rate=100).peak == 4 * math.sqrt(128)
    assert for_fit(10**6, 10, 1024, base_learning_rate=1, base_batch_size=256).peak == 2.0
    assert for_fit(10**6, 10, 16384, learning_rate=50).peak == 50.0


def test_repr():
    schedule = for_fit(60_000, 8, 4096, drop_remainder=True)
    assert repr(schedule) == "FitSchedule(peak=22.6, updates=112, warm-up=22 updates)"
    assert repr(for_fit(4, 5, 4, 12)) == "FitSchedule(peak=12, updates=5, warm-up=1 update)"


# Accumulation.


def test_the_optimizer_adjusts_the_count():
    schedule = for_fit(10, 3, 8)
    assert schedule.updates == 6
    optimizer = lars(schedule, gradient_accumulation_steps=2)
    assert optimizer._schedule.updates == 4
    assert schedule.updates == 6
    assert lars(optimizer._schedule)._schedule.updates == 6
    # The same holds for a schedule that is assigned later.
    optimizer.learning_rate = for_fit(10, 9, 8)
    assert optimizer._schedule.updates == 13
    optimizer = lars(schedule)
    assert optimizer._schedule is schedule
    optimizer.gradient_accumulation_steps = 4
    optimizer.build([keras.Variable([1.0])])
    assert optimizer._schedule.updates == 3 * 5 // 4


def test_growing_accumulation():
    steps = {0: 1, 3: 8, 40: 2}
    batches = 10 * math.ceil(100 / 4)  # the largest batch has 32 samples
    schedule = for_fit(100, 10, 32, gradient_accumulation_steps=steps)
    assert (schedule.batches, schedule.updates) == (batches, 3 + (batches - 3) // 8)
    assert schedule.peak == for_fit(100, 10, 32).peak
    counted = lars(for_fit(100, 10, 32), gradient_accumulation_steps=steps)._schedule
    assert_same(counted, schedule)
    later = lars(for_fit(100, 20, 32), gradient_accumulation_steps=steps)._schedule
    assert later.updates == 40 + (2 * batches - 3 - 37 * 8) // 2
    config = json.loads(json.dumps(keras.optimizers.schedules.serialize(schedule)))
    assert_same(keras.optimizers.schedules.deserialize(config), schedule)
    assert_same(pickle.loads(pickle.dumps(schedule)), schedule)


@pytest.mark.parametrize(
    ("arguments", "steps", "message"),
    [
        ((10, 3, 8), {0: 1, 2: 3}, r"`global_batch_size` must be divis.*=8, gradient_.*=\{0: 1, 2"),
        ((10, 1, 64), {0: 8}, r"`epochs` must give at least .* batches=2, gradient_.*=\{0: 8\}"),
        ((10, 3, 8), 3, "`global_batch_size` must be divisible .*=8, gradient_accum.*_steps=3"),
        ((10, 1, 64), 8, "`epochs` must give at least .* epochs=1, batches=2, gradient_.*_steps=8"),
    ],
)
def test_an_accumulation_that_does_not_fit(arguments, steps, message):
    schedule = for_fit(*arguments)
    with pytest.raises(ValueError, match=message):
        lars(schedule, gradient_accumulation_steps=steps)
    optimizer = lars(1.0, gradient_accumulation_steps=steps)
    with pytest.raises(ValueError, match=message):
        optimizer.learning_rate = schedule
    assert float(optimizer.learning_rate) == 1.0


# Saving.


def assert_same(schedule, expected):
    assert type(schedule) is FitSchedule
    assert schedule.get_config() == expected.get_config()
    assert repr(schedule) == repr(expected)
    assert [float(schedule(i)) for i in range(8)] == [float(expected(i)) for i in range(8)]


def test_saving(recwarn):
    schedule = FitSchedule(10, 3, 8, 5.0, 0.5, 1.5, True, gradient_accumulation_steps=2)
    config = json.loads(json.dumps(keras.optimizers.schedules.serialize(schedule)))
    assert_same(keras.optimizers.schedules.deserialize(config), schedule)
    assert_same(pickle.loads(pickle.dumps(schedule)), schedule)
    assert_same(copy.deepcopy(schedule), schedule)
    assert len(recwarn) == 0


def test_the_optimizer_saves_the_schedule(tmp_path, recwarn):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    schedule = FitSchedule(10, 3, 8, 5.0)
    model.compile(lars(schedule, gradient_accumulation_steps=2), "mse")
    expected = schedule.for_accumulation(2)
    assert_same(keras_lars.LARS.from_config(model.optimizer.get_config())._schedule, expected)
    assert_same(pickle.loads(pickle.dumps(model.optimizer))._schedule, expected)
    assert_same(copy.deepcopy(model.optimizer)._schedule, expected)
    model.save(tmp_path / "model.keras")
    assert_same(keras.models.load_model(tmp_path / "model.keras").optimizer._schedule, expected)
    assert [str(w.message) for w in recwarn if "update" in str(w.message)] == []


# Warnings and refusals.


@pytest.mark.parametrize(("epochs", "warns"), [(3, True), (13, True), (14, False), (15, False)])
def test_few_updates_give_a_warning(epochs, warns):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        schedule = for_fit(12, epochs, 4)  # three per epoch
    assert len(caught) == warns == (schedule.updates < 40)
    if warns:
        message = str(caught[0].message)
        assert f"will make only {3 * epochs} updates" in message
        assert "Train for more epochs, or use a smaller batch" in message
        assert f"samples=12, epochs={epochs}, global_batch_size=4" in message
        assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("argument", "values", "rule"),
    [
        ("samples", [0, -1, 10.0, True, "10", None], "an integer >= 1"),
        ("epochs", [0, 1.5, None], "an integer >= 1"),
        ("global_batch_size", [0, 4.0, None], "an integer >= 1"),
        ("learning_rate", [0, -1.0, "1", float("nan"), True], "a finite number > 0, or None"),
        ("base_learning_rate", [0.0, None], "a finite number > 0"),
        ("base_batch_size", [0, 1.0], "an integer >= 1"),
        ("maximum_learning_rate", [0.0, float("inf")], "a finite number > 0"),
        ("warmup_fraction", [1.0, 1, -0.1, "0.2", None], "a finite number >= 0 and < 1"),
        ("power", [0, -1.0, None], "a finite number > 0"),
        ("drop_remainder", [0, None, "False"], "one of False, True"),
    ],
)
def test_bad_arguments(argument, values, rule):
    for value in values:
        arguments = {"samples": 10, "epochs": 3, "global_batch_size": 4, argument: value}
        with pytest.raises(ValueError) as error:
            for_fit(**arguments)
        assert str(error.value) == f"`{argument}` must be {rule}. Received: {argument}={value!r}"


def test_a_batch_larger_than_the_data():
    assert for_fit(10, 3, 16).updates == 3
    assert for_fit(16, 3, 16, drop_remainder=True).updates == 3
    with pytest.raises(ValueError, match=r"at most `samples` .*global_batch_size=16, samples=10"):
        for_fit(10, 3, 16, drop_remainder=True)


def test_numbers_of_numpy():
    schedule = for_fit(np.int64(10), np.int32(3), np.uint16(4), np.float32(2), power=np.float64(1))
    assert schedule.updates == 9
    json.dumps(schedule.get_config())
