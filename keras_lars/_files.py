"""Replaces a file as a whole: whoever reads it sees the old one or the new one."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


def synchronize(path: pathlib.Path) -> None:
    """Wait until a file is on the disk. A crash of the machine may leave a renamed one empty."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextlib.contextmanager
def taking_the_place_of(path: pathlib.Path, part: pathlib.Path) -> Iterator[None]:
    """Rename `part`, a new file in the folder of `path`, to `path`. Delete it after an error."""
    try:
        yield
        synchronize(part)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    # So that the rename survives a crash of the machine, on systems that support this.
    with contextlib.suppress(OSError, AttributeError):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
