"""What a person should know of a record: pure functions, which warn of nothing twice."""

from typing import Any, NamedTuple

import numpy as np

from keras_lars import _rates, _signs
from keras_lars._update_rule import least_norm
from keras_lars._variables import is_overwritten

# How many variables are named in one warning.
_NAMED = 5

_MESSAGES = {
    "not finite": "The norm of a weight or gradient is not finite: {}. The weight is ruined, or "
    "soon will be; stop at once with `keras.callbacks.TerminateOnNaN`.",
    "zero weight": "All weights are 0, so that the trust ratio comes from `zero_weight_ratio` or "
    "`weight_norm_floor`, and not from the weight: {}.",
    "zero gradient": "The gradient is 0, so that the trust ratio is `zero_gradient_ratio` and not "
    "the formula's: {}. A layer that stays so is not trained.",
    "large update": "The gradient moves a variable by more than its own norm: {}. Lower the "
    "learning rate, warm up longer, or adapt the variable if it is excluded.",
    "no gradient": "Adapted, but without a gradient in the first epoch: {}. The loss does not "
    "depend on it, or it was left out when gradients were applied.",
    "absolute rate": "The learning rate is less than a hundredth of the initial one: {}. "
    + _rates.REMEDY,
}


class Finding(NamedTuple):
    """One kind of sign in one variable."""

    kind: str  # one of the messages above
    variable: Any  # as in `LARS.trust_ratios`; of a rate, what it is and was


def in_record(optimizer: Any, ratios: dict, learning_rate: float) -> list[Finding]:
    """What one record shows."""
    rows = [(row, variable) for row, variable in _rows(optimizer) if variable in ratios]
    columns = np.array([ratios[variable] for _, variable in rows]).T
    is_kernel = np.array([row.adapted and len(row.shape) >= 2 for row, _ in rows])
    floor = optimizer.weight_norm_floor
    least = np.array([row.adapted and least_norm(row.shape, floor) for row, _ in rows])
    return [
        Finding(kind, variable)
        for kind, places in _signs.find(*columns, learning_rate, is_kernel, least).items()
        for (_, variable), is_so in zip(rows, places)
        if is_so
    ]


def without_gradient(optimizer: Any, ratios: dict) -> list[Finding]:
    """The adapted variables that were never updated, of those that the optimizer updates."""
    variables = optimizer._slots.variables
    return [
        Finding("no gradient", variable)
        for row, variable in _rows(optimizer)
        if row.adapted and variable not in ratios and not is_overwritten(variables[row.position])
    ]


def in_rate(optimizer: Any, before: float, learning_rate: float) -> list[Finding]:
    """What the constant rate of an update shows, where that of an earlier one was `before`.

    Empty where the optimizer has said so itself: it does if its `learning_rate` is assigned. The
    variable that holds the rate can be assigned without its notice.
    """
    given = optimizer._given_learning_rate
    if given is None or optimizer._schedule is not None or optimizer._has_warned_of_rate:
        return []
    if not _rates.is_absolute(learning_rate, before, given):
        return []
    return [Finding("absolute rate", f"{learning_rate:g} instead of {given:g}")]


def _rows(optimizer: Any) -> list[tuple]:
    """The rows of the table of variables, each with its key in `LARS.trust_ratios`."""
    return list(zip(optimizer.variable_table(), optimizer._trust_ratio_keys()))


def messages(findings: list[Finding]) -> list[str]:
    """One for each kind."""
    return [
        message.format(_names([found.variable for found in findings if found.kind == kind]))
        for kind, message in _MESSAGES.items()
        if any(found.kind == kind for found in findings)
    ]


def _names(variables: list) -> str:
    named = ", ".join(f"`{variable}`" for variable in variables[:_NAMED])
    more = len(variables) - _NAMED
    return f"{named} and {more} more" if more > 0 else named
