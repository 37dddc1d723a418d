"""The rows of records, and their files, which are written, continued and read here."""

import contextlib
import csv
import dataclasses
import importlib.util
import io
import json
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from keras_lars import _arguments, _json
from keras_lars._files import taking_the_place_of
from keras_lars._words import counted, escaped, shortened, unescaped


class Row(NamedTuple):
    """Norms and ratio of one variable at one update."""

    update: int
    epoch: float
    variable: str | int  # as in `LARS.trust_ratios`
    weight_norm: float
    gradient_norm: float
    trust_ratio: float
    learning_rate: float


class NoiseRow(NamedTuple):
    """The gradient noise of one variable at one update, or of all; `_noise_scale` has the math."""

    update: int
    epoch: float
    variable: str | int  # as in `LARS.trust_ratios`, or `_monitoring.noise.TOTAL`
    gradient_square: float
    noise_square: float
    noise_scale: float  # over the measurements so far, in batches of an update
    low: float
    high: float


AnyRow: TypeAlias = Row | NoiseRow  # the fields are the columns of a file
R = TypeVar("R", bound=AnyRow)


@dataclasses.dataclass(frozen=True)
class Kind(Generic[R]):
    """A kind of record, and its files."""

    row: type[R]
    stem: str  # of the names of the files
    monitor: str
    what: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{self.stem}.{name}" for name in _LINE_FORMATS)

    @property
    def columns(self) -> tuple[str, ...]:
        return self.row._fields


TRUST_RATIOS = Kind(Row, "trust_ratios", "TrustRatioMonitor", "norms and ratios")
NOISE_SCALE = Kind(NoiseRow, "noise_scale", "NoiseScaleMonitor", "gradient noise")
COLUMNS = TRUST_RATIOS.columns


# Writing.


class Writer(Protocol):
    """The writer of one file or format. The methods are called in this order.

    The last three may raise OSError. Then the writer is to `begin` again.
    """

    @property
    def path(self) -> pathlib.Path: ...

    def check(self) -> None:
        """Raise ValueError if the existing file is something else. Changes nothing."""

    def begin(self, update: int) -> None:
        """Create the file and its folder, or keep only its rows of updates before this one."""

    def add(self, rows: Sequence[Any]) -> None:
        """Write rows to disk at once, because the run may be interrupted."""

    def end_epoch(self, update: int) -> None:
        """Write what is written once per epoch."""


def writer(name: str, folder: pathlib.Path, kind: Kind[Any] = TRUST_RATIOS) -> Writer:
    """The writer of a format, by its name, to a folder.

    Raises:
        ImportError: If the format needs a package that is not installed.
    """
    if name == "tensorboard":
        needed = ("tensorflow", "tensorboard")
        missing = " ".join(each for each in needed if importlib.util.find_spec(each) is None)
        if missing:
            raise ImportError(
                f'`formats="tensorboard"` needs {" and ".join(needed)}. Use another format, or '
                f"install what is missing: `pip install {missing}`"
            )
        from keras_lars._monitoring import tensorboard

        return tensorboard.WRITERS[kind.stem](folder / "tensorboard")
    return _LinesWriter(folder / f"{kind.stem}.{name}", _LINE_FORMATS[name](kind), kind)


class _LineFormat(Protocol):
    """A format that writes each row as a line."""

    @property
    def header(self) -> str: ...

    def line(self, row: AnyRow) -> str: ...

    def update_of(self, line: str) -> int: ...


class _Csv:
    def __init__(self, kind: Kind[Any]):
        self.header = ",".join(kind.columns) + "\n"

    def line(self, row: AnyRow) -> str:
        text = io.StringIO()
        # A row must be one line, because files are read and cut off by lines.
        values = {**row._asdict(), "variable": escaped(str(row.variable))}
        csv.writer(text, lineterminator="\n").writerow(values.values())
        return text.getvalue()

    def update_of(self, line: str) -> int:
        return int(line.split(",")[0])


class _JsonLines:
    header = ""

    def __init__(self, kind: Kind[Any]):
        del kind  # each line names its columns

    def line(self, row: AnyRow) -> str:
        return json.dumps(_json.finite(row._asdict())) + "\n"

    def update_of(self, line: str) -> int:
        return int(_json.parse(line)["update"])


_LINE_FORMATS: dict[str, Callable[[Kind[Any]], _LineFormat]] = {"csv": _Csv, "jsonl": _JsonLines}


class _LinesWriter:
    """Writes a file of lines, with a header if the format has one."""

    def __init__(self, path: pathlib.Path, line_format: _LineFormat, kind: Kind[Any]):
        self.path, self._format, self._kind = path, line_format, kind

    def check(self) -> None:
        for _ in self._kept(before=0):
            pass

    def begin(self, update: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(self.path.name + ".temporary")
        with taking_the_place_of(self.path, part), part.open("w", encoding="utf-8") as file:
            file.write(self._format.header)
            file.writelines(self._kept(before=update))

    def _kept(self, before: int) -> Iterator[str]:
        if not self.path.is_file():
            return
        # An editor may have left a byte-order mark.
        with self.path.open(encoding="utf-8-sig") as file:
            try:
                if file.readline(len(self._format.header) or 0) != self._format.header:
                    raise ValueError("its header differs")
                for line in file:
                    # A line that was cut off by an interruption will be written again.
                    if line.endswith("\n") and self._format.update_of(line) < before:
                        yield line
            except (ValueError, KeyError, TypeError, OverflowError) as error:
                raise ValueError(
                    f"`log_dir` must be a new folder, or hold a record of `{self._kind.monitor}`. "
                    f"Received a folder with another {self.path.name}: {self.path} ({error})"
                ) from error

    def add(self, rows: Sequence[AnyRow]) -> None:
        size = self.path.stat().st_size  # opening would create a file without a header
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(self._format.line(row) for row in rows)
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(self.path, size)  # so that it ends with a whole record
            raise

    def end_epoch(self, update: int) -> None:
        """Do nothing: all rows are written."""


# Reading: files that another program may have written in this format.


def locate(run: str | os.PathLike[str], kind: Kind[Any] = TRUST_RATIOS) -> pathlib.Path:
    """The file that holds the record of a run: the CSV file, if there are both.

    Raises:
        ValueError: If there is none.
    """
    path = _arguments.path("run", run)
    if path.is_file():
        return path
    if not path.is_dir():
        raise _arguments.refusal("run", "an existing folder or file", str(path))
    for name in kind.names:
        if (path / name).is_file():
            return path / name
    names = " or ".join(kind.names)
    raise ValueError(f"`run` must be a folder with {names} in it. Received: {path}, without them")


def read(path: pathlib.Path, kind: Kind[R]) -> list[R]:
    """All rows, except a last one without a line break, which an interrupted run leaves behind.

    Such a line is dropped even if it can be read, because its last number may have lost digits.
    `null` in JSON becomes NaN, and variables are strings.

    Raises:
        ValueError: If the file is something else, or holds no rows.
    """
    rows = read_any(path, kind)
    if not rows:
        raise ValueError(f"`run` must hold at least one row. Received: {path}, which has none")
    return rows


def read_any(path: pathlib.Path, kind: Kind[R]) -> list[R]:
    """Like `read`, for a file that may hold no rows."""
    if path.suffix not in (".csv", ".jsonl"):
        raise ValueError(
            f"`run` must be a folder, or a file that ends in .csv or .jsonl. Received: {path}"
        )
    try:
        # An editor may have left a byte-order mark.
        lines = path.read_text(encoding="utf-8-sig").split("\n")[:-1]
    except UnicodeDecodeError as error:
        raise ValueError(f"`run` must be a file of UTF-8 text. Received: {path}") from error
    source = _Source(path, kind)
    parse = _parse_csv if path.suffix == ".csv" else _parse_json
    return [
        _row(source, number, lines[number - 1], values) for number, values in parse(source, lines)
    ]


class _Source(NamedTuple):
    """A file, and the kind of record that it must hold."""

    path: pathlib.Path
    kind: Kind[Any]


def _parse_csv(source: _Source, lines: list[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Each row's line number, and its values by column."""
    names = _fields(source, 1, lines[0]) if lines else []
    _check_columns(source, 1, names)
    for number, line in enumerate(lines[1:], 2):
        fields = _fields(source, number, line)
        if len(fields) != len(names):
            rule = f"must have {counted(len(names), 'field')}, as line 1 has"
            raise _error(source, number, rule, line)
        values = dict(zip(names, fields))
        yield number, {**values, "variable": unescaped(values["variable"])}


def _fields(source: _Source, number: int, line: str) -> list[str]:
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        raise _error(source, number, f"must be CSV ({error})", line) from error


def _parse_json(source: _Source, lines: list[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(lines, 1):
        try:
            values = _json.parse(line)
        except ValueError as error:
            raise _error(source, number, f"must be JSON ({error})", line) from error
        if not isinstance(values, dict):
            raise _error(source, number, "must be a JSON object", line)
        _check_columns(source, number, values)
        yield number, values


def _check_columns(source: _Source, number: int, names: Iterable[str]) -> None:
    names = list(names)
    missing = [column for column in source.kind.columns if column not in names]
    if missing:
        raise ValueError(
            f"`run` must be a record of {source.kind.what}: line {number} of {source.path} lacks "
            f"{', '.join(missing)}. "
            f"Received: {shortened(', '.join(names)) or 'nothing'}"
        )
    repeated = [column for column in source.kind.columns if names.count(column) > 1]
    if repeated:
        raise ValueError(
            f"`run` must be a record of {source.kind.what}: line {number} of {source.path} must "
            f"have each column once. Received: {', '.join(repeated)} several times"
        )


def _row(source: _Source, number: int, line: str, values: Mapping[str, Any]) -> Any:
    try:
        if isinstance(values["update"], (float, bool)):
            raise TypeError("an update is an integer")
        update = int(values["update"])
        numbers = {
            name: _number(values[name])
            for name in source.kind.columns
            if name not in ("update", "variable")
        }
    except (ValueError, TypeError, OverflowError) as error:
        why = shortened(str(error))
        raise _error(source, number, f"must hold numbers ({why})", line) from error
    if not 1 <= update <= _arguments.LARGEST_INTEGER:
        raise _error(source, number, "must have an update of 1 or more, and below 2**63", line)
    variable = values["variable"]
    if not isinstance(variable, (str, int)) or isinstance(variable, bool):
        raise _error(source, number, "must name a variable", line)
    return source.kind.row(update=update, variable=str(variable), **numbers)


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError("true and false are not numbers")
    return math.nan if value is None else float(value)


def _error(source: _Source, number: int, rule: str, line: str) -> ValueError:
    return ValueError(
        f"`run` must be a record of {source.kind.what}: line {number} of {source.path} {rule}. "
        f"Received: {_arguments.shown(line)}"
    )
