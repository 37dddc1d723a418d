"""The arguments of `LARS`, and how each is checked whenever it is set."""

import warnings
from typing import Any

import keras

from keras_lars import _accumulation, _representation
from keras_lars._arguments import LARGEST_STEP, Check, integer, number, one_of
from keras_lars._update_rule import MOMENTUM_FORMS

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

# How the warning of `warn_if_like_a_decay` begins.
LIKE_A_DECAY = "`momentum` is so small that it has no effect"

# Read at import, because a user may later replace Keras's optimizers with ours.
_DEFAULTS_OF_KERAS = _representation.defaults(keras.optimizers.SGD)


def checked(name: str, value: Any) -> Any:
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


def warn_if_like_a_decay(momentum: float) -> None:
    """Warn if the momentum is a weight decay: in `LARS(0.1, 1e-4)`, it is the second argument."""
    if 0 < momentum < 0.01:
        warnings.warn(
            f"{LIKE_A_DECAY}. In other implementations of LARS the second argument may be the "
            "weight decay: pass all arguments by name. If you want no momentum, pass `momentum=0`. "
            f"Received: momentum={momentum:g}",
            stacklevel=3,
        )


def defaults(optimizer: type) -> dict[str, Any]:
    """All arguments with their defaults: ours, then Keras's, of which later versions have more."""
    ours = _representation.defaults(optimizer)
    return ours | _DEFAULTS_OF_KERAS | ours
