"""For an argument with another implementation's name, the error gives our name."""

import inspect
import re

import keras
import pytest

import keras_lars
from keras_lars import _foreign_names

SEE = ". See docs/migration.md"
PARAMETERS = {
    *inspect.signature(keras_lars.LARS).parameters,
    *inspect.signature(keras.optimizers.SGD).parameters,
} - {"kwargs"}


def refusal(**arguments):
    with pytest.raises(ValueError) as caught:
        keras_lars.LARS(**arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("lr", "`learning_rate`"),
        ("eeta", "`trust_coefficient`"),
        ("eta", "`trust_coefficient`"),
        ("trust_coef", "`trust_coefficient`"),
        ("lars_coefficient", "`trust_coefficient`"),
        ("eps", "`epsilon`"),
        ("weight_decay_rate", "`weight_decay`"),
        ("use_nesterov", "`nesterov`"),
        ("clip", "`trust_clip`"),
        ("skip_list", "`exclude_from_weight_decay` and `exclude_from_layer_adaptation`"),
        ("clip_grad_norm", "`global_clipnorm`"),  # whose nearest name is `clipnorm`
        ("no_weight_decay_list", "`exclude_from_weight_decay`"),
    ],
)
def test_our_name(theirs, ours):
    assert (
        refusal(**{theirs: 0.1}) == f"`{theirs}` is called {ours} here. Received: {theirs}=0.1{SEE}"
    )


def test_our_names_for_forms_of_momentum():
    assert refusal(classic_momentum=False) == (
        '`classic_momentum=False` is written `momentum_form="ratio_of_update"` with '
        "`decay_in_norm=True` here. Received: classic_momentum=False" + SEE
    )
    assert '`momentum_form="classic"` with `decay_in_norm=True`' in refusal(classic_momentum=True)
    assert '`momentum_form="learning_rate_outside"`' in refusal(momentum_correction=True)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("lr", 0.5, "`lr` is called `learning_rate` here. Received: lr=0.5. See docs/migration.md"),
        ("decay", 0.5, "`decay` is not supported: pass a schedule as `learning_rate`."),
        ("classic_momentum", False, '`classic_momentum=False` is written `momentum_form="ratio_of'),
    ],
)
def test_their_names_are_not_assignable(name, value, message):
    optimizer = keras_lars.LARS()
    with pytest.raises(ValueError, match=re.escape(message)):
        setattr(optimizer, name, value)
    assert not hasattr(optimizer, name)

    class Subclass(keras_lars.LARS):
        pass

    setattr(Subclass(), name, value)  # which may be its own attribute


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("params", "the variables"),
        ("model_parameters", "the variables"),
        ("dampening", "is not supported"),
        ("foreach", "is not needed"),
        ("maximize", "negate the loss"),
        ("rescale_grad", "divide the loss"),
        ("lr_scheduler", "pass a schedule as `learning_rate`"),
        ("weight_decouple", "is not supported"),
        ("min_norm", "is not supported"),
        ("decay", "pass a schedule as `learning_rate`"),
    ],
)
def test_arguments_that_are_not_supported(argument, reason):
    message = refusal(**{argument: 0})
    assert re.fullmatch(rf"`{argument}` .*{reason}.*\. Received: {argument}=0{SEE}", message), (
        message
    )
    assert "did you mean" not in message


def test_always_adapt():
    assert "`always_adapt=True` is the default here. " in refusal(always_adapt=True)
    message = refusal(always_adapt=False)
    assert "is written `exclude_from_layer_adaptation=...` with the variables that have" in message


def test_a_form_that_is_neither_true_nor_false():
    """With the nearest name instead, `ema_momentum`, the error would mislead."""
    message = refusal(classic_momentum=1)
    assert 'classic_momentum=True` is written `momentum_form="classic"`' in message
    assert 'classic_momentum=False` is written `momentum_form="ratio_of_update"`' in message
    assert "did you mean" not in message


def test_filters():
    """solo-learn decays only what it adapts. BYOL's filters say what to include."""
    message = refusal(exclude_bias_n_norm=True)
    assert "`exclude_from_layer_adaptation` and `exclude_from_weight_decay`" in message
    for name in ("weight_decay_filter", "lars_adaptation_filter"):
        message = refusal(**{name: True})
        assert "for True, pass `rank_at_most(1)`; BYOL's functions select the" in message


def test_all_wrong_names_are_in_one_error():
    assert refusal(lr=0.1, momentum=0.9, maximize=True, eps=1e-8) == (
        "`lr` is called `learning_rate` here. `maximize` is not supported: negate the loss. "
        "`eps` is called `epsilon` here. Received: lr=0.1, maximize=True, eps=1e-08" + SEE
    )


def test_the_nearest_name_for_a_typo():
    assert refusal(momentun=0.9) == (
        "`momentun` is not an argument of `keras_lars.LARS`; did you mean `momentum`? "
        "Received: momentun=0.9" + SEE
    )
    assert "did you mean `clipnorm`?" in refusal(clipnrom=1.0)
    assert refusal(xyzzy=1) == (
        "`xyzzy` is not an argument of `keras_lars.LARS`. Received: xyzzy=1" + SEE
    )


def test_a_configuration_of_another_implementation():
    with pytest.raises(ValueError, match="`eeta` is called `trust_coefficient` here"):
        keras_lars.LARS.from_config({"learning_rate": 0.1, "eeta": 0.001})


def test_the_table_names_existing_arguments():
    ours = " ".join([*_foreign_names._NAMES.values(), *_foreign_names._FORMS.values()])
    assert set(re.findall(r"`(\w+)", ours)) <= PARAMETERS | {"rank_at_most"}
    theirs = {*_foreign_names._NAMES, *(name for name, _ in _foreign_names._FORMS)}
    assert not {*theirs, *_foreign_names._REFUSED} & PARAMETERS


def test_arguments_are_known_if_another_class_replaces_sgd(monkeypatch):
    """Some people run a program with LARS instead of SGD in this way."""
    monkeypatch.setattr(keras.optimizers, "SGD", lambda **arguments: keras_lars.LARS(**arguments))
    assert keras.optimizers.SGD(clipnorm=1.0).clipnorm == 1.0
    assert "clipnorm=1.0" in repr(keras_lars.LARS(clipnorm=1.0))
