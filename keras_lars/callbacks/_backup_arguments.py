"""Checks of the arguments of `BackupAndRestore`."""

import functools
from typing import Literal

import numpy as np

from keras_lars._arguments import integer, refusal

# A number of batches, or "epoch".
save_freq = functools.partial(integer(minimum=1, text="epoch"), "save_freq")
max_failed_saves = functools.partial(integer(minimum=0, none=True), "max_failed_saves")


def delete_checkpoint(value: object) -> bool | Literal["next_fit"]:
    """Check for a boolean or `"next_fit"`."""
    if isinstance(value, str) and value == "next_fit":
        return "next_fit"
    return _boolean("delete_checkpoint", "True, False or 'next_fit'", value)


def allow_other_replicas(value: object) -> bool:
    """Check for a boolean."""
    return _boolean("allow_other_replicas", "True or False", value)


def check_steps(steps: int | None, execution: int, batches: int | None) -> None:
    """Check that the data have the epochs of `fit`: otherwise wrong batches are skipped.

    Args:
        steps: The `steps_per_epoch` of `fit`.
        execution: The `steps_per_execution` of the model.
        batches: In an epoch of the data; negative if unknown, and None without data of `epochs`.
    """
    if batches is None:
        return
    if batches >= 0 and steps != batches:
        raise ValueError(
            "`steps_per_epoch` must be the number of batches that `make_epoch` returns, "
            f"{batches}. Received: steps_per_epoch={steps}"
        )
    if steps is None or steps % execution:
        raise ValueError(
            "`steps_per_epoch` must be given with the data of `epochs`, as a multiple of "
            f"`steps_per_execution`, which is {execution}. Received: steps_per_epoch={steps}"
        )


def _boolean(name: str, must_be: str, value: object) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise refusal(name, must_be, value)
    return bool(value)
