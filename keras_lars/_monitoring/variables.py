"""`variables.json`: how each variable is treated, and the settings of the optimizer."""

import collections
import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras

from keras_lars import _arguments, _json
from keras_lars._accumulation import plain
from keras_lars._monitoring import files
from keras_lars._version import __version__

if TYPE_CHECKING:
    from keras_lars.optimizer import LARS

NAME = "variables.json"


@dataclasses.dataclass(frozen=True)
class Variable:
    """One variable. What is not known without `variables.json` is None."""

    key: str  # its name in the rows of the record
    name: str  # its name for people, different for each variable
    shape: tuple[int, ...] | None = None
    adapted: bool | None = None
    adaptation_rule: str = ""
    decayed: bool | None = None
    decay_rule: str = ""

    @property
    def is_matrix(self) -> bool | None:
        """Whether it is a kernel or another variable of rank 2 or more; None if not known."""
        return None if self.shape is None else len(self.shape) >= 2


@dataclasses.dataclass(frozen=True)
class Description:
    """What `variables.json` holds."""

    optimizer: dict[str, Any]
    versions: dict[str, Any]
    variables: list[Variable]

    @property
    def weight_norm_floor(self) -> float:
        """The argument of `LARS`; 0 in records of versions that did not have it."""
        return float(self.optimizer.get("weight_norm_floor", 0.0))


# Writing.


def contents(optimizer: "LARS") -> dict[str, Any]:
    """Everything that does not change during training, in a form that JSON can hold."""
    return {
        "optimizer": {
            "learning_rate": _learning_rate(optimizer),
            "weight_decay": optimizer.weight_decay,
            "weight_norm_floor": optimizer.weight_norm_floor,
            **dataclasses.asdict(optimizer._update.config),
            "gradient_accumulation_steps": plain(optimizer.gradient_accumulation_steps),
        },
        "versions": {
            "keras_lars": __version__,
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
        },
        "variables": [
            {**row._asdict(), "shape": list(row.shape)} for row in optimizer.variable_table()
        ],
    }


def _learning_rate(optimizer: "LARS") -> Any:
    """A number, or the configuration of a schedule, or its class if it has none."""
    schedule = optimizer._schedule
    if schedule is None:
        return optimizer._last_learning_rate()
    try:
        return keras.saving.serialize_keras_object(schedule)
    except NotImplementedError:  # a schedule without `get_config`
        return type(schedule).__name__


def write(folder: pathlib.Path, contents: dict[str, Any]) -> None:
    """Write the file, completely or not at all."""
    text = json.dumps(_json.finite(contents), indent=1) + "\n"
    files.write(folder, {NAME: text.encode("utf-8")})


class DescriptionWriter:
    """Writes `contents` as `record.Writer` does rows: when it begins, and if the file is gone."""

    def __init__(self, folder: pathlib.Path):
        self.path = folder / NAME
        self.contents: dict[str, Any] = {}

    def check(self) -> None:
        """Do nothing: an existing file is replaced."""

    def begin(self, update: int) -> None:
        del update
        write(self.path.parent, self.contents)

    def add(self, rows: Sequence[Any]) -> None:
        del rows
        if not self.path.is_file():
            write(self.path.parent, self.contents)

    def end_epoch(self, update: int) -> None:
        """Do nothing: all is written."""


# Reading.


def read(folder: pathlib.Path) -> Description | None:
    """The description in a folder, or None if there is none.

    Raises:
        ValueError: If the file is something else.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        # An editor may have left a byte-order mark.
        return parsed(_json.parse(path.read_text(encoding="utf-8-sig")))
    except (ValueError, TypeError) as error:
        raise _error(path, str(error)) from error
    except KeyError as error:
        raise _error(path, f"no {error}") from error


def parsed(contents: object) -> Description:
    """The description from the file's contents. Raises ValueError, TypeError or KeyError."""
    found = _of(dict, contents)
    rows = [_checked_row(row) for row in _of(list, found["variables"])]
    rows.sort(key=lambda row: int(row["position"]))
    optimizer, versions = (_of(dict, found[name]) for name in ("optimizer", "versions"))
    _arguments.number()("weight_norm_floor", optimizer.get("weight_norm_floor", 0.0))
    return Description(optimizer, versions, _variables(rows))


def _of(kind: type, value: object) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{_arguments.shown(value)} is not of type {kind.__name__}")
    return value


_KINDS = {
    "position": int,
    "path": str,
    "shape": list,
    "adapted": bool,
    "adaptation_rule": str,
    "decayed": bool,
    "decay_rule": str,
}


def _checked_row(row: Any) -> dict[str, Any]:
    found = {name: _of(kind, _of(dict, row)[name]) for name, kind in _KINDS.items()}
    for size in found["shape"]:
        _arguments.integer(minimum=0)("shape", size)
    return found


def _variables(rows: list[dict[str, Any]]) -> list[Variable]:
    counts = collections.Counter(row["path"] for row in rows)
    return [
        Variable(
            # As in `LARS.trust_ratios`: the position if several variables share a path.
            key=row["path"] if counts[row["path"]] == 1 else str(row["position"]),
            name=row["path"] if counts[row["path"]] == 1 else f"{row['path']} ({row['position']})",
            shape=tuple(row["shape"]),
            adapted=row["adapted"],
            adaptation_rule=row["adaptation_rule"],
            decayed=row["decayed"],
            decay_rule=row["decay_rule"],
        )
        for row in rows
    ]


def _error(path: pathlib.Path, what: str) -> ValueError:
    return ValueError(
        f"`run` must have a {NAME} as `TrustRatioMonitor` writes it, or none. "
        f"Received: {path} ({what})"
    )
