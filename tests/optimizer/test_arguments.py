"""Errors about arguments name the argument, state the rule and show what was received."""

import json
import re
import types

import keras
import numpy as np
import pytest
from support.helpers import make_variables, one_step, to_tensors

import keras_lars
from keras_lars._update_rule import MOMENTUM_FORMS

NUMBERS = [
    "learning_rate",
    "momentum",
    "weight_decay",
    "trust_coefficient",
    "epsilon",
    "weight_norm_floor",
    "zero_weight_ratio",
    "zero_gradient_ratio",
    "unadapted_learning_rate_multiplier",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "loss_scale_factor",
]
FIXED_NUMBERS = NUMBERS[1:]  # only the learning rate may change during training
FLAGS = ["nesterov", "decay_in_norm", "trust_clip", "record_trust_ratios", "record_noise_scale"]


def refused(argument, value):
    """Keras's own style: the argument's name and a rule, then `Received: argument=value`."""
    with pytest.raises(ValueError) as caught:
        keras_lars.LARS(**{argument: value})
    message = str(caught.value)
    rule, _, received = message.partition("Received: ")
    assert argument in rule, message
    assert len(rule.split()) > 3, message
    assert received.startswith((f"{argument}={value}", f"{argument}={value!r}")), message
    return message


@pytest.mark.parametrize("argument", NUMBERS)
@pytest.mark.parametrize(
    "value", [-1.0, -1, -1e-300, float("nan"), float("inf"), -float("inf"), np.float32("nan")],
    ids=repr,
)  # fmt: skip
def test_negative_and_non_finite_numbers(argument, value):
    refused(argument, value)


@pytest.mark.parametrize("argument", NUMBERS)
@pytest.mark.parametrize("value", [True, False, "0.1", [0.1], {}, 1j, ...], ids=repr)
def test_values_that_are_not_numbers(argument, value):
    refused(argument, value)


@pytest.mark.parametrize("argument", FIXED_NUMBERS)
def test_a_schedule_where_none_is_allowed(argument):
    refused(argument, keras.optimizers.schedules.CosineDecay(1.0, 10))


@pytest.mark.parametrize("argument", FIXED_NUMBERS)
def test_a_callable_where_none_is_allowed(argument):
    refused(argument, lambda: 0.1)


@pytest.mark.parametrize(
    "argument",
    [
        "learning_rate",
        "momentum",
        "trust_coefficient",
        "epsilon",
        "unadapted_learning_rate_multiplier",
    ],
)
def test_none_where_it_has_no_meaning(argument):
    refused(argument, None)


@pytest.mark.parametrize("value", [1, 1.0, 1.5, np.float64(1)])
def test_momentum_of_one_or_more(value):
    refused("momentum", value)


@pytest.mark.parametrize("value", ["Classic", "pytorch", "", None, 0, True])
def test_unknown_momentum_form(value):
    message = refused("momentum_form", value)
    for form in MOMENTUM_FORMS:
        assert form in message


def test_the_ratio_of_the_update_needs_decay_in_norm():
    with pytest.raises(ValueError, match=r"`decay_in_norm` must be True.*Received:"):
        keras_lars.LARS(momentum_form="ratio_of_update")
    optimizer = keras_lars.LARS(momentum_form="ratio_of_update", decay_in_norm=True)
    optimizer.decay_in_norm = False
    with pytest.raises(ValueError, match=r"`decay_in_norm` must be True.*Received:"):
        optimizer.build([keras.Variable([1.0])])


@pytest.mark.parametrize("value", ["yes", "Auto", "", None, 2.0])
def test_unknown_jit_compile(value):
    refused("jit_compile", value)


@pytest.mark.parametrize("argument", FLAGS)
@pytest.mark.parametrize("value", ["yes", "False", None, 2.0])
def test_flags_are_booleans(argument, value):
    refused(argument, value)


@pytest.mark.parametrize("argument", ["exclude_from_layer_adaptation", "exclude_from_weight_decay"])
@pytest.mark.parametrize("value", [3, True, "("], ids=repr)
def test_exclusions_that_are_not_rules(argument, value):
    refused(argument, value)
    # For a list, the message may show only the bad rule.
    with pytest.raises(ValueError, match=f"Received: {argument}="):
        keras_lars.LARS(**{argument: ["fine", value]})


def test_unknown_keyword():
    with pytest.raises((ValueError, TypeError), match="momentun"):
        keras_lars.LARS(momentun=0.9)


def test_positional_arguments_stop_after_four():
    assert keras_lars.LARS(2.0, 0.8, 1e-4, 1e-2).trust_coefficient == 1e-2
    with pytest.raises(TypeError):
        keras_lars.LARS(2.0, 0.8, 1e-4, 1e-2, True)


def test_a_weight_decay_in_the_place_of_the_momentum():
    with pytest.warns(UserWarning, match="no effect.*by name.*Received: momentum=0.0001") as caught:
        optimizer = keras_lars.LARS(1.0, 1e-4)
    assert caught[0].filename == __file__
    keras_lars.LARS.from_config(optimizer.get_config())  # no second warning
    for momentum in (0, 0.01):
        keras_lars.LARS(momentum=momentum)


def test_a_weight_decay_in_the_place_of_the_trust_coefficient():
    """torch's SGD, timm and others take the dampening and the weight decay in this order."""
    match = "by name.*Received: weight_decay=0, trust_coefficient=0.0001"
    with pytest.warns(UserWarning, match=match) as caught:
        optimizer = keras_lars.LARS(1.0, 0.9, 0, 1e-4)
    assert caught[0].filename == __file__
    keras_lars.LARS.from_config(optimizer.get_config())  # no second warning
    keras_lars.LARS(1.0, 0.9, 1e-4, 1e-4)
    keras_lars.LARS(1.0, 0.9, 0, 1e-3)
    keras_lars.LARS(1.0, 0.9, 0, 0)


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (keras.optimizers.SGD(0.1), "`LARS` is a complete optimizer and wraps no other"),
        (types.SimpleNamespace(param_groups=[]), "`LARS` is a complete optimizer"),
        (types.SimpleNamespace(optimizer=None), "Assign the rate of a scheduler"),
    ],
    ids=["Keras", "torch", "scheduler"],
)
def test_an_optimizer_or_a_scheduler_of_torch_as_learning_rate(value, remedy):
    """LARC and torchlars wrap an optimizer."""
    with pytest.raises(ValueError, match=f"{remedy}.*Received: learning_rate="):
        keras_lars.LARS(value)


@pytest.mark.parametrize(("argument", "value"), [("use_ema", True), ("clipnorm", None)])
def test_base_class_keywords_are_accepted(argument, value):
    assert getattr(keras_lars.LARS(**{argument: value}), argument) is value


def test_base_class_rules_still_hold():
    with pytest.raises(ValueError, match="gradient_accumulation_steps"):
        keras_lars.LARS(gradient_accumulation_steps=1)
    with pytest.raises(ValueError, match="ema_momentum"):
        keras_lars.LARS(use_ema=True, ema_momentum=1.5)
    with pytest.raises(ValueError, match="clip"):
        keras_lars.LARS(clipnorm=1.0, clipvalue=1.0)


@pytest.mark.parametrize("number", [int, float, np.float32, np.float64, np.int64])
def test_every_type_of_number_is_accepted(number):
    options = {name: number(1) for name in FIXED_NUMBERS}
    options |= {"momentum": number(0), "weight_decay": number(0), "epsilon": number(0)}
    del options["clipvalue"], options["global_clipnorm"]  # Keras allows only one kind of clipping
    optimizer, w = one_step([2.0], [1.0], number(1), **options)
    # q = 1 * 2 / 1, so w = 2 - 2.
    np.testing.assert_allclose(w, 0.0, atol=1e-6)
    # A configuration is written as JSON, where float64 is the only NumPy scalar that works.
    assert json.loads(json.dumps(optimizer.get_config()))["weight_decay"] == 0


def build(optimizer):
    (variable,) = make_variables({"w": [2.0]})
    optimizer.build([variable])
    return variable


# Another valid value for each hyperparameter that a traced step has already read.
OTHERS = {
    **dict.fromkeys(FIXED_NUMBERS, 0.5),
    **dict.fromkeys(FLAGS, True),
    "momentum_form": "ratio_outside",
    "jit_compile": False,
    "use_ema": True,
    "ema_momentum": 0.5,
    "ema_overwrite_frequency": 3,
    "gradient_accumulation_steps": 4,
}


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_assigning_after_build_raises(name):
    optimizer = keras_lars.LARS()
    build(optimizer)
    before = getattr(optimizer, name)
    with pytest.raises((ValueError, AttributeError, RuntimeError), match=name):
        setattr(optimizer, name, OTHERS[name])
    assert getattr(optimizer, name) == before


@pytest.mark.parametrize("name", ["exclude_from_weight_decay", "exclude_from_layer_adaptation"])
def test_exclusion_methods_are_not_assignable_after_build(name):
    optimizer = keras_lars.LARS()
    build(optimizer)
    with pytest.raises((ValueError, AttributeError, RuntimeError), match=name):
        setattr(optimizer, name, ["w"])
    assert callable(getattr(optimizer, name))


def test_assigning_before_build_takes_effect():
    optimizer = keras_lars.LARS(1.0, momentum=0, weight_decay=0)
    optimizer.trust_coefficient = 0.25
    variable = build(optimizer)
    optimizer.apply(to_tensors([[1.0]], [variable]))
    # q = 0.25 * 2 / 1
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), [1.5])
    assert optimizer.get_config()["trust_coefficient"] == 0.25


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("momentum", 1.0),
        ("momentum", "0.9"),
        ("weight_decay", -1.0),
        ("epsilon", float("nan")),
        ("trust_coefficient", True),
        ("momentum_form", "pytorch"),
        ("trust_clip", "yes"),
        ("jit_compile", "yes"),
        ("zero_weight_ratio", -1),
    ],
)
def test_assigning_before_build_is_validated(name, value):
    optimizer = keras_lars.LARS()
    with pytest.raises(ValueError, match=re.escape(f"Received: {name}=")):
        setattr(optimizer, name, value)
    assert getattr(optimizer, name) == getattr(keras_lars.LARS(), name)


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("value", [-0.5, -1, float("nan"), float("inf"), "0.1", None, True])
def test_bad_learning_rates_are_refused_at_any_time(value, built):
    optimizer = keras_lars.LARS(1.0)
    if built:
        build(optimizer)
    with pytest.raises(ValueError, match=r"(?s)learning_rate.*Received"):
        optimizer.learning_rate = value
    assert float(optimizer.learning_rate) == 1.0


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int64(2)])
def test_learning_rate_is_assignable_at_any_time(value):
    optimizer = keras_lars.LARS(momentum=0, weight_decay=0, trust_coefficient=0.125)
    variable = build(optimizer)
    optimizer.learning_rate = value
    optimizer.apply(to_tensors([[1.0]], [variable]))
    # q = 0.125 * 2 / 1, w = 2 - 2 * 0.25
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), [1.5])


@pytest.mark.parametrize(("name", "value"), [("ema_momentum", 0.5), ("ema_overwrite_frequency", 3)])
def test_averages_that_are_not_kept(name, value):
    message = f"`{name}` has no effect without `use_ema=True`.*use_ema=False, {name}={value}$"
    with pytest.warns(UserWarning, match=message):
        optimizer = keras_lars.LARS(**{name: value})
    keras_lars.LARS.from_config(optimizer.get_config())  # whoever made the optimizer was warned
    keras_lars.LARS(use_ema=True, **{name: value})


def test_trust_ratios_before_there_are_any():
    with pytest.raises(ValueError, match="record_trust_ratios"):
        _ = keras_lars.LARS().trust_ratios
    optimizer, _ = one_step([2.0], [1.0])
    with pytest.raises(ValueError, match="record_trust_ratios"):
        _ = optimizer.trust_ratios
    optimizer = keras_lars.LARS(record_trust_ratios=True)
    build(optimizer)
    with pytest.raises(ValueError):
        _ = optimizer.trust_ratios
