"""The file of a backup: whole, or not there; read with care, since anything may lie there."""

import contextlib
import io
import math
import os
import pathlib
import secrets
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from keras_lars._words import counted
from keras_lars.callbacks import _backup_header
from keras_lars.callbacks._backup_header import Header

PART = ".part"  # the ending of files that are not whole yet

Arrays = dict[str, list[np.ndarray]]  # by kind


class Spec(NamedTuple):
    """What an array of a backup must be."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype


def new_identity() -> int:
    """A number that no other backup has: not from a generator that a seed sets."""
    return secrets.randbits(62) + 1


def write(path: pathlib.Path, header: Header, arrays: Arrays) -> None:
    """Write a new file, read it back, and put it in the place of the old one.

    Raises:
        OSError: If that fails; the old one is as it was, and nothing is left of the new one.
    """
    flat: dict[str, Any] = {"about": np.frombuffer(_backup_header.encode(header), np.uint8)}
    for kind, values in arrays.items():
        for i, array in enumerate(values):
            flat[f"{kind}_{i}"] = array.view(_saved_dtype(array.dtype))
    with _taking_the_place_of(path) as part:
        with create(part) as file:
            np.savez(file, **flat)
            file.flush()
            os.fsync(file.fileno())
        _prove(part, flat)


def keep(path: pathlib.Path, name: pathlib.Path) -> None:
    """Let a file stay under another name when its own is given to the next one."""
    with _taking_the_place_of(name) as part:
        try:
            os.link(path, part)
        except OSError:  # some file systems have no links
            with open(path, "rb") as source, create(part) as target:
                shutil.copyfileobj(source, target)


def create(path: pathlib.Path) -> BinaryIO:
    """Open a new file. What is there is neither overwritten nor, being a link, followed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    return os.fdopen(os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666), "wb")


def part_of(path: pathlib.Path) -> pathlib.Path:
    """A name, like no other, for what is to become this file."""
    return path.with_name(f"{path.name}.{secrets.token_hex(8)}{PART}")


def read_header(path: pathlib.Path) -> Header | None:
    """The header of the backup; None where there is none."""
    if not os.path.lexists(path):
        return None
    with _opened(path) as file:
        return _backup_header.decode(_array(file, "about").tobytes())


def read(path: pathlib.Path, header: Header, expected: Mapping[str, list[Spec]]) -> Arrays | None:
    """The arrays of some kinds; None if the file is no longer the one that has this header.

    Raises:
        ValueError: If the backup does not hold what is expected.
    """
    with _opened(path) as file:
        now = _backup_header.decode(_array(file, "about").tobytes())
        if now.position != header.position:
            return None
        arrays = {}
        for kind, specs in expected.items():
            _check_count(path, file, kind, len(specs))
            arrays[kind] = [
                _checked(path, _array(file, f"{kind}_{i}"), f"{kind}_{i}", spec)
                for i, spec in enumerate(specs)
            ]
    if header.names is not None:
        for kind, specs in expected.items():
            _check_names(path, header.names.get(kind, []), kind, specs)
    return arrays


@contextlib.contextmanager
def _taking_the_place_of(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A name for a new file, which is renamed at the end, and deleted where there is an error."""
    part = part_of(path)
    try:
        yield part
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    # So that the new name outlives the machine, too. Not every system can do it.
    with contextlib.suppress(OSError, AttributeError):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _prove(path: pathlib.Path, flat: dict[str, np.ndarray]) -> None:
    """Raise unless what is in the file is what was written into it."""
    try:
        with _opened(path) as file:
            is_equal = all(
                _array(file, name).tobytes() == array.tobytes() for name, array in flat.items()
            )
    except ValueError as error:
        raise OSError(f"what was written cannot be read: {error.__cause__}") from error
    if not is_equal:
        raise OSError("what is read back differs from what was written")


def _saved_dtype(dtype: np.dtype) -> np.dtype:
    """NumPy cannot save bfloat16 and its like, but it can save their bits."""
    dtype = np.dtype(dtype)
    return np.dtype(f"u{dtype.itemsize}") if dtype.kind == "V" else dtype


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as file:
            yield file
    except _BelongsElsewhereError as error:
        raise ValueError(str(error)) from None
    except _backup_header.LaterVersionError as error:
        raise ValueError(
            f"The backup `{path}` must be of version {_backup_header.VERSION}; delete it to start "
            f"over. Received: {error}"
        ) from error
    except MemoryError:  # no file is read as more than it holds: there is too little
        raise
    except Exception as error:  # of zipfile and NumPy, for anything that may lie there
        raise ValueError(
            f"The backup `{path}` cannot be read; delete it to start over. Received: {error}"
        ) from error


class _BelongsElsewhereError(Exception):
    """The file is whole, and not of this training."""


def _array(file: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array as `np.save` wrote it, of no more memory than there are bytes in the file."""
    member = f"{name}.npy"
    if member not in file.namelist():
        raise ValueError(f"it lacks `{name}`")
    if file.getinfo(member).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"`{name}` is compressed")
    data = file.read(member)
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read = "read_array_header_1_0" if version == (1, 0) else "read_array_header_2_0"
    shape, is_fortran, dtype = getattr(np.lib.format, read)(stream)
    size, start = math.prod(shape) * dtype.itemsize, stream.tell()
    if dtype.hasobject or min(shape, default=0) < 0 or size != len(data) - start:
        raise ValueError(f"`{name}` should hold {dtype} of shape {shape}, and does not")
    return np.array(np.ndarray(shape, dtype, data, start, order="F" if is_fortran else "C"))


def _check_count(path: pathlib.Path, file: zipfile.ZipFile, kind: str, count: int) -> None:
    saved = sum(name.rpartition("_")[0] == kind for name in file.namelist())
    if saved != count:
        raise _BelongsElsewhereError(
            f"The backup `{path}` is of another model or optimizer: it holds "
            f"{counted(saved, 'array')} of kind '{kind}'. Received: a training run with {count}"
        )


def _checked(path: pathlib.Path, array: np.ndarray, name: str, spec: Spec) -> np.ndarray:
    if array.dtype != _saved_dtype(spec.dtype) or array.shape != spec.shape:
        raise _BelongsElsewhereError(
            f"The backup `{path}` is of another model or optimizer: its `{name}` is {array.dtype} "
            f"of shape {array.shape}. Received: {np.dtype(spec.dtype)} of shape {spec.shape}"
        )
    return array.view(spec.dtype)


def _check_names(path: pathlib.Path, names: list[str], kind: str, specs: list[Spec]) -> None:
    for i, spec in enumerate(specs):
        name = names[i] if i < len(names) else ""
        if name != spec.name:
            raise ValueError(
                f"The backup `{path}` is of another model or optimizer: its `{kind}_{i}` is of "
                f"'{name}'. Received: '{spec.name}'"
            )
