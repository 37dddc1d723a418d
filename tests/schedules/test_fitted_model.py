"""A schedule of `for_fit` finds the model that is trained, whose batch statistics are checked."""

import math
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.models import FEATURES, batch

import keras_lars
from keras_lars import _batch_statistics
from keras_lars._keras.fitted_model import is_shuffling
from keras_lars.schedules import FitSchedule

pytestmark = pytest.mark.slow


@pytest.fixture
def checked(monkeypatch):
    """The models whose batch statistics were checked, each with the number of batches."""
    calls = []
    monkeypatch.setattr(
        _batch_statistics, "warn_if_stale", lambda model, batches: calls.append((model, batches))
    )
    return calls


def compiled(build, rate=None, steps=None, wrap=lambda optimizer: optimizer, **options):
    rate = FitSchedule(10, 3, 8, 1.0) if rate is None else rate
    model = build()
    optimizer = keras_lars.LARS(rate, jit_compile=False, gradient_accumulation_steps=steps)
    model.compile(wrap(optimizer), "mse", jit_compile=False, **options)
    return model


def fit(model, batch_size=8):
    model.fit(*batch(0, 10), batch_size=batch_size, epochs=3, verbose=0)


def unbuilt():
    return keras.Sequential([keras.layers.Dense(1)])


def built():
    return keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(1)])


def functional():
    inputs = keras.Input((FEATURES,))
    return keras.Model(inputs, keras.layers.Dense(1)(inputs))


class OwnStep(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)

    def call(self, inputs):
        return self.dense(inputs)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return {"loss": loss}


class OwnFit(OwnStep):
    def fit(self, data):
        self.train_step(data)
        self.optimizer.finalize_variable_values(self.trainable_variables)


def test_a_model_with_its_own_fit():
    model = compiled(OwnFit, rate=4.0)
    model.fit(batch(0))
    assert int(model.optimizer.iterations) == 1


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        return batch(0)


@pytest.mark.parametrize(
    ("data", "shuffle", "expected"),
    [
        (batch(0), True, True),
        (batch(0), False, False),
        ((Batches(),), True, True),
        ((tf.data.Dataset.from_tensors(batch(0)),), True, False),
    ],
    ids=["arrays", "in order", "PyDataset", "tf.data"],
)
def test_data_that_fit_shuffles(data, shuffle, expected):
    model, found = functional(), []
    model.compile(keras.optimizers.SGD(), "mse", run_eagerly=True)
    asks = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: found.append(is_shuffling(model))
    )
    model.fit(*data, shuffle=shuffle, verbose=0, callbacks=[asks])
    assert found == [expected]


@pytest.mark.parametrize("build", [unbuilt, built, functional, OwnStep])
def test_a_fit(build, checked):
    model = compiled(build)
    assert checked == []
    fit(model)
    with pytest.warns(UserWarning, match="After the end of its schedule"):
        fit(model)
    assert checked == [(model, 6)]


def test_batches_are_those_of_an_accumulation(checked):
    model = compiled(unbuilt, steps=2)
    fit(model, batch_size=4)
    assert checked == [(model, 3 * 3)]  # the last one is left over


@pytest.mark.parametrize("build", [unbuilt, functional])
def test_a_fit_on_two_replicas(build, checked, strategy):
    with strategy.scope():
        model = compiled(build)
    fit(model)
    assert checked == [(model, 6)]


def test_a_step_in_which_replicas_build_the_optimizer(checked, strategy):
    """Each replica runs in its own thread, whose stack begins at the step."""
    with strategy.scope():
        model = compiled(built)
    assert not model.optimizer.built
    data = tuple(map(tf.constant, batch(0)))
    strategy.run(model.train_step, args=(data,))
    assert checked == [(model, 6)]


@pytest.mark.parametrize(
    "wrap", [lambda optimizer: optimizer, keras_lars.LossScaleOptimizer], ids=["Keras's", "ours"]
)
def test_inside_loss_scaling(wrap, checked):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled(unbuilt, wrap=wrap)
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        fit(model)
    finally:
        keras.config.set_dtype_policy(policy)
    assert checked == [(model, 6)]


@pytest.mark.parametrize("rate", [1.0, keras.optimizers.schedules.PolynomialDecay(1.0, 6)])
def test_nothing_is_checked_for_other_rates(rate, checked):
    fit(compiled(built, rate, run_eagerly=True))
    assert checked == []


def test_nothing_is_checked_for_a_loaded_model(checked, tmp_path):
    model = compiled(built, run_eagerly=True)
    fit(model)
    model.save(tmp_path / "model.keras")
    checked.clear()
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.built
    assert checked == []


def test_nothing_is_checked_in_a_custom_loop(checked):
    variable = keras.Variable([1.0])
    optimizer = keras_lars.LARS(FitSchedule(10, 3, 8, 1.0), jit_compile=False)

    @tf.function
    def step():
        optimizer.apply([tf.constant([1.0])], [variable])

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # AutoGraph warns about code that it cannot read
        step()
    assert int(optimizer.iterations) == 1
    assert checked == []


def test_an_outer_fit_with_another_optimizer_is_ignored(checked):
    """For a fit within a fit, the inner model is found."""
    inner = compiled(built)

    class FitsAnother(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            fit(inner)

    outer = compiled(built, 1.0)
    x, y = batch(0)
    outer.fit(x, y, verbose=0, callbacks=[FitsAnother()])
    assert checked == [(inner, 6)]
    assert np.isfinite(inner.get_weights()[0]).all()


@pytest.mark.parametrize(("build", "strategy"), [(functional, False), (unbuilt, True)])
def test_nothing_is_checked_if_statistics_are_recalibrated(build, strategy, checked):
    scope = tf.distribute.MirroredStrategy(["CPU:0"]) if strategy else tf.distribute.get_strategy()
    with scope.scope():
        model = compiled(lambda: keras.Sequential([keras.layers.BatchNormalization(), build()]))
    recalibrate = keras_lars.callbacks.RecalibrateStatistics(batch(0, 10)[0])
    model.fit(*batch(0, 10), batch_size=8, epochs=3, verbose=0, callbacks=[recalibrate])
    assert checked == []


def test_the_batches_are_those_of_the_fit_if_they_are_known(checked):
    """Not those of the schedule; the same `fit` warns that they differ."""
    model = compiled(built, run_eagerly=True)
    with pytest.warns(UserWarning, match="but this schedule is for 6"):
        model.fit(*batch(0, 10), epochs=4, verbose=0)
    assert checked == [(model, 4)]


def test_a_warning_in_a_fit_names_the_layer_and_both_remedies():
    layers = [keras.layers.BatchNormalization(name="bn"), keras.layers.Dense(1)]
    model = compiled(lambda: keras.Sequential(layers))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model)
        fit(model)
    (message,) = [str(each.message) for each in caught if "statistics" in str(each.message)]
    for words in ("`bn`", "BatchNormalization(momentum=", "RecalibrateStatistics"):
        assert words in message


def warned_of_batches(model, **arguments):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(*batch(0, 10), verbose=0, **arguments)
    return [str(each.message) for each in caught if "but this schedule" in str(each.message)]


@pytest.mark.parametrize("build", [unbuilt, functional])
def test_a_fit_with_another_number_of_batches_gives_a_warning(build):
    # The default batch size of 32 instead of 8: only 3 batches, so that the rate never reaches 0.
    (message,) = warned_of_batches(compiled(build, run_eagerly=True), epochs=3)
    assert message.startswith("`fit` makes 3 batches, but this schedule is for 6.")
    (message,) = warned_of_batches(compiled(build), batch_size=2, epochs=3)
    assert message.startswith("`fit` makes 15 batches")


@pytest.mark.parametrize(
    ("epochs", "initial_epoch", "restored", "message"),
    [
        (5, 2, 0, None),
        (3, 1, 1, None),
        (2, 0, 1, None),
        (3, 1, 0, "`fit` makes 4 batches, but this schedule is for 6."),
        (3, 0, 1, "`fit` makes 6 batches after 2, but this schedule is for 6."),
    ],
)
def test_epochs_before_the_fit_count_only_if_their_state_is_restored(
    epochs, initial_epoch, restored, message, tmp_path
):
    model = compiled(functional, run_eagerly=True)
    if restored:
        before = compiled(functional, run_eagerly=True)
        warned_of_batches(before, batch_size=8, epochs=restored)
        before.save_weights(tmp_path / "before.weights.h5")
        model.load_weights(tmp_path / "before.weights.h5")
    found = warned_of_batches(model, batch_size=8, epochs=epochs, initial_epoch=initial_epoch)
    assert [each.split(" Give ")[0] for each in found] == ([message] if message else [])


# Hints in the warning. The schedule is for 1,000 samples in batches of 64 for 5 epochs.
BATCH_SIZE, HELD_OUT = "Without `batch_size`, `fit` uses 32.", "`validation_split` holds out."
FOLLOWED = "It is right if these are 4 of 5 epochs, and further calls of `fit` make the others."


@pytest.mark.parametrize(
    ("batches", "steps", "hint"),
    [
        (5 * math.ceil(1000 / 32), None, BATCH_SIZE),
        (5 * math.ceil(1000 / 32), 4, BATCH_SIZE),
        (5 * math.ceil(800 / 64), None, HELD_OUT),
        (5 * math.ceil(900 / 16), 4, HELD_OUT),
        (4 * math.ceil(1000 / 64), None, FOLLOWED),
        (4 * math.ceil(1000 / 16), 4, FOLLOWED),
        (6 * math.ceil(1000 / 64), None, None),
        (5 * math.ceil(1100 / 64), None, None),
        (5 * math.ceil(300 / 64), None, None),
        (1, None, None),
    ],
)
def test_a_likely_cause_is_named(batches, steps, hint):
    schedule = FitSchedule(1000, 5, 64, 1.0, gradient_accumulation_steps=steps or 1)
    with pytest.warns(UserWarning, match="but this schedule is for") as caught:
        assert schedule.warn_unless_made_for(batches)
    message = str(caught[0].message)
    assert [each for each in (BATCH_SIZE, HELD_OUT, FOLLOWED) if each in message] == [hint] * bool(
        hint
    )
    assert ("batch size of `fit`. Received: samples=1000" in message) == (hint is None)


@pytest.mark.parametrize("steps", [None, 2, 4])
def test_the_fit_of_the_schedule_gives_no_warning(steps):
    model = compiled(functional, steps=steps, run_eagerly=steps != 2)
    assert warned_of_batches(model, batch_size=8 // (steps or 1), epochs=3) == []
    assert warned_of_batches(model, batch_size=8 // (steps or 1), epochs=3) == []
