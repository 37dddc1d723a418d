"""Learning rates that callbacks set, and that do not suit LARS: one warning, or an error."""

import re
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.models import batch, compiled

import keras_lars
from keras_lars.callbacks import TrustRatioMonitor
from keras_lars.schedules import FitSchedule

pytestmark = pytest.mark.slow


def network():
    return keras.Sequential([keras.layers.Dense(1)])


def make_lars(rate=4.0, **options):
    return keras_lars.LARS(rate, jit_compile=False, **options)


def messages(action):
    """The warnings about small learning rates that an action gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        action()
    return [str(w.message) for w in caught if "hundredth" in str(w.message)]


def assign(optimizer, *rates):
    for rate in rates:
        optimizer.learning_rate = rate


def fit(model, *callbacks, epochs=3):
    x, y = batch(0)
    model.fit(x, y, epochs=epochs, verbose=0, callbacks=list(callbacks))


def scheduler(rate):
    return keras.callbacks.LearningRateScheduler(rate)


# Assigned rates.


@pytest.mark.parametrize(
    ("given", "rates", "warned"),
    [
        (4.0, [0.001], 1),
        (4.0, [np.float32(0.001)], 1),
        (4.0, [0.001, 0.001, 4.0, 0.0001], 1),
        (4.0, [0.0399], 1),
        (4.0, [0.04], 0),
        (4.0, [0.3, 0.001], 1),
        (4.0, [100.0, 0.001], 1),
        (4.0, [0.4, 0.04, 0.004, 0.0004], 0),  # a decay by tenths
        (4.0, [0.4, 0.04, 0.0039], 1),
        (4.0, [0.0], 0),  # to stop training
        (4.0, [0.0, 0.01, 0.02], 0),  # a ramp
        (0.0, [0.001], 0),
        (1.0, [0.001], 1),
        (0.05, [0.001], 0),  # the initial rate is small too
        (keras.optimizers.schedules.PolynomialDecay(4.0, 10), [FitSchedule(8, 9, 8, 1e-3)], 0),
    ],
)
def test_assigned_rates(given, rates, warned):
    optimizer = make_lars(given)
    assert len(messages(lambda: assign(optimizer, *rates))) == warned
    if isinstance(rates[-1], float):
        assert float(optimizer.learning_rate) == pytest.approx(rates[-1])


def test_the_message():
    (message,) = messages(lambda: assign(make_lars(name="mine"), 0.001))
    assert message.startswith("`learning_rate` of optimizer 'mine' was set to 0.001, less than")
    assert "the initial 4" in message
    assert "`LearningRateScheduler`" in message
    assert "keras_lars.schedules.for_fit(" in message


def test_assignment_under_a_strategy_and_in_a_step(strategy):
    with strategy.scope():
        optimizer = make_lars()
        assert len(messages(lambda: assign(optimizer, 0.001))) == 1
    optimizer = make_lars()

    @tf.function
    def step(rate):
        optimizer.learning_rate = 0.001
        optimizer.learning_rate = rate

    assert len(messages(lambda: step(tf.constant(0.002)))) == 1
    assert float(optimizer.learning_rate) == np.float32(0.002)


# In `fit`.


@pytest.mark.parametrize("wrap", [lambda lars: lars, keras_lars.LossScaleOptimizer])
def test_a_scheduler_copied_from_a_tutorial(wrap):
    model = compiled(network, wrap(make_lars()))
    callback = scheduler(lambda epoch: 1e-3 if epoch < 2 else 1e-4)
    assert len(messages(lambda: fit(model, callback))) == 1
    assert messages(lambda: fit(model, callback)) == []


@pytest.mark.parametrize(
    "callback",
    [
        # No improvement is large enough.
        keras.callbacks.ReduceLROnPlateau("loss", factor=0.1, patience=1, min_delta=1e9),
        scheduler(lambda epoch, rate: rate / 10),
        scheduler(lambda epoch: 4.0 * (1 - epoch / 6) ** 3),
        scheduler(lambda epoch: 4.0 * epoch / 6),
    ],
    ids=["plateau", "tenths", "decay", "ramp"],
)
def test_callbacks_that_suit_the_rate_give_no_warning(callback, tmp_path):
    model = compiled(network, make_lars(record_trust_ratios=True))
    rates = []
    record = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: rates.append(float(model.optimizer.learning_rate))
    )
    monitor = TrustRatioMonitor(tmp_path, verbose=False)
    assert messages(lambda: fit(model, callback, record, monitor, epochs=6)) == []
    assert min(rates) <= 0.0401


class SetsByBatch(keras.callbacks.Callback):
    def __init__(self, *rates):
        super().__init__()
        self.rates = iter(rates)

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = next(self.rates)


@pytest.mark.parametrize(
    ("rates", "warned"),
    [
        ([0.004, 0.008, 0.012], 0),  # a warm-up of 1,000 batches
        ([0.004, 4.0, 3.0], 0),
        ([0.004, 0.008, 0.008], 1),
        ([0.003, 0.003, 0.003], 1),
        ([0.02, 4.0, 0.001], 0),  # another warm-up may begin
    ],
)
def test_a_warm_up_by_batch(rates, warned, tmp_path):
    model = compiled(network, make_lars(record_trust_ratios=True))
    monitor = TrustRatioMonitor(tmp_path, 1, verbose=False)
    assert len(messages(lambda: fit(model, SetsByBatch(*rates), monitor))) == warned


def restored(model, build):
    """A new model with this one's optimizer state, loaded after or before it is built."""
    store = {}
    model.optimizer.save_own_variables(store)
    again = compiled(network, make_lars(record_trust_ratios=True))
    if build:
        again.optimizer.build(again.trainable_variables)
    again.optimizer.load_own_variables(store)
    return again


@pytest.fixture(scope="module")
def decayed():
    """A trained model whose rate has decayed to a thousandth of the initial rate."""
    model = compiled(network, make_lars(record_trust_ratios=True))
    assign(model.optimizer, 0.4, 0.04, 0.004)
    fit(model, epochs=1)
    return model


@pytest.mark.parametrize("build", [False, True])
def test_a_decay_continues_from_a_restored_rate(build, decayed, tmp_path):
    def train():
        fit(model, scheduler(lambda epoch: 0.003), TrustRatioMonitor(tmp_path, 1, verbose=False))

    model = restored(decayed, build)
    assert messages(train) == []
    assert float(model.optimizer.learning_rate) == np.float32(0.003)


def test_loading_does_not_count_as_assignment(decayed, tmp_path):
    decayed.save(tmp_path / "model.keras")
    checkpoint = tf.train.Checkpoint(model=decayed).save(str(tmp_path / "checkpoint"))

    def load():
        model = keras.models.load_model(tmp_path / "model.keras")
        assert float(model.optimizer.learning_rate) == np.float32(0.004)
        model = restored(decayed, build=True)
        tf.train.Checkpoint(model=model).restore(checkpoint)
        assert float(model.optimizer.learning_rate) == np.float32(0.004)

    assert messages(load) == []


# Numbers instead of schedules.


@pytest.mark.parametrize(
    ("given", "description"),
    [
        (FitSchedule(8, 9, 8, 1.0), "it is FitSchedule(peak=1, updates=9, warm-up=1 update)"),
        (keras.optimizers.schedules.PolynomialDecay(1.0, 9), "it is of type PolynomialDecay"),
        (lambda: 0.5, "it is of type function"),
    ],
)
def test_a_number_cannot_replace_a_schedule(given, description):
    model = compiled(network, make_lars(given))
    with pytest.raises(TypeError, match=re.escape(description)) as error:
        fit(model, scheduler(lambda epoch: 1e-3))
    message = str(error.value)
    assert message.startswith("`learning_rate` must not be assigned a number if it is a ")
    assert "use either the callback or the schedule. Received: learning_rate=0.001, " in message
    assert int(model.optimizer.iterations) == 0
    model.optimizer.learning_rate = FitSchedule(8, 9, 8, 2.0)
    assert model.optimizer._schedule.peak == 2.0


# Rates assigned to the variable, which bypasses the setter.


class Assigns(keras.callbacks.Callback):
    """Assigns to the variable of the rate, like Keras's older callbacks."""

    def __init__(self, *rates):
        super().__init__()
        self.rates = rates

    def on_epoch_begin(self, epoch, logs=None):
        self.model.optimizer.learning_rate.assign(self.rates[min(epoch, len(self.rates) - 1)])


def monitored(tmp_path, *callbacks, rate=4.0, again=False):
    model = compiled(network, make_lars(rate, record_trust_ratios=True))
    monitor = TrustRatioMonitor(tmp_path, 1, verbose=False)

    def train():
        fit(model, *callbacks, monitor)
        if again:
            fit(model, *callbacks, monitor)

    return messages(train)


def test_the_monitor_warns_about_rates_assigned_to_the_variable(tmp_path):
    (message,) = monitored(tmp_path, Assigns(1e-3, 4.0, 1e-4), again=True)
    assert message.startswith("The learning rate is less than a hundredth of the initial")
    assert "`0.001 instead of 4`" in message
    assert "keras_lars.schedules.for_fit(" in message


def test_the_monitor_does_not_repeat_the_warning_of_the_optimizer(tmp_path):
    (message,) = monitored(tmp_path, scheduler(lambda epoch: 1e-3), again=True)
    assert message.startswith("`learning_rate` of optimizer 'lars' was set to 0.001")


@pytest.mark.parametrize(
    ("given", "rates"),
    [(4.0, [0.4, 0.04, 0.004]), (4.0, [0.0, 0.01, 0.02]), (0.05, [0.001]), (0.0, [0.001])],
)
def test_the_monitor_allows_decays_and_ramps(given, rates, tmp_path):
    assert monitored(tmp_path, Assigns(*rates), rate=given) == []


def test_the_monitor_allows_schedules_that_decay(tmp_path):
    assert monitored(tmp_path, rate=FitSchedule(8, 3, 8, 4.0, power=9.0)) == []
    assert monitored(tmp_path, rate=lambda: 1e-9) == []


def test_the_monitor_allows_a_restored_rate(decayed, tmp_path):
    model = restored(decayed, build=True)
    assert messages(lambda: fit(model, TrustRatioMonitor(tmp_path, verbose=False))) == []
    assert float(model.optimizer.learning_rate) == np.float32(0.004)
