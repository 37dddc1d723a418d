"""The warning of batch normalization that a training is too short for."""

import math
import re
import warnings

import keras
import numpy as np
import pytest
from support.models import FEATURES, normal

import keras_lars
from keras_lars import _batch_statistics, _replicas
from keras_lars._batch_statistics import warn_if_stale
from keras_lars.callbacks import RecalibrateStatistics, TrustRatioMonitor
from keras_lars.schedules import FitSchedule

X, Y = normal(1, (24, FEATURES)), normal(2, (24, 1))


def normalized(*momenta, **options):
    layers = [
        keras.layers.BatchNormalization(momentum=momentum, name=f"bn_{i}", **options)
        for i, momentum in enumerate(momenta)
    ]
    model = keras.Sequential([keras.Input((FEATURES,)), *layers, keras.layers.Dense(1)])
    # Eagerly, since tracing takes longer than the few steps do.
    lars = keras_lars.LARS(1.0, record_trust_ratios=True, jit_compile=False)
    model.compile(lars, "mse", run_eagerly=True)
    return model


def warned(function):
    """The messages about statistics, of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    messages = [str(each.message) for each in caught]
    return [message for message in messages if "initial moving statistics" in message]


def test_the_share_that_remains_and_both_remedies():
    (message,) = warned(lambda: warn_if_stale(normalized(0.99), 117))
    assert message == (
        "After 117 batches 31 % of the initial moving statistics remain in `bn_0`, so "
        "evaluation and inference are less accurate than the weights allow. Use "
        "`BatchNormalization(momentum=0.9)`, or pass the callback "
        "`keras_lars.callbacks.RecalibrateStatistics` to `fit`."
    )


@pytest.mark.parametrize("batches", [1, 2, 7, 28, 29, 117, 298])
def test_the_momentum_that_it_names_would_do(batches):
    (message,) = warned(lambda: warn_if_stale(normalized(0.99), batches))
    momentum = float(re.search(r"momentum=([\d.]+)", message)[1])
    assert momentum**batches <= 0.05
    assert momentum == 0.9 or (momentum + 0.01) ** batches > 0.05
    assert warned(lambda: warn_if_stale(normalized(momentum), batches)) == []


def test_where_it_begins():
    last = math.floor(math.log(0.05) / math.log(0.99))
    assert (last, 0.99**last > 0.05, 0.99 ** (last + 1) > 0.05) == (298, True, False)
    assert len(warned(lambda: warn_if_stale(normalized(0.99), last))) == 1
    assert warned(lambda: warn_if_stale(normalized(0.99), last + 1)) == []


def test_only_layers_that_lag_are_named_and_few_of_many():
    (message,) = warned(lambda: warn_if_stale(normalized(0.5, 0.99, 0.999), 100))
    assert "90 % of the initial moving statistics remain in `bn_1`, `bn_2`, so" in message
    (message,) = warned(lambda: warn_if_stale(normalized(*[0.99] * 6), 100))
    assert "remain in `bn_0`, `bn_1`, `bn_2` and 3 more, so" in message


def test_once_for_each_model():
    model, other = normalized(0.99), normalized(0.99)
    assert len(warned(lambda: [warn_if_stale(model, 10), warn_if_stale(model, 20)])) == 1
    assert len(warned(lambda: warn_if_stale(other, 10))) == 1


def test_models_without_layers_that_move():
    frozen = normalized(0.99, trainable=False)
    plain = keras.Sequential([keras.Input((FEATURES,)), keras.layers.LayerNormalization()])
    for model in (frozen, plain):
        assert warned(lambda model=model: warn_if_stale(model, 1)) == []


@pytest.mark.parametrize("name", ["moving_mean", "moving_variance"])
def test_statistics_that_were_trained_before_are_not_initial(name):
    model = normalized(0.99, 0.99)
    getattr(model.get_layer("bn_0"), name).assign(np.full(FEATURES, 0.5))
    (message,) = warned(lambda: warn_if_stale(model, 1))
    assert "`bn_1`" in message
    assert "`bn_0`" not in message


def test_nested_layers_count():
    inner = normalized(0.99)
    model = keras.Sequential([keras.Input((FEATURES,)), inner])
    assert "`bn_0`" in warned(lambda: warn_if_stale(model, 1))[0]


def test_only_the_chief_warns(monkeypatch):
    monkeypatch.setattr(_replicas, "is_chief", lambda strategy: False)
    assert warned(lambda: warn_if_stale(normalized(0.99), 1)) == []


@pytest.mark.parametrize("batches", [0, -1, 1.5, None])
def test_bad_numbers(batches):
    with pytest.raises(ValueError, match=r"`batches` must be an integer >= 1\. Received: batches="):
        warn_if_stale(normalized(0.99), batches)


# In `fit`.


def fit(model, *callbacks, batch_size=8, epochs=4, **options):
    options = {"x": X, "y": Y, "batch_size": batch_size, "epochs": epochs, **options}
    return warned(lambda: model.fit(callbacks=list(callbacks), verbose=0, **options))


@pytest.mark.slow
def test_the_monitor_counts_the_batches_of_all_epochs(tmp_path):
    monitor = TrustRatioMonitor(tmp_path, verbose=False)
    assert fit(normalized(0.99)) == []  # by itself `fit` knows nothing of this package
    model = normalized(0.99)
    (message,) = fit(model, monitor)
    assert message.startswith("After 12 batches 89 % of")
    assert fit(model, monitor) == []  # once


@pytest.mark.slow
def test_micro_batches_count(tmp_path):
    model = normalized(0.7)
    lars = keras_lars.LARS(1.0, record_trust_ratios=True, gradient_accumulation_steps=3)
    model.compile(lars, "mse", run_eagerly=True)
    # Four updates of three batches each: 0.7 ** 4 would be 24 %, and 0.7 ** 12 is 1 %.
    assert fit(model, TrustRatioMonitor(tmp_path, verbose=False)) == []


def test_the_first_epoch_of_a_schedule_of_many():
    model = normalized(0.7)
    schedule = FitSchedule(24, 10, 8, 1.0)
    model.compile(keras_lars.LARS(schedule, jit_compile=False), "mse", run_eagerly=True)
    assert fit(model, epochs=1) == []


def test_data_of_unknown_size_say_nothing(tmp_path):
    def batches():
        yield X, Y

    options = {"x": batches(), "y": None, "batch_size": None, "epochs": 1}
    assert fit(normalized(0.99), TrustRatioMonitor(tmp_path, verbose=False), **options) == []


@pytest.mark.slow
@pytest.mark.parametrize("monitor_first", [False, True])
def test_statistics_that_are_taken_anew_need_no_warning(monitor_first, tmp_path):
    monitor = TrustRatioMonitor(tmp_path, verbose=False)
    callbacks = [monitor, RecalibrateStatistics(X)][:: 1 if monitor_first else -1]
    assert fit(normalized(0.99), *callbacks) == []
    # That holds for this `fit` alone.
    assert len(fit(normalized(0.99), monitor)) == 1


@pytest.mark.slow
def test_a_prepared_model_warns(strategy):
    with strategy.scope():
        model = keras_lars.multi_worker.prepare(normalized(0.99))
        model.compile(keras_lars.LARS(1.0, jit_compile=False), "mse")
    seen = []
    own = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: seen.append(logs))
    (message,) = fit(model, own)
    assert message.startswith("After 12 batches 89 % of")
    assert fit(model) == []

    def forget():
        """As if it were another model."""
        _batch_statistics._warned.clear()
        layer = model.get_layer("bn_0")
        layer.moving_mean.assign(np.zeros(FEATURES))
        layer.moving_variance.assign(np.ones(FEATURES))

    forget()
    assert fit(model, RecalibrateStatistics(X)) == []
    forget()
    # Callbacks given by position, and as Keras makes them of a list.
    (message,) = warned(lambda: model.fit(X, Y, 8, 1, 0, own))
    assert message.startswith("After 3 batches")
    forget()
    options = {"add_history": True, "model": model, "epochs": 1, "steps": 3, "verbose": 0}
    callbacks = keras.callbacks.CallbackList([own], **options)
    assert warned(lambda: model.fit(X, Y, 8, 1, 0, callbacks)) == []
    assert len(seen) == 3


@pytest.mark.slow
def test_what_it_is_about():
    """A mean of 5, of which an evaluation after 12 batches sees a tenth."""
    model = normalized(0.99)
    fit(model, x=X + 5)
    share = 0.99**12
    np.testing.assert_allclose(
        model.layers[0].moving_mean, (1 - share) * (X + 5).mean(0), rtol=0.05
    )
