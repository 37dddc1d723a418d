"""What stands out in norms and ratios, and the words for it in the monitor and the report."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keras_lars import _rates
from keras_lars._monitoring.history import History
from keras_lars._monitoring.variables import Variable
from keras_lars._update_rule import least_norm

if TYPE_CHECKING:
    from keras_lars.optimizer import LARS


class Anomaly(NamedTuple):
    """The words for one kind of anomaly: a sentence without its full stop, and advice."""

    what: str
    advice: str


# The worst ones come first.
ANOMALIES = {
    "not finite": Anomaly(
        "A norm, a trust ratio or a learning rate is not finite",
        "The weight is lost, or soon will be. Stop at once with `keras.callbacks.TerminateOnNaN`.",
    ),
    "no gradient": Anomaly(
        "An adapted variable has had no gradient so far",
        "The loss does not depend on the variable, or it was left out when gradients were applied.",
    ),
    "large update": Anomaly(
        "The gradient moves a variable by more than its own norm",
        "Lower the learning rate, warm up longer, or adapt the variable if it is excluded.",
    ),
    "zero weight": Anomaly(
        "All weights are 0",
        "The trust ratio then comes from `zero_weight_ratio` or `weight_norm_floor`, not from the "
        "weight.",
    ),
    "zero gradient": Anomaly(
        "The gradient is 0",
        "The trust ratio is then `zero_gradient_ratio`, not the formula's. A layer whose gradient "
        "stays 0 is not trained.",
    ),
    "ratio jump": Anomaly(
        "The trust ratio jumps to more than five times its own median",
        "The gradient was far smaller than usual, or the weight larger; the norms show which.",
    ),
    "absolute rate": Anomaly(
        "The learning rate is less than a hundredth of the initial one", _rates.REMEDY
    ),
}

_JUMP = 5.0  # medians
# For excluded variables this takes the place of `weight_norm_floor`: biases that start at 0 take
# larger and larger steps in a warm-up.
_FLOOR_OF_EXCLUDED = 0.05
_NAMED = 5  # variables in one message


class Finding(NamedTuple):
    """One kind of anomaly in one variable."""

    kind: str  # a key of `ANOMALIES`
    variable: str  # its name; for a learning rate, the new and the old value
    updates: tuple[int, ...] = ()  # at which it was seen


# How they are found.


def find(history: History) -> list[Finding]:
    """The findings in a record: by kind, and then in the order of the model."""
    return [
        Finding(kind, variable.name, tuple(history.updates[places].tolist()))
        for kind, where in _places(history).items()
        for variable, places in zip(history.variables, where & history.is_recorded)
        if places.any()
    ]


def without_gradient(history: History) -> list[Finding]:
    """Findings about adapted variables that were never updated; none without a description."""
    return [
        Finding("no gradient", variable.name)
        for variable, is_recorded in zip(history.variables, history.is_recorded)
        if variable.adapted and not is_recorded.any()
    ]


def in_rate(optimizer: "LARS", before: float | None, learning_rate: float) -> list[Finding]:
    """A finding if the constant learning rate of an update looks absolute.

    It is compared with `before`, the rate of an earlier update, or else with the rate that the
    optimizer was given.

    Empty if the optimizer has warned itself, as it does when its `learning_rate` is assigned. It
    does not notice if the variable that holds the rate is assigned.
    """
    given = optimizer._given_learning_rate
    if given is None or optimizer._schedule is not None or optimizer._has_warned_of_rate:
        return []
    if _rates.may_rise(optimizer):
        return []
    if not _rates.is_absolute(learning_rate, given if before is None else before, given):
        return []
    return [Finding("absolute rate", f"{learning_rate:g} instead of {given:g}")]


def _places(history: History) -> dict[str, np.ndarray]:
    """For each kind, where it occurs. Shapes are (variables, updates)."""
    weight, gradient, ratio = history.weight_norm, history.gradient_norm, history.trust_ratio
    rate = history.learning_rate
    is_finite = np.isfinite(weight) & np.isfinite(gradient) & np.isfinite(ratio) & np.isfinite(rate)
    # A variable with a smaller norm may move by as much as its floor.
    floor = history.description.weight_norm_floor if history.description else 0.0
    least = np.array([_least_norm(variable, floor) for variable in history.variables])
    with np.errstate(over="ignore", invalid="ignore"):
        is_large = rate * ratio * gradient > np.maximum(weight, least[:, None])
    is_kernel = _is_adapted_kernel(history)
    is_adapted = np.array([variable.adapted is not False for variable in history.variables])
    is_formula = is_finite & (weight > 0) & (gradient > 0) & is_adapted[:, None]
    return {
        "not finite": ~is_finite,
        "large update": is_finite & is_large & (weight != 0),
        "zero weight": is_finite & (weight == 0) & is_kernel,
        "zero gradient": is_finite & (gradient == 0) & (weight != 0) & is_kernel,
        "ratio jump": is_formula & (ratio > _JUMP * _median(np.where(is_formula, ratio, np.nan))),
    }


def _least_norm(variable: Variable, weight_norm_floor: float) -> float:
    if variable.adapted is None:
        return 0.0
    floor = weight_norm_floor if variable.adapted else _FLOOR_OF_EXCLUDED
    return least_norm(variable.shape or (), floor)


def _is_adapted_kernel(history: History) -> np.ndarray:
    """Where a norm of 0 is remarkable: biases start at 0, and excluded variables have no ratio.

    If it is not known which variables are biases, none counts as a kernel at update 1.
    """
    is_kernel = np.zeros(history.is_recorded.shape, bool)
    for i, variable in enumerate(history.variables):
        if variable.is_matrix is None:
            is_kernel[i] = history.updates > 1
        else:
            is_kernel[i] = variable.is_matrix and variable.adapted
    return is_kernel


def _median(ratios: np.ndarray) -> np.ndarray:
    """The median of each row, without NaNs. shape=(variables, 1)"""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice encountered", RuntimeWarning)
        return np.asarray(np.nanmedian(ratios, axis=1, keepdims=True))


# How they are worded.


def messages(findings: Sequence[Finding]) -> list[str]:
    """A warning for each kind, which names some of the variables."""
    return [
        f"{anomaly.what}: {_names([f.variable for f in findings if f.kind == kind])}. "
        f"{anomaly.advice}"
        for kind, anomaly in ANOMALIES.items()
        if any(finding.kind == kind for finding in findings)
    ]


def _names(variables: list[str]) -> str:
    named = ", ".join(f"`{variable}`" for variable in variables[:_NAMED])
    more = len(variables) - _NAMED
    return f"{named} and {more} more" if more > 0 else named


def when(updates: Sequence[int]) -> str:
    """The updates of a finding in words."""
    if not updates:
        return ""
    if len(updates) == 1:
        return f"at update {updates[0]}"
    return f"in {len(updates)} records, updates {updates[0]} to {updates[-1]}"
