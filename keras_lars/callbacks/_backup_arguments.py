"""Checks of the arguments of `BackupAndRestore`."""

import functools
from typing import Any, Literal

import numpy as np

from keras_lars._arguments import integer, refusal

# A number of batches, or "epoch".
save_freq = functools.partial(integer(minimum=1, text="epoch"), "save_freq")
max_failed_saves = functools.partial(integer(minimum=0, none=True), "max_failed_saves")


def delete_checkpoint(value: Any) -> bool | Literal["next_fit"]:
    """Check for a boolean or `"next_fit"`."""
    if isinstance(value, str) and value == "next_fit":
        return "next_fit"
    return _boolean("delete_checkpoint", "True, False or 'next_fit'", value)


def allow_other_replicas(value: Any) -> bool:
    """Check for a boolean."""
    return _boolean("allow_other_replicas", "True or False", value)


def _boolean(name: str, must_be: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise refusal(name, must_be, value)
    return bool(value)
