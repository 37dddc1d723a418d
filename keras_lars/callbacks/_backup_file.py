"""The file of a backup. It is whole or missing, and read with care, because it may be damaged."""

import contextlib
import errno
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

from keras_lars._files import taking_the_place_of
from keras_lars._words import counted
from keras_lars.callbacks import _backup_header
from keras_lars.callbacks._backup_header import Header

PART = ".part"  # the suffix of incomplete files

# These say nothing about the file: it may be readable later.
_NOT_OF_THE_FILE = (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.EMFILE)

Arrays = dict[str, list[np.ndarray]]  # by kind


class Spec(NamedTuple):
    """What an array of a backup must look like."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype


def new_identity() -> int:
    """A number that no other backup has, from a generator that no seed affects."""
    return secrets.randbits(62) + 1


def write(path: pathlib.Path, header: Header, arrays: Arrays) -> None:
    """Write a new file, read it back, and replace the old one.

    Raises:
        OSError: If that fails. The old file is then unchanged, and the new one is deleted.
    """
    flat: dict[str, Any] = {"about": np.frombuffer(_backup_header.encode(header), np.uint8)}
    for kind, values in arrays.items():
        for i, array in enumerate(values):
            flat[f"{kind}_{i}"] = array.view(_saved_dtype(array.dtype))
    part = part_of(path)
    with taking_the_place_of(path, part):
        with create(part) as file:
            np.savez(file, **flat)
        _prove(part, flat)


def keep(path: pathlib.Path, name: pathlib.Path) -> None:
    """Keep a file under a second name before the next one replaces it."""
    part = part_of(name)
    with taking_the_place_of(name, part):
        try:
            os.link(path, part)
        except OSError:  # some file systems have no links
            with open(path, "rb") as source, create(part) as target:
                shutil.copyfileobj(source, target)


def create(path: pathlib.Path) -> BinaryIO:
    """Open a new file. An existing file is not overwritten, and a link is not followed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    return os.fdopen(os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666), "wb")


def part_of(path: pathlib.Path) -> pathlib.Path:
    """A unique temporary name for a file that will be renamed to this path."""
    return path.with_name(f"{path.name}.{secrets.token_hex(8)}{PART}")


def read_header(path: pathlib.Path) -> Header | None:
    """The header of the backup, or None without a backup."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        pass  # there may be one, and opening it says why it cannot be read
    with _opened(path) as file:
        return _backup_header.decode(_array(file, "about").tobytes())


def read(path: pathlib.Path, header: Header, expected: Mapping[str, list[Spec]]) -> Arrays | None:
    """The arrays of the expected kinds, or None if the file no longer has this header.

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


def _prove(path: pathlib.Path, flat: dict[str, np.ndarray]) -> None:
    """Raise OSError unless the file holds what was written into it."""
    try:
        with _opened(path) as file:
            is_equal = all(
                _array(file, name).tobytes() == array.tobytes() for name, array in flat.items()
            )
    except ValueError as error:
        raise OSError(f"the file cannot be read back: {error.__cause__}") from error
    if not is_equal:
        raise OSError("the file differs from what was written")


def _saved_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype to save as. NumPy cannot save bfloat16 and the like, but it can save their bits."""
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
            f"The backup `{path}` must be of version {_backup_header.VERSION}; continue with the "
            f"later `keras_lars` that wrote it, or delete it to start over. Received: {error}"
        ) from error
    except MemoryError:  # not the file's fault: reading takes no more memory than its size
        raise
    except OSError as error:
        if error.errno in _NOT_OF_THE_FILE:
            raise ValueError(f"The backup `{path}` cannot be read. Received: {error}") from error
        raise _damaged(path, error) from error
    except Exception as error:  # zipfile and NumPy raise many types for damaged files
        raise _damaged(path, error) from error


def _damaged(path: pathlib.Path, error: Exception) -> ValueError:
    return ValueError(
        f"The backup `{path}` cannot be read; delete it to start over. Received: {error}"
    )


class _BelongsElsewhereError(Exception):
    """The file is intact, but not of this training run."""


def _array(file: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array as `np.save` wrote it. Reading it takes no more memory than the file's size."""
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
        raise ValueError(f"`{name}` does not hold {dtype} of shape {shape}")
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
