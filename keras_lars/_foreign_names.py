"""The argument names of other implementations of LARS, and what they are called here.

docs/migration_names.md has the same names.
"""

import difflib
from collections.abc import Iterable, Mapping

from keras_lars._arguments import shown

_RANK_1 = (
    "`exclude_from_weight_decay` (pass `rank_at_most(1)`), and if these are not adapted either, "
    "`exclude_from_layer_adaptation`"
)
_FILTER = "(for True, pass `rank_at_most(1)`; BYOL's functions select the opposite variables)"
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
    "exclude_bias_n_norm": "`exclude_from_layer_adaptation` and `exclude_from_weight_decay` (pass "
    "`rank_at_most(1)`)",
    "lars_filter": "`exclude_from_layer_adaptation` (and selects the opposite variables)",
    "lars_adaptation_filter": f"`exclude_from_layer_adaptation` {_FILTER}",
    "trust_ratio_mask": "`exclude_from_layer_adaptation` (and selects the opposite variables)",
    "weight_decay_filter": f"`exclude_from_weight_decay` {_FILTER}",
    "weight_decay_mask": "`exclude_from_weight_decay` (and selects the opposite variables)",
    "no_weight_decay_list": "`exclude_from_weight_decay`",
    "filter_bias_and_bn": _RANK_1,
    "weight_decay_exclude_1d": _RANK_1,
    "beta": "`momentum`",
    "grad_clip": "`clipnorm`, `clipvalue` or `global_clipnorm`",
    "clip_gradient": "`clipvalue`",
    "clip_norm": "`clipnorm`",
    "clip_value": "`clipvalue`",
    "global_clip_norm": "`global_clipnorm`",
    "max_grad_norm": "`global_clipnorm`",
    "clip_grad": "`global_clipnorm`",
    "clip_grad_norm": "`global_clipnorm`",
    "gradient_clip_norm": "`global_clipnorm`",
    "gradient_clip_val": "`global_clipnorm`",
    "max_norm": "`global_clipnorm`",
    "ema_decay": "`ema_momentum`",
    "loss_scale": "`loss_scale_factor`",
    "accumulation_steps": "`gradient_accumulation_steps`",
}

_FORMS = {
    ("classic_momentum", True): 'written `momentum_form="classic"` with `decay_in_norm=True`',
    ("classic_momentum", False): 'written `momentum_form="ratio_of_update"` with '
    "`decay_in_norm=True`",
    ("momentum_correction", True): 'written `momentum_form="learning_rate_outside"`',
    ("momentum_correction", False): 'written `momentum_form="classic"`',
    ("always_adapt", True): "the default",
    ("always_adapt", False): "written `exclude_from_layer_adaptation=...` with the variables that "
    'have no weight decay (`rank_at_most(1)` for timm\'s factory, `".*"` without weight decay)',
}

_VARIABLES = "is not an argument here: `compile`, `apply` or `build` supplies the variables"
_UNSUPPORTED = "is not supported"
_SCHEDULE = "is not supported: pass a schedule as `learning_rate`"
_REFUSED = {
    "decay": _SCHEDULE,
    "lr_scheduler": _SCHEDULE,
    "params": _VARIABLES,
    "parameters": _VARIABLES,
    "parameter_list": _VARIABLES,
    "model_parameters": _VARIABLES,
    "optimizer": "is not an argument here: `LARS` is a complete optimizer and wraps no other",
    "dampening": "is not supported: the gradient added to the velocity is never scaled down",
    "foreach": "is not needed: there is one implementation",
    "maximize": "is not supported: negate the loss",
    "rescale_grad": "is not supported: divide the loss",
    "layer_decay": _UNSUPPORTED,
    "weight_decouple": _UNSUPPORTED,
    "fixed_decay": _UNSUPPORTED,
    "min_norm": _UNSUPPORTED,
}


def refuse_unknown(given: Mapping[str, object], known: Iterable[str]) -> None:
    """Raise ValueError for all unknown arguments, with the names that they have here."""
    known = list(known)
    unknown = {name: value for name, value in given.items() if name not in known}
    if unknown:
        explained = " ".join(_explained(name, value, known) for name, value in unknown.items())
        received = ", ".join(f"{name}={shown(value)}" for name, value in unknown.items())
        raise ValueError(f"{explained} Received: {received}. See docs/migration.md")


def refuse_attribute(name: str, value: object) -> None:
    """Raise ValueError if a name of another implementation is assigned, which would do nothing.

    In Keras 2, `optimizer.lr = 0.1` set the learning rate.
    """
    if name in _NAMES or name in _REFUSED or any(name == form for form, _ in _FORMS):
        refuse_unknown({name: value}, ())


def _explained(name: str, value: object, known: list[str]) -> str:
    if name in _NAMES:
        return f"`{name}` is called {_NAMES[name]} here."
    forms = {flag: words for (form, flag), words in _FORMS.items() if form == name}
    if forms:
        flags = [value] if isinstance(value, bool) else [*forms]
        return " ".join(f"`{name}={flag}` is {forms[flag]} here." for flag in flags)
    if name in _REFUSED:
        return f"`{name}` {_REFUSED[name]}."
    close = difflib.get_close_matches(name, known, n=1)
    meant = f"; did you mean `{close[0]}`?" if close else "."
    return f"`{name}` is not an argument of `keras_lars.LARS`{meant}"
