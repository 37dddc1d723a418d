"""Atomic writes, under a temporary name until a file is complete, and tables kept as CSV files."""

import contextlib
import csv
import dataclasses
import json
import os
import pathlib
import socket
from collections.abc import Iterator
from typing import Any

from benchmarks.settings import RecipeError, kind_of

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

TEMPORARY = ".temporary"  # the ending of an incomplete file


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file without converting line ends. If this fails, the old file stays.

    It is on the disk before it is renamed, because a crash may leave a renamed file empty.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def reserved(path: pathlib.Path) -> Iterator[None]:
    """Keeps other processes from reserving the same file, which is read and written in the block.

    A process that is killed leaves a lock file, but no lock. Where a file system has no locks,
    nothing is reserved.

    Raises:
        RecipeError: If another process has reserved it.
    """
    is_new = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(path.name + ".lock")
    with lock.open("a+", encoding="utf-8") as file:
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise RecipeError(
                "results must be written by one process at a time. Received: "
                f"{path}, to which {file.read(200).strip() or 'another process'} writes"
            ) from None
        except OSError:
            pass
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                lock.unlink()
                if is_new:
                    path.parent.rmdir()  # if nothing was written


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes JSON, with null for numbers that are not finite, which JSON cannot represent."""
    write_text(path, json.dumps(finite(value), indent=1) + "\n")


def finite(value: Any) -> Any:
    """The value as JSON holds it, with None in place of each number that is not finite."""
    return json.loads(json.dumps(value), parse_constant=lambda name: None)


def csv_lines(path: pathlib.Path, *kinds: type[Any]) -> list[dict[str, Any]]:
    """The lines of a CSV file: the values that are not blank, by column name.

    Columns with the name of a field of the dataclasses have its type, others are text. Several
    values are separated by spaces. Lines that begin with # are comments.
    """
    types = {field.name: kind_of(field) for kind in kinds for field in dataclasses.fields(kind)}
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(line for line in file if not line.startswith("#")))
    return [
        {name: _value(text, *types.get(name, (str, False))) for name, text in line.items() if text}
        for line in lines
    ]


def _value(text: str, kind: type, several: bool) -> Any:
    if several:
        return tuple(map(kind, text.split()))
    return text == "true" if kind is bool else kind(text)
