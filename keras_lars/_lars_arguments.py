"""The arguments of `LARS`, and how each is checked whenever it is set."""

from typing import TYPE_CHECKING, Any

import keras

from keras_lars import _accumulation, _chief, _representation
from keras_lars._arguments import LARGEST_STEP, Check, integer, number, one_of
from keras_lars._update_rule import MOMENTUM_FORMS

if TYPE_CHECKING:
    from keras_lars.optimizer import LARS

# In the order of a configuration. All are fixed once the optimizer is built.
OF_LARS: dict[str, Check] = {
    "momentum": number(below=1),
    "weight_decay": number(),
    "trust_coefficient": number(),
    "nesterov": one_of(False, True),
    "momentum_form": one_of(*MOMENTUM_FORMS),
    "decay_in_norm": one_of(False, True),
    "epsilon": number(),
    "trust_clip": one_of(False, True),
    "weight_norm_floor": number(),
    "zero_weight_ratio": number(none=True),
    "zero_gradient_ratio": number(none=True),
    "unadapted_learning_rate_multiplier": number(),
    "record_trust_ratios": one_of(False, True),
    "record_noise_scale": one_of(False, True),
    "jit_compile": one_of("auto", True, False),
}
OF_KERAS: dict[str, Check] = {
    "clipnorm": number(positive=True, none=True),
    "clipvalue": number(positive=True, none=True),
    "global_clipnorm": number(positive=True, none=True),
    "use_ema": one_of(False, True),
    "ema_momentum": number(at_most=1),
    "ema_overwrite_frequency": integer(minimum=1, maximum=LARGEST_STEP, none=True),
    "loss_scale_factor": number(positive=True, none=True),
    "gradient_accumulation_steps": _accumulation.steps(minimum=2, none=True),
}
CHECKS = OF_LARS | OF_KERAS
# Arguments that configurations of version 0.1.0 lack, with the values that they imply.
_SINCE_0_1_0 = {"weight_norm_floor": 0.0, "record_noise_scale": False}

# How the warnings of `warn_of_mistakes` begin, as a pattern.
MISTAKES = r"`(momentum|trust_coefficient)` is as small as a weight decay|`ema_\w+` has no effect"
# The largest usual weight decay. Trust coefficients are larger.
_USUAL_DECAY = 5e-4

# Read at import, because a user may later replace Keras's optimizers with ours.
_DEFAULTS_OF_KERAS = _representation.defaults(keras.optimizers.SGD)


def checked(name: str, value: object) -> Any:
    """The value that is kept. An argument without a check is Keras's, and is not changed."""
    return CHECKS[name](name, value) if name in CHECKS else value


def completed(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration. A complete one of an older version gets the arguments that it lacks."""
    is_whole = set(config) >= set(OF_LARS) - set(_SINCE_0_1_0)
    return {**_SINCE_0_1_0, **config} if is_whole else config


def check_momentum_form(momentum_form: str, decay_in_norm: bool) -> None:
    """Raise ValueError if the two arguments contradict each other."""
    if momentum_form == "ratio_of_update" and not decay_in_norm:
        raise ValueError(
            "`decay_in_norm` must be True for momentum_form='ratio_of_update', because the ratio "
            "uses the norm of the step, which includes the decay. Received: decay_in_norm=False"
        )


def warn_of_mistakes(optimizer: "LARS") -> None:
    """Warn of arguments that are valid but probably not meant."""
    _warn_if_like_a_decay(optimizer)
    _warn_if_not_averaged(optimizer)


def _warn_if_not_averaged(optimizer: "LARS") -> None:
    for name in () if optimizer.use_ema else ("ema_momentum", "ema_overwrite_frequency"):
        value = getattr(optimizer, name)
        if value != _DEFAULTS_OF_KERAS[name]:
            _chief.warn(
                f"`{name}` has no effect without `use_ema=True`: no averages are kept. Received: "
                f"use_ema=False, {name}={value!r}",
                stacklevel=4,
            )


def _warn_if_like_a_decay(optimizer: "LARS") -> None:
    """Warn if an argument is a weight decay in the order of arguments of other implementations.

    In `LARS(0.1, 1e-4)` it is the momentum, and in `LARS(0.1, 0.9, 0, 1e-4)` the trust coefficient.
    """
    momentum, trust_coefficient = optimizer.momentum, optimizer.trust_coefficient
    if 0 < momentum < 0.01:
        _chief.warn(
            "`momentum` is as small as a weight decay, so it has no effect. In other "
            "implementations of LARS the second argument may be the weight decay: pass all "
            "arguments by name. If you want no momentum, pass `momentum=0`. Received: "
            f"momentum={momentum:g}",
            stacklevel=4,
        )
    if optimizer.weight_decay == 0 and 0 < trust_coefficient <= _USUAL_DECAY:
        _chief.warn(
            "`trust_coefficient` is as small as a weight decay, and `weight_decay` is 0. In "
            "PyTorch the third argument after the parameters is the dampening and the fourth the "
            "weight decay: pass all arguments by name. If you mean it, ignore this warning. "
            f"Received: weight_decay=0, trust_coefficient={trust_coefficient:g}",
            stacklevel=4,
        )


def defaults(optimizer: type) -> dict[str, Any]:
    """All arguments with their defaults: ours, then Keras's, of which later versions have more."""
    ours = _representation.defaults(optimizer)
    return ours | _DEFAULTS_OF_KERAS | ours
