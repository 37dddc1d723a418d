"""The files that hold records of norms and ratios: a row for each variable of each record."""

import csv
import json
import math
import os
import pathlib
from collections.abc import Iterable
from typing import Any, Protocol

from keras_lars import _json
from keras_lars._words import escaped

COLUMNS = (
    "update",
    "epoch",
    "variable",
    "weight_norm",
    "gradient_norm",
    "trust_ratio",
    "learning_rate",
)


class RecordFile(Protocol):
    """What a format can do, in this order. Rows are dictionaries with the keys `COLUMNS`."""

    def check(self) -> None:
        """Raise if what is there already is something else. Changes nothing."""

    def begin(self, update: int) -> None:
        """Make the file, or keep its rows of updates before this one."""

    def add(self, rows: list[dict]) -> None:
        """Write rows to the disk at once: what comes after may be lost."""

    def end_epoch(self, update: int) -> None:
        """Write what is written once an epoch."""


def make(name: str, folder: pathlib.Path) -> RecordFile:
    """The file of a format."""
    if name == "tensorboard":
        from keras_lars._monitoring import tensorboard

        return tensorboard.TensorBoardFile(folder / "tensorboard")
    return _Lines(folder / f"trust_ratios.{name}", _FORMS[name])


class _Csv:
    header = ",".join(COLUMNS) + "\n"

    def line(self, row: dict) -> str:
        class Line:  # csv writes to anything that has this method
            def write(self, text: str) -> None:
                self.text = text

        line = Line()
        # A row is a line: what reads it, and what it is cut off by, goes by lines.
        row = {**row, "variable": escaped(str(row["variable"]))}
        csv.DictWriter(line, COLUMNS, lineterminator="\n").writerow(row)
        return line.text

    def update_of(self, line: str) -> int:
        return int(line.split(",")[0])


class _JsonLines:
    header = ""

    def line(self, row: dict) -> str:
        return json.dumps(_finite(row)) + "\n"

    def update_of(self, line: str) -> int:
        return int(_json.parse(line)["update"])


_FORMS = {"csv": _Csv(), "jsonl": _JsonLines()}


class _Lines:
    """A file of lines, after a header in some formats."""

    def __init__(self, path: pathlib.Path, form: Any):
        self._path, self._form = path, form

    def check(self) -> None:
        list(self._kept(0))

    def begin(self, update: int) -> None:
        temporary = self._path.with_name(self._path.name + ".temporary")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(self._form.header)
            file.writelines(self._kept(update))
        os.replace(temporary, self._path)

    def _kept(self, update: int) -> Iterable[str]:
        if not self._path.is_file():
            return
        # An editor may have left a byte-order mark.
        with self._path.open(encoding="utf-8-sig") as file:
            try:
                if file.readline(len(self._form.header) or 0) != self._form.header:
                    raise ValueError("another header")
                for line in file:
                    # One that was cut off by an interruption will come again.
                    if line.endswith("\n") and self._form.update_of(line) < update:
                        yield line
            except (ValueError, KeyError, TypeError, OverflowError) as error:
                raise ValueError(
                    "`log_dir` must be a new folder, or hold a record of `TrustRatioMonitor`. "
                    f"Received a folder with another {self._path.name}: {self._path} ({error})"
                ) from error

    def add(self, rows: list[dict]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(self._form.line(row) for row in rows)

    def end_epoch(self, update: int) -> None:
        """Nothing: all rows are written."""


def write_json(path: pathlib.Path, value: Any) -> None:
    """The file is whole, or is not there."""
    temporary = path.with_name(path.name + ".temporary")
    temporary.write_text(json.dumps(_finite(value), indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _finite(value: Any) -> Any:
    """JSON has no word for numbers that are not finite."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
