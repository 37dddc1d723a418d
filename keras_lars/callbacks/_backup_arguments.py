"""Checks of the arguments of `BackupAndRestore`."""

import numbers
import os
import pathlib
from typing import Any

import numpy as np

_LARGEST = 2**63 - 1  # batches are counted in int64


def folder(backup_dir: Any) -> pathlib.Path:
    """A path of a folder, which is there or can be made."""
    try:
        text = os.fspath(backup_dir)
    except TypeError:
        text = None
    if not isinstance(text, str):
        raise ValueError(
            "`backup_dir` must be the path of a folder, as a string or a `pathlib.Path`. "
            f"Received: backup_dir={repr(backup_dir)[:200]}"
        )
    if not text:
        raise ValueError("`backup_dir` must name a folder. Received: backup_dir=''")
    path = pathlib.Path(text)
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return path  # it is made, or refused in words, when `fit` begins
    except (OSError, ValueError) as error:  # too long; a zero byte; a loop of links
        raise ValueError(
            f"`backup_dir` must be a path that can be used. Received: backup_dir={text[:200]!r} "
            f"({getattr(error, 'strerror', None) or error})"
        ) from error
    if not path.is_dir():
        raise ValueError(
            f"`backup_dir` must name a folder. Received a file: backup_dir={str(path)!r}"
        )
    return path


def save_freq(value: Any) -> Any:
    """`"epoch"`, or a number of batches."""
    if isinstance(value, str) and value == "epoch":
        return value
    if not _is_integer(value) or not 1 <= value <= _LARGEST:
        raise ValueError(
            "`save_freq` must be 'epoch' or an integer from 1 to 2**63 - 1. "
            f"Received: save_freq={_shown(value)}"
        )
    return int(value)


def delete_checkpoint(value: Any) -> Any:
    """A boolean, or `"next_fit"`."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if not isinstance(value, str) or value != "next_fit":
        raise ValueError(
            "`delete_checkpoint` must be True, False or 'next_fit'. "
            f"Received: delete_checkpoint={_shown(value)}"
        )
    return value


def max_failed_saves(value: Any) -> int | None:
    """A number of saves, or None."""
    if value is None:
        return None
    if not _is_integer(value) or not 0 <= value <= _LARGEST:
        raise ValueError(
            "`max_failed_saves` must be an integer from 0 to 2**63 - 1, or None. "
            f"Received: max_failed_saves={_shown(value)}"
        )
    return int(value)


def allow_other_replicas(value: Any) -> bool:
    """A boolean."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(
            "`allow_other_replicas` must be True or False. "
            f"Received: allow_other_replicas={_shown(value)}"
        )
    return bool(value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    is_long = isinstance(value, int) and value.bit_length() > 300  # too long to print, or to read
    return f"an integer of {value.bit_length()} bits" if is_long else repr(value)[:200]
