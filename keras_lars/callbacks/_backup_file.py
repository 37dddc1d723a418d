"""The file of a backup: whole, or not there."""

import contextlib
import json
import os
import pathlib
import zipfile
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from keras_lars._words import counted

_VERSION = 1


class Position(NamedTuple):
    """How far a training has come, and which backup says so."""

    epoch: int = 0  # epochs that are done
    batch: int = 0  # batches of the next epoch that are done
    identity: int = 0  # a random number, another one for each backup


class Backup(NamedTuple):
    """All that a backup holds: lists of arrays by kind, and by how many replicas they are."""

    position: Position
    replicas: int
    optimizer: str
    arrays: dict[str, list[np.ndarray]]


def new_identity() -> int:
    """A number that no other backup has: not from a generator that a seed sets."""
    return int.from_bytes(os.urandom(4), "big") >> 1


def write(path: pathlib.Path, backup: Backup) -> None:
    """Write under a temporary name, and rename once all of it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "version": _VERSION,
        **backup.position._asdict(),
        "replicas": backup.replicas,
        "optimizer": backup.optimizer,
    }
    flat = {"about": np.frombuffer(json.dumps(about).encode(), np.uint8)}
    for kind, arrays in backup.arrays.items():
        for i, array in enumerate(arrays):
            flat[f"{kind}_{i}"] = array.view(_saved_dtype(array.dtype))
    with open(_temporary(path), "wb") as file:
        np.savez(file, **flat)
        file.flush()
        os.fsync(file.fileno())
    os.replace(_temporary(path), path)


def delete(path: pathlib.Path) -> None:
    """Delete the backup, and what was left of one that was never whole."""
    path.unlink(missing_ok=True)
    _temporary(path).unlink(missing_ok=True)


def read_position(path: pathlib.Path) -> Position:
    """The position of the backup, or that of a start where there is none."""
    if not path.exists():
        return Position()
    about = _about(path)
    return Position(*(about[field] for field in Position._fields))


def read(
    path: pathlib.Path, expected: dict[str, list], replicas: int, optimizer: str
) -> dict[str, list]:
    """The arrays of some kinds.

    Args:
        path: The file.
        expected: By kind, a pair (shape, dtype) for each array.
        replicas: The number of replicas there are now.
        optimizer: The name of the optimizer there is now.

    Raises:
        ValueError: If the backup does not hold these.
    """
    about = _about(path)
    if about["replicas"] != replicas:
        raise ValueError(
            f"The backup `{path}` must be restored by as many replicas as wrote it, which are "
            f"{about['replicas']}. Received: {counted(replicas, 'replica')}"
        )
    if about["optimizer"] != optimizer:
        raise ValueError(
            f"The backup `{path}` is of another optimizer, {about['optimizer']}. "
            f"Received: {optimizer}"
        )
    with _opened(path) as file:
        flat = {name: file[name] for name in file.files if _kind(name) in expected}
    arrays = {}
    for kind, specs in expected.items():
        _check_count(path, flat, kind, len(specs))
        arrays[kind] = [
            _checked(path, flat[f"{kind}_{i}"], f"{kind}_{i}", shape, dtype)
            for i, (shape, dtype) in enumerate(specs)
        ]
    return arrays


def _temporary(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(path.name + ".part")


def _kind(name: str) -> str:
    return name.rpartition("_")[0]


def _saved_dtype(dtype: type) -> np.dtype:
    """NumPy cannot save bfloat16 and its like, but it can save their bits."""
    dtype = np.dtype(dtype)
    return np.dtype(f"u{dtype.itemsize}") if dtype.kind == "V" else dtype


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[np.lib.npyio.NpzFile]:
    try:
        with np.load(path) as file:
            yield file
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"The backup `{path}` cannot be read; delete it to start afresh. Received: {error}"
        ) from error


def _check_count(path: pathlib.Path, names: dict, kind: str, count: int) -> None:
    saved = sum(_kind(name) == kind for name in names)
    if saved != count:
        raise ValueError(
            f"The backup `{path}` is of another model or optimizer: it holds "
            f"{counted(saved, 'array')} of {kind}. Received: a training that has {count}"
        )


def _checked(
    path: pathlib.Path, array: np.ndarray, name: str, shape: tuple, dtype: type
) -> np.ndarray:
    if array.dtype != _saved_dtype(dtype) or array.shape != shape:
        raise ValueError(
            f"The backup `{path}` is of another model or optimizer: its `{name}` is {array.dtype} "
            f"of shape {array.shape}. Received: {np.dtype(dtype)} of shape {shape}"
        )
    return array.view(dtype)


def _about(path: pathlib.Path) -> dict:
    with _opened(path) as file:
        about = json.loads(file["about"].tobytes().decode())
    if about["version"] != _VERSION:
        raise ValueError(
            f"The backup `{path}` must be of version {_VERSION}; delete it to start afresh. "
            f"Received: version {about['version']}"
        )
    return about
