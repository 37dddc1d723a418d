"""Which lines share a panel, and what is shown of many lines: pure functions."""

import warnings
from collections.abc import Sequence

import numpy as np

from keras_lars._monitoring.variables import Variable
from keras_lars._words import counted

# As many lines as a person can tell apart by color.
FEW = 10
# Of many lines, so many of the highest and of the lowest are named.
NAMED = 3


def panels(variables: Sequence[Variable], indices: Sequence[int]) -> list[tuple[str, list[int]]]:
    """What is drawn together: all if they are few, else kernels apart from biases and scales.

    The norms and the ratios of these two kinds are far apart, so that no median holds for both.
    """
    indices = list(indices)
    kinds = [variables[i].is_matrix for i in indices]
    if len(indices) <= FEW or None in kinds or len(set(kinds)) == 1:
        return [(counted(len(indices), "variable"), indices)]
    kernels = [i for i in indices if variables[i].is_matrix]
    others = [i for i in indices if not variables[i].is_matrix]
    return [
        (counted(len(kernels), "kernel") + " (rank 2 and more)", kernels),
        (counted(len(others), "variable") + " of rank 0 and 1 (biases, scales)", others),
    ]


def drawable(values: np.ndarray) -> np.ndarray:
    """The values that a logarithmic axis can show; NaN for the others."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def isolated(values: np.ndarray) -> list[int]:
    """Where a line of these values has points that are joined to no other, and so needs dots."""
    there = np.concatenate([[False], ~np.isnan(values), [False]])
    return np.flatnonzero(there[1:-1] & ~there[:-2] & ~there[2:]).tolist()


def last_point(values: np.ndarray) -> int | None:
    """Where the last value is that is not NaN."""
    there = np.flatnonzero(~np.isnan(values))
    return int(there[-1]) if len(there) else None


def named(values: np.ndarray) -> list[int]:
    """The lines that are named: all if they are few, else those that end highest and lowest.

    Args:
        values: Lines, NaN where there is nothing. shape=(lines, updates)
    """
    ends = {i: values[i, j] for i in range(len(values)) if (j := last_point(values[i])) is not None}
    if len(values) <= FEW:
        return sorted(ends)
    order = sorted(ends, key=lambda i: ends[i])
    return sorted({*order[:NAMED], *order[-NAMED:]})


def quantiles(values: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """At each update, over the variables that have a value; NaN if none has. (shares, updates)"""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice encountered", RuntimeWarning)
        return np.nanquantile(values, shares, axis=0)
