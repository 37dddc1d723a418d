"""Checks of the arguments of `BackupAndRestore`."""

import numbers
from typing import Any, Literal

import numpy as np

from keras_lars._arguments import LARGEST_INTEGER, refusal


def save_freq(value: Any) -> int | Literal["epoch"]:
    """`"epoch"`, or a number of batches."""
    if isinstance(value, str) and value == "epoch":
        return "epoch"
    return _integer("save_freq", "'epoch' or an integer from 1 to 2**63 - 1", value, 1)


def delete_checkpoint(value: Any) -> bool | Literal["next_fit"]:
    """A boolean, or `"next_fit"`."""
    if isinstance(value, str) and value == "next_fit":
        return "next_fit"
    return _boolean("delete_checkpoint", "True, False or 'next_fit'", value)


def max_failed_saves(value: Any) -> int | None:
    """A number of saves, or None."""
    if value is None:
        return None
    return _integer("max_failed_saves", "an integer from 0 to 2**63 - 1, or None", value, 0)


def allow_other_replicas(value: Any) -> bool:
    """A boolean."""
    return _boolean("allow_other_replicas", "True or False", value)


def _boolean(name: str, rule: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise refusal(name, rule, value)
    return bool(value)


def _integer(name: str, rule: str, value: Any, minimum: int) -> int:
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_integer or not minimum <= value <= LARGEST_INTEGER:
        raise refusal(name, rule, value)
    return int(value)
