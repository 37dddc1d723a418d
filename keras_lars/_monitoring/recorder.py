"""Writes the files of a record. Training goes on if one of them cannot be written."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from keras_lars._monitoring.record import Writer


class Recorder:
    """Writers that warn where they would raise. One that failed begins again with the next rows."""

    def __init__(self, monitor: str, writers: Sequence[Writer]):
        self._monitor, self._writers = monitor, [*writers]
        self._begun: list[Writer] = []
        self._failed: list[Writer] = []  # at any time in this `fit`

    def put_first(self, writer: Writer) -> None:
        """Let this one write before the others."""
        self._writers.insert(0, writer)

    def check(self) -> None:
        """Prepare a `fit`. Raise ValueError if an existing file is something else."""
        self._begun, self._failed = [], []
        for writer in self._writers:
            writer.check()

    def add(self, update: int, rows: Sequence[Any]) -> None:
        """Write the rows of an update to all files."""

        def add(writer: Writer) -> None:
            if writer not in self._begun:
                writer.begin(update)
                self._begun.append(writer)
            writer.add(rows)

        self._each(self._writers, add)

    def end_epoch(self, update: int) -> None:
        """Write what is written once per epoch."""
        self._each([*self._begun], lambda writer: writer.end_epoch(update))

    def _each(self, writers: Sequence[Writer], write: Callable[[Writer], None]) -> None:
        failures = []
        for writer in writers:
            try:
                write(writer)
            except (OSError, ValueError) as error:  # ValueError if it is another file by now
                if writer in self._begun:
                    self._begun.remove(writer)
                if writer not in self._failed:
                    self._failed.append(writer)
                    reason = getattr(error, "strerror", None) or error
                    failures.append(f"'{writer.path}' ({reason})")
        if failures:
            warnings.warn(
                f"`{self._monitor}` could not write {' and '.join(failures)}. Training continues "
                "without these rows, and the next record tries again: free disk space, or make the "
                "folder writable. What was deleted is created again.",
                stacklevel=2,
            )
