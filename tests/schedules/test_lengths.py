"""One warning of a `fit` for which a schedule is too short or too long: Keras's, or `for_fit`'s."""

import warnings

import keras
import pytest
import tensorflow as tf
from keras.optimizers.schedules import CosineDecay, ExponentialDecay, PolynomialDecay
from support.models import batch, compiled, functional

import keras_lars
from keras_lars import _fit_checks
from keras_lars.schedules import FitSchedule, WarmUp

pytestmark = pytest.mark.slow


def make_model(schedule, **options):
    lars = keras_lars.LARS(schedule, jit_compile=False, **options)
    return compiled(functional, lars, run_eagerly=True)


def fit(model, *callbacks, data=None, **options):
    """Calls `fit`, by default for 3 epochs of 2 batches. Returns its warnings about schedules."""
    options = {"epochs": 3, "callbacks": list(callbacks), "verbose": 0, **options}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if data is None:
            model.fit(*batch(0), batch_size=4, **options)
        else:
            model.fit(data, **options)
    return [str(each.message) for each in caught if "schedule" in str(each.message)]


def checked(schedule, updates=12, epochs=3):
    """The warnings of a `fit` of this many updates and epochs."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        optimizer = keras_lars.LARS(schedule, jit_compile=False)
        _fit_checks.warn_of_another_length(optimizer, schedule, updates, range(epochs))
    return [str(each.message) for each in caught]


@pytest.mark.parametrize(
    ("schedule", "found"),
    [
        (CosineDecay(4.0, 3), "has decayed to 0 after 3"),  # epochs instead of updates
        (PolynomialDecay(4.0, 10), "has decayed to 0.0001 after 10"),
        (CosineDecay(0.0, 3, warmup_target=4.0, warmup_steps=2), "has decayed to 0 after 5"),
        (WarmUp(CosineDecay(4.0, 3), 2), "has decayed to 0 after 5"),
        (CosineDecay(4.0, 25), "decays for 25"),
        (CosineDecay(0.0, 99, warmup_target=4.0, warmup_steps=12), "warms up for 12"),
        (WarmUp(4.0, 12), "warms up for 12"),
    ],
)
def test_another_length(schedule, found):
    (message,) = checked(schedule)
    assert message == (
        f"`fit` ends after 12 updates, but the schedule of optimizer 'lars' {found}. Count the "
        "updates of `fit`: batches per epoch times epochs. Or pass "
        "`keras_lars.schedules.for_fit(...)`, which counts them. Received: "
        f"learning_rate=<{type(schedule).__name__}>"
    )
    is_too_short = "decayed to" in found
    assert len(checked(schedule, epochs=1)) == is_too_short  # other epochs may follow


@pytest.mark.parametrize(
    "schedule",
    [
        CosineDecay(4.0, 12),
        CosineDecay(4.0, 11),  # without incomplete batches
        CosineDecay(4.0, 24),
        CosineDecay(4.0, 3, alpha=0.1),
        PolynomialDecay(4.0, 3, cycle=True),
        PolynomialDecay(4.0, 99, end_learning_rate=1.0),
        CosineDecay(4.0, 12, warmup_steps=99),  # ignored by Keras without `warmup_target`
        CosineDecay(0.0, 3),  # which the warning of tiny rates is about
        ExponentialDecay(4.0, 1, 0.5),
        WarmUp(4.0, 11),
    ],
)
def test_lengths_that_suit(schedule):
    assert checked(schedule) == []


def test_it_is_said_once():
    model = make_model(CosineDecay(4.0, 3))
    (message,) = fit(model)
    assert message.startswith("`fit` ends after 6 updates, but the schedule of optimizer 'lars' ")
    assert fit(model) == []


def test_at_the_end_of_one_fit_of_many():
    model = make_model(CosineDecay(4.0, 4))
    for epoch in range(2):
        assert fit(model, epochs=epoch + 1, initial_epoch=epoch) == []
    (message,) = fit(model, epochs=3, initial_epoch=2)
    assert message == (
        "After the end of its schedule, optimizer 'lars' made 2 updates, at a learning rate of 0. "
        "Compile with a new schedule before each `fit`."
    )
    assert fit(model, epochs=4, initial_epoch=3) == []


def test_updates_of_an_accumulation():
    assert fit(make_model(CosineDecay(4.0, 3), gradient_accumulation_steps=2)) == []
    (message,) = fit(make_model(CosineDecay(4.0, 7), gradient_accumulation_steps=2))
    assert "`fit` ends after 3 updates, but the schedule of optimizer 'lars' decays for" in message
    assert "times epochs, divided by `gradient_accumulation_steps`." in message


# `for_fit`, where LARS is built without the size of `fit`: what is missing shows at the end.


def of_unknown_size():
    """Two batches, of which Keras does not know the number."""
    batches = tf.data.Dataset.from_tensor_slices(batch(0, 16)).batch(8)
    return batches.filter(lambda x, y: True)


@pytest.mark.parametrize(
    ("schedule", "options", "batches"),
    [
        (FitSchedule(800, 3, 8, 1.0), {}, 6),
        (FitSchedule(800, 3, 8, 1.0), {"epochs": 2}, None),  # others may follow
        (FitSchedule(16, 3, 8, 1.0), {}, None),
    ],
)
def test_data_of_unknown_size(schedule, options, batches):
    found = fit(make_model(schedule), data=of_unknown_size(), **options)
    start = f"`fit` makes {batches} batches, but this schedule is for 300. Give `for_fit` "
    assert [each[: len(start)] for each in found] == ([start] if batches else [])


@pytest.mark.parametrize("is_built", [False, True])
def test_a_schedule_of_keras_that_is_too_long(is_built):
    model = make_model(CosineDecay(4.0, 99))
    if is_built:
        model.optimizer.build(model.trainable_variables)
    assert fit(model, data=of_unknown_size(), epochs=1) == []  # others may follow
    (message,) = fit(model, data=of_unknown_size())
    assert message.startswith("`fit` ends after 8 updates, but the schedule of optimizer 'lars' ")
    assert fit(model, data=of_unknown_size()) == []


def test_an_optimizer_that_was_built_before():
    model = make_model(FitSchedule(800, 3, 8, 1.0))
    model.optimizer.build(model.trainable_variables)
    (message,) = fit(model)
    assert message.startswith("`fit` makes 6 batches, but this schedule is for 300.")


def test_early_stopping_of_data_of_unknown_size():
    stopping = keras.callbacks.EarlyStopping("loss", patience=0, min_delta=1e9)
    model = make_model(FitSchedule(800, 3, 8, 1.0))
    assert fit(model, stopping, data=of_unknown_size()) == []
