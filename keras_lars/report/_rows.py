"""The rows of a file that `TrustRatioMonitor` wrote, or another program in its format."""

import csv
import math
import pathlib
from typing import Any, NamedTuple

from keras_lars import _json
from keras_lars._arguments import LARGEST_INTEGER, shown
from keras_lars._words import counted, shortened, unescaped

NUMBERS = ("epoch", "weight_norm", "gradient_norm", "trust_ratio", "learning_rate")
COLUMNS = ("update", "variable", *NUMBERS)


class Row(NamedTuple):
    """What was recorded of one variable at one update; what JSON has no number for is NaN."""

    update: int
    variable: str
    epoch: float
    weight_norm: float
    gradient_norm: float
    trust_ratio: float
    learning_rate: float


def read(path: pathlib.Path) -> list[Row]:
    """All rows but a last one without its line end, which an interrupted run leaves behind.

    Such a line is dropped even if it can be read: its last number may have lost digits.

    Raises:
        ValueError: If the file is something else, or holds no rows.
    """
    if path.suffix not in (".csv", ".jsonl"):
        raise ValueError(
            f"`run` must be a folder, or a file that ends in .csv or .jsonl. Received: {path}"
        )
    try:
        # An editor may have left a byte-order mark.
        lines = path.read_text(encoding="utf-8-sig").split("\n")[:-1]
    except UnicodeDecodeError as error:
        raise ValueError(f"`run` must be a file of UTF-8 text. Received: {path}") from error
    rows = _csv_rows(path, lines) if path.suffix == ".csv" else _json_rows(path, lines)
    if not rows:
        raise ValueError(f"`run` must hold at least one row. Received: {path}, which has none")
    return rows


def _csv_rows(path: pathlib.Path, lines: list[str]) -> list[Row]:
    names = _fields(path, 1, lines[0]) if lines else []
    _check_columns(path, 1, names)
    rows = []
    for number, line in enumerate(lines[1:], 2):
        fields = _fields(path, number, line)
        if len(fields) != len(names):
            raise _error(
                path, number, f"must have {counted(len(names), 'field')}, as line 1 has", line
            )
        values = dict(zip(names, fields))
        values["variable"] = unescaped(values["variable"])
        rows.append(_row(path, number, values, line))
    return rows


def _fields(path: pathlib.Path, number: int, line: str) -> list[str]:
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        raise _error(path, number, f"must be CSV ({error})", line) from error


def _json_rows(path: pathlib.Path, lines: list[str]) -> list[Row]:
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            values = _json.parse(line)
        except ValueError as error:
            raise _error(path, number, f"must be JSON ({error})", line) from error
        if not isinstance(values, dict):
            raise _error(path, number, "must be a JSON object", line)
        _check_columns(path, number, values)
        rows.append(_row(path, number, values, line))
    return rows


def _check_columns(path: pathlib.Path, number: int, names: list | dict) -> None:
    missing = [column for column in COLUMNS if column not in names]
    if missing:
        raise ValueError(
            f"`run` must be a record of norms and ratios: line {number} of {path} lacks "
            f"{', '.join(missing)}. Received: {shortened(', '.join(names)) or 'nothing'}"
        )
    repeated = [column for column in COLUMNS if list(names).count(column) > 1]
    if repeated:
        raise ValueError(
            f"`run` must be a record of norms and ratios: line {number} of {path} must have each "
            f"column once. Received: {', '.join(repeated)} several times"
        )


def _row(path: pathlib.Path, number: int, values: dict, line: str) -> Row:
    try:
        if isinstance(values["update"], (float, bool)):
            raise TypeError("an update is an integer")
        update = int(values["update"])
        numbers = [_number(values[name]) for name in NUMBERS]
    except (ValueError, TypeError, OverflowError) as error:
        why = shortened(str(error))
        raise _error(path, number, f"must hold numbers ({why})", line) from error
    if not 1 <= update <= LARGEST_INTEGER:
        raise _error(path, number, "must have an update of 1 or more, and below 2**63", line)
    if not isinstance(values["variable"], (str, int)) or isinstance(values["variable"], bool):
        raise _error(path, number, "must name a variable", line)
    return Row(update, str(values["variable"]), *numbers)


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError("a number is neither true nor false")
    return math.nan if value is None else float(value)


def _error(path: pathlib.Path, number: int, rule: str, line: str) -> ValueError:
    return ValueError(
        f"`run` must be a record of norms and ratios: line {number} of {path} {rule}. "
        f"Received: {shown(line)}"
    )
