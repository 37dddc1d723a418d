"""What stands out in a record: pure functions of its arrays."""

from typing import NamedTuple

import numpy as np

from keras_lars import _signs
from keras_lars._monitoring.history import Record
from keras_lars._update_rule import least_norm

# By kind, what a person is told. The first are the worst.
KINDS = {
    "not finite": "A norm, a ratio or a rate is not finite.",
    "no gradient": "Adapted, but never recorded: the variable got no gradient.",
    "large update": "The gradient moves the variable by more than its own norm: learning_rate * "
    "trust_ratio * gradient_norm > weight_norm.",
    "zero weight": "The weight norm is 0, so that the ratio comes from zero_weight_ratio or "
    "weight_norm_floor, and not from the weight.",
    "zero gradient": "The gradient norm is 0, so that the ratio is zero_gradient_ratio and not the "
    "formula's.",
}


class Finding(NamedTuple):
    kind: str
    variable: str  # its name
    updates: list[int]  # at which it was seen; empty if there are none


def find(record: Record) -> list[Finding]:
    """By kind, and within one in the order of the model."""
    signs = _signs.find(
        record.weight_norm,
        record.gradient_norm,
        record.trust_ratio,
        record.learning_rate,
        _is_adapted_kernel(record),
        _least_norms(record),
    )
    found = []
    for kind in KINDS:
        for i, variable in enumerate(record.variables):
            if kind == "no gradient":
                # Without a description a variable is known from its rows alone.
                if variable.adapted and not record.is_recorded[i].any():
                    found.append(Finding(kind, variable.name, []))
                continue
            where = signs[kind][i] & record.is_recorded[i]
            if where.any():
                found.append(Finding(kind, variable.name, record.updates[where].tolist()))
    return found


def _least_norms(record: Record) -> np.ndarray:
    """What the norms count as at least; 0 where that is not known, or was not so."""
    settings = record.description.optimizer if record.description else {}
    floor = settings.get("weight_norm_floor", 0.0)
    least = [least_norm(v.shape or (), floor) if v.adapted else 0.0 for v in record.variables]
    return np.array(least)[:, None]


def _is_adapted_kernel(record: Record) -> np.ndarray:
    """Where a norm of 0 is remarkable: biases begin at 0, and excluded variables have no ratio.

    Where it is not known which variables are biases, none is a kernel at update 1.
    """
    is_kernel = np.zeros(record.is_recorded.shape, bool)
    for i, variable in enumerate(record.variables):
        if variable.is_matrix is None:
            is_kernel[i] = record.updates > 1
        else:
            is_kernel[i] = variable.is_matrix and variable.adapted
    return is_kernel


def when(updates: list[int]) -> str:
    """In words."""
    if not updates:
        return ""
    if len(updates) == 1:
        return f"at update {updates[0]}"
    return f"in {len(updates)} records, updates {updates[0]} to {updates[-1]}"
