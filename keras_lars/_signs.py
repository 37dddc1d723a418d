"""Signs in norms and ratios that a person should know of: where they stand, for arrays."""

from typing import Any

import numpy as np


def find(
    weight_norm: Any,
    gradient_norm: Any,
    trust_ratio: Any,
    learning_rate: Any,
    is_kernel: Any,
    least_norm: Any,
) -> dict[str, np.ndarray]:
    """By kind, where it is so; all arrays are of one shape, or can be broadcast to it.

    `is_kernel` is where a norm of 0 is remarkable: in adapted variables of rank 2 or more. Biases
    begin at 0, and what is excluded has no ratio. `least_norm` is what the norm of an adapted
    variable counts as at least: it may well be moved by so much.
    """
    finite = np.isfinite(weight_norm) & np.isfinite(gradient_norm) & np.isfinite(trust_ratio)
    finite &= np.isfinite(learning_rate)
    with np.errstate(over="ignore", invalid="ignore"):
        is_large = learning_rate * trust_ratio * gradient_norm > np.maximum(weight_norm, least_norm)
    is_zero = weight_norm == 0
    return {
        "not finite": ~finite,
        "large update": finite & is_large & ~is_zero,
        "zero weight": finite & is_zero & is_kernel,
        "zero gradient": finite & (gradient_norm == 0) & ~is_zero & is_kernel,
    }
