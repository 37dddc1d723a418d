"""The argument names of other implementations of LARS, and what they are called here."""

import difflib
from collections.abc import Iterable, Mapping

from keras_lars._arguments import shown

# Their names and ours, with a note if the meaning differs as well.
_NAMES = {
    "lr": "`learning_rate`",
    "base_lr": "`learning_rate`",
    "alpha": "`learning_rate`",
    "weight_decay_rate": "`weight_decay`",
    "lars_weight_decay": "`weight_decay`",
    "wd": "`weight_decay`",
    "eeta": "`trust_coefficient`",
    "eta": "`trust_coefficient`",
    "coefficient": "`trust_coefficient`",
    "lars_coeff": "`trust_coefficient`",
    "lars_coefficient": "`trust_coefficient`",
    "trust_coef": "`trust_coefficient`",
    "trust_coeff": "`trust_coefficient`",
    "eps": "`epsilon`",
    "use_nesterov": "`nesterov`",
    "clip": "`trust_clip`",
    "clip_lr": "`trust_clip`",
    "use_clip": "`trust_clip`",
    "skip_list": "`exclude_from_weight_decay` and `exclude_from_layer_adaptation`",
    "exclude_bias_n_norm": "`exclude_from_layer_adaptation`",
    "lars_filter": "`exclude_from_layer_adaptation` (and selects the opposite variables)",
    "lars_adaptation_filter": "`exclude_from_layer_adaptation`",
    "trust_ratio_mask": "`exclude_from_layer_adaptation` (and selects the opposite variables)",
    "weight_decay_filter": "`exclude_from_weight_decay`",
    "weight_decay_mask": "`exclude_from_weight_decay` (and selects the opposite variables)",
    "clip_norm": "`clipnorm`",
    "clip_value": "`clipvalue`",
    "global_clip_norm": "`global_clipnorm`",
    "max_grad_norm": "`global_clipnorm`",
    "ema_decay": "`ema_momentum`",
    "loss_scale": "`loss_scale_factor`",
    "accumulation_steps": "`gradient_accumulation_steps`",
}

_FORMS = {
    ("classic_momentum", True): '`momentum_form="classic"`',
    ("classic_momentum", False): '`momentum_form="ratio_of_update"` with `decay_in_norm=True`',
    ("momentum_correction", True): '`momentum_form="learning_rate_outside"`',
    ("momentum_correction", False): '`momentum_form="classic"`',
}

_VARIABLES = "is not an argument here: `compile`, `apply` or `build` supplies the variables"
_REFUSED = {
    "decay": "is not supported: pass a schedule as `learning_rate`",
    "params": _VARIABLES,
    "parameters": _VARIABLES,
    "parameter_list": _VARIABLES,
    "model_parameters": _VARIABLES,
    "optimizer": "is not an argument here: `LARS` is a complete optimizer and wraps no other",
    "dampening": "is not supported: the gradient added to the velocity is never scaled down",
    "always_adapt": "is not needed: every variable is adapted unless "
    "`exclude_from_layer_adaptation` excludes it, whatever its weight decay",
}


def refuse_unknown(given: Mapping[str, object], known: Iterable[str]) -> None:
    """Raise ValueError for the first unknown argument, with the name that it has here."""
    known = list(known)
    for name, value in given.items():
        if name not in known:
            explained = _explained(name, value, known)
            raise ValueError(f"{explained} Received: {name}={shown(value)}")


def _explained(name: str, value: object, known: list[str]) -> str:
    if name in _NAMES:
        return f"`{name}` is called {_NAMES[name]} here."
    if isinstance(value, bool) and (name, value) in _FORMS:
        return f"`{name}={value}` is written {_FORMS[name, value]} here."
    if name in _REFUSED:
        return f"`{name}` {_REFUSED[name]}."
    close = difflib.get_close_matches(name, known, n=1)
    meant = f"; did you mean `{close[0]}`?" if close else "."
    return f"`{name}` is not an argument of `keras_lars.LARS`{meant}"
