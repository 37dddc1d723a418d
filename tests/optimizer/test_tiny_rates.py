"""A learning rate that is meant for Adam gives one warning, from the constructor or `build`."""

import copy
import pickle
import warnings

import keras
import pytest
from keras.optimizers.schedules import CosineDecay, ExponentialDecay, PiecewiseConstantDecay
from support.models import batch, compiled, make_variable, sequential

import keras_lars
from keras_lars import _rates
from keras_lars.schedules import FitSchedule, WarmUp, for_fit

BIASES = [keras_lars.bias_or_normalization(), keras_lars.rank_at_most(1)]
EXCLUDED = "exclude_from_layer_adaptation"
WARNING = "`learning_rate` is far too small for LARS"
OTHERS = ("`learning_rate` is small for", "hundredth of the initial")


def warned(function):
    """The result of a call, and its warnings about learning rates."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function()
    messages = [str(each.message) for each in caught]
    return result, [m for m in messages if any(words in m for words in (WARNING, *OTHERS))]


def test_the_message_and_its_location():
    with pytest.warns(UserWarning, match=WARNING) as caught:
        keras_lars.LARS(0.001, name="mine")
    (warning,) = caught
    assert str(warning.message) == (
        "`learning_rate` is far too small for LARS: a gradient moves a variable by only 0.0001 % "
        "of its norm. Rates for SGD or Adam do not suit LARS. Use 4 to 40, or pass "
        "`keras_lars.schedules.for_fit(...)`, which chooses the rate. Received: "
        "learning_rate=0.001, trust_coefficient=0.001, in optimizer 'mine'"
    )
    assert warning.filename == __file__


@pytest.mark.parametrize(
    ("arguments", "usual"),
    [
        ({"learning_rate": 0.0299}, "4 to 40"),
        ({"learning_rate": for_fit(4000, 50, 64, learning_rate=1e-3)}, "4 to 40"),
        ({"learning_rate": 1e-3, "trust_coefficient": 0.02}, "0.2 to 2"),
        ({"learning_rate": 1e-3, EXCLUDED: BIASES}, "4 to 40"),
    ],
)
def test_tiny_rates(arguments, usual):
    _, (message,) = warned(lambda: keras_lars.LARS(**arguments))
    assert f"Use {usual}, or pass" in message
    assert f"Received: learning_rate={arguments['learning_rate']!r}, " in message


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"learning_rate": 0.03},
        {"learning_rate": 0.0},
        {"learning_rate": 1e-3, "trust_coefficient": 1.0},
        {"learning_rate": 1e-3, "trust_coefficient": 0.0},
        {"learning_rate": 1e-3, "trust_clip": True},  # with the clip, it acts like a rate of SGD
        # These rules may exclude all kernels.
        {"learning_rate": 1e-3, EXCLUDED: keras_lars.rank_at_most(4)},
        {"learning_rate": 1e-3, EXCLUDED: [*BIASES, "kernel"]},
        {"learning_rate": 1e-3, EXCLUDED: lambda variable: True},
        {"learning_rate": for_fit(4000, 50, 64)},
        {"learning_rate": ExponentialDecay(1e-3, 9, 0.9)},  # called in `build`
        {"learning_rate": lambda: 1e-3},
    ],
)
def test_other_rates(arguments):
    assert warned(lambda: keras_lars.LARS(**arguments))[1] == []


def built(optimizer, *assigned):
    for rate in assigned:
        optimizer.learning_rate = rate
    optimizer.build([make_variable(path, [[1.0]]) for path in ("body/kernel", "head/kernel")])


@pytest.mark.parametrize("rules", ["head", [*BIASES, "head"], lambda variable: False])
def test_rules_that_leave_a_variable_adapted(rules):
    optimizer, found = warned(lambda: keras_lars.LARS(1e-3, **{EXCLUDED: rules}))
    assert found == []
    _, (message,) = warned(lambda: built(optimizer))
    assert "a gradient moves an adapted variable by only 0.0001 % of its norm" in message
    assert "Received: learning_rate=0.001, " in message


@pytest.mark.parametrize(
    ("rate", "options", "assigned"),
    [
        (1e-3, {EXCLUDED: "kernel"}, ()),
        (1e-3, {EXCLUDED: "head", "trust_clip": True}, ()),
        (1e-3, {EXCLUDED: "head"}, (4.0,)),
        (for_fit(4000, 50, 64), {EXCLUDED: "head"}, ()),
    ],
)
def test_other_rates_at_build(rate, options, assigned):
    assert warned(lambda: built(keras_lars.LARS(rate, **options), *assigned))[1] == []


class OfTransformers(keras.optimizers.schedules.LearningRateSchedule):
    """The schedule of "Attention is all you need", as tutorials have it."""

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        return 512**-0.5 * keras.ops.minimum(keras.ops.rsqrt(step), step * 4000**-1.5)


@pytest.mark.parametrize(
    ("schedule", "largest"),
    [
        (ExponentialDecay(1e-3, 9, 0.9), "0.001"),
        (PiecewiseConstantDecay([9, 99], [1e-3, 1e-2, 1e-4]), "0.01"),
        (CosineDecay(0.0, 99, warmup_target=2e-3, warmup_steps=8), "0.002"),
        (CosineDecay(0.0, 99, warmup_steps=8), "0"),  # without its `warmup_target`
        (WarmUp(1e-3, 99), "0.001"),
        (OfTransformers(), "0.000690534"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_tiny_rates_of_schedules(schedule, largest):
    optimizer = keras_lars.LARS(schedule)
    _, (message,) = warned(lambda: built(optimizer))
    name = type(schedule).__name__
    assert f"Received: learning_rate=<{name} of at most {largest}>, trust_coeff" in message


class Fails(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        if int(step) > 2:
            raise ValueError("this schedule is for two updates")
        return 1e-3


@pytest.mark.parametrize(
    ("schedule", "options"),
    [
        (CosineDecay(0.0, 99, warmup_target=4.0, warmup_steps=70), {}),
        (WarmUp(4.0, 10**6), {}),
        (ExponentialDecay(4.0, 1, 0.1), {}),
        (ExponentialDecay(1e-3, 9, 0.9), {"trust_coefficient": 1.0}),
        (ExponentialDecay(0.0, 9, 0.9), {"trust_coefficient": 0.0}),
        (ExponentialDecay(1e-3, 9, 0.9), {"trust_clip": True}),
        (ExponentialDecay(1e-3, 9, 0.9), {EXCLUDED: "kernel"}),
        (Fails(), {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_rates_of_schedules(schedule, options):
    assert warned(lambda: built(keras_lars.LARS(schedule, **options)))[1] == []


@pytest.mark.parametrize("rules", [{}, {EXCLUDED: "a/kernel"}], ids=str)
def test_copies_and_files_give_no_second_warning(rules, tmp_path):
    optimizer, found = warned(lambda: keras_lars.LARS(1e-3, jit_compile=False, **rules))
    model = compiled(sequential, optimizer, run_eagerly=True)
    found += warned(lambda: model.train_on_batch(*batch(0)))[1]
    assert len(found) == 1
    model.save(tmp_path / "model.keras")
    for copied in (
        lambda: keras_lars.LARS.from_config(optimizer.get_config()),
        lambda: pickle.loads(pickle.dumps(optimizer)),
        lambda: copy.deepcopy(optimizer),
        lambda: keras.models.load_model(tmp_path / "model.keras").optimizer,
    ):
        again, found = warned(copied)
        assert (float(again.learning_rate), found) == (pytest.approx(1e-3), [])


def warned_of_fit(rate, updates, **options):
    optimizer = keras_lars.LARS(rate, **options)
    built(optimizer)
    return warned(lambda: _rates.warn_if_slow(optimizer, updates))[1]


@pytest.mark.parametrize(
    ("rate", "options", "path", "received"),
    [
        (0.1, {}, "24 %", "0.1"),
        (0.1, {"momentum": 0}, "2.4 %", "0.1"),
        (0.9, {"trust_coefficient": 1e-4}, "22 %", "0.9"),
        (0.1, {EXCLUDED: "head"}, "24 %", "0.1"),
        (ExponentialDecay(0.1, 9, 0.9), {}, "24 %", "<ExponentialDecay of at most 0.1>"),
        (FitSchedule(240, 1, 1, 0.1), {}, "24 %", "<FitSchedule of at most 0.1>"),
    ],
)
def test_rates_that_are_small_for_the_updates_of_fit(rate, options, path, received):
    (message,) = warned_of_fit(rate, 240, **options)
    start = "`learning_rate` is small for 240 updates: together they move an adapted "
    assert message.startswith(f"{start}variable by at most {path} of its norm, ")
    assert f"for_fit(...)`, which chooses the rate. Received: learning_rate={received}, " in message


@pytest.mark.parametrize(
    ("rate", "updates", "options"),
    [
        (0.1, 250, {}),
        (0.1, 250, {"momentum": 0.99}),
        (0.3, 1, {}),  # the updates are too few, whatever the rate
        (0.1, 1, {"trust_coefficient": 0.01}),
        (0.0, 9, {}),
        (0.1, 9, {"trust_clip": True}),
        (0.1, 9, {"trust_coefficient": 0.0}),
        (0.1, 9, {EXCLUDED: "kernel"}),
        (CosineDecay(0.0, 99, warmup_target=4.0, warmup_steps=70), 99, {}),
        (lambda: 0.1, 9, {}),
    ],
)
def test_rates_that_suit_the_updates_of_fit(rate, updates, options):
    assert warned_of_fit(rate, updates, **options) == []


def test_rates_that_were_assigned_may_change_in_fit():
    optimizer = keras_lars.LARS(4.0)
    built(optimizer, 0.1)
    assert warned(lambda: _rates.warn_if_slow(optimizer, 9))[1] == []


class Sets(keras.callbacks.Callback):
    """A user's own callback, which sets a rate late."""

    def __init__(self, rate=4.0):
        super().__init__()
        self.rate = rate

    def on_epoch_end(self, epoch, logs=None):
        self.model.optimizer.learning_rate = self.rate


@pytest.mark.parametrize(
    ("count", "options"),
    [
        (1, {"epochs": 2}),
        (0, {"epochs": 1}),  # further calls of `fit` may follow
        (0, {"epochs": 2, "callbacks": [keras.callbacks.LearningRateScheduler(lambda epoch: 4.0)]}),
        (0, {"epochs": 2, "callbacks": [Sets()]}),
        (0, {"epochs": 2, "callbacks": [keras.callbacks.EarlyStopping("loss", 1e9), Sets(0.1)]}),
        (1, {"epochs": 2, "callbacks": [keras.callbacks.LambdaCallback()]}),  # which sets none
    ],
)
def test_a_rate_that_is_small_for_a_fit(count, options):
    model = compiled(sequential, keras_lars.LARS(0.1, jit_compile=False), run_eagerly=True)
    found = warned(lambda: model.fit(*batch(0), verbose=0, **options))[1]
    found += warned(lambda: model.fit(*batch(0), verbose=0, **options))[1]
    assert [each[:48] for each in found] == count * [
        "`learning_rate` is small for 2 updates: together"
    ]


def fitted(model, *rates):
    """Calls `fit` with these rates in its epochs. Returns the warnings of a rate that is small."""
    setter = keras.callbacks.LearningRateScheduler(lambda epoch: rates[epoch])
    options = {"epochs": len(rates), "verbose": 0, "callbacks": [setter]}
    found = warned(lambda: model.fit(*batch(0), **options))[1]
    return [message for message in found if message.startswith(OTHERS[0])]


def test_rates_of_a_callback_that_are_small_for_a_fit():
    model = compiled(sequential, keras_lars.LARS(jit_compile=False), run_eagerly=True)
    (message,) = fitted(model, 0.1, 0.05)
    assert message.startswith("`learning_rate` is small for 2 updates: together they move an ")
    assert " Return multiples of your LARS rate, " in message
    assert " Received: learning rates of at most 0.1, trust_coefficient=0.001, " in message
    assert fitted(model, 0.1, 0.05) == []


def test_rates_of_a_callback_that_suit_a_fit():
    model = compiled(sequential, keras_lars.LARS(jit_compile=False), run_eagerly=True)
    assert fitted(model, 0.1) == []  # further calls of `fit` may follow
    assert fitted(model, 0.1, 4.0) == []  # a warm-up
    assert fitted(model, 0.1, 0.1) == []
    model = compiled(sequential, keras_lars.LARS(jit_compile=False), run_eagerly=True)
    model.train_on_batch(*batch(0))
    assert fitted(model, 0.1, 0.1) == []  # after an update at the rate of 4


def test_an_optimizer_that_was_built_before_and_a_loaded_one(tmp_path):
    model = compiled(sequential, keras_lars.LARS(0.1, jit_compile=False), run_eagerly=True)
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    (message,) = warned(lambda: model.fit(*batch(0), epochs=2, verbose=0))[1]
    assert message.startswith("`learning_rate` is small for 2 updates: together they move an ")
    loaded = keras.models.load_model(tmp_path / "model.keras")  # may have had larger rates
    loaded.run_eagerly = True
    assert warned(lambda: loaded.fit(*batch(0), epochs=2, verbose=0))[1] == []


def test_one_mistake_gives_one_warning():
    def assign(optimizer, *rates):
        for rate in rates:
            optimizer.learning_rate = rate

    optimizer, _ = warned(lambda: keras_lars.LARS(1e-3))
    assert warned(lambda: assign(optimizer, 1e-6))[1] == []
    _, (message,) = warned(lambda: assign(keras_lars.LARS(), 1e-3, FitSchedule(8, 9, 8, 1e-3)))
    assert message.startswith("`learning_rate` of optimizer 'lars' was set to 0.001")
