"""`variables.json`: how each variable is treated, and the settings of the optimizer."""

import collections
import dataclasses
import pathlib
from typing import Any

from keras_lars import _arguments, _json

NAME = "variables.json"


@dataclasses.dataclass(frozen=True)
class Variable:
    """One variable; what is not known, for want of `variables.json`, is None."""

    key: str  # what the rows of the record call it
    name: str  # what a person calls it, another one for each variable
    shape: tuple | None = None
    adapted: bool | None = None
    adaptation_rule: str = ""
    decayed: bool | None = None
    decay_rule: str = ""

    @property
    def is_matrix(self) -> bool | None:
        """Whether it is a kernel, or another variable of rank 2 or more; None if not known."""
        return None if self.shape is None else len(self.shape) >= 2


@dataclasses.dataclass(frozen=True)
class Description:
    """What `variables.json` holds."""

    optimizer: dict[str, Any]
    versions: dict[str, Any]
    variables: list[Variable]


def read(folder: pathlib.Path) -> Description | None:
    """The description in a folder; None where there is none.

    Raises:
        ValueError: If the file is something else.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        # An editor may have left a byte-order mark.
        found = _of(dict, _json.parse(path.read_text(encoding="utf-8-sig")))
        rows = [_variable(row) for row in _of(list, found["variables"])]
        rows.sort(key=lambda row: row["position"])
        optimizer, versions = (_of(dict, found[name]) for name in ("optimizer", "versions"))
        _arguments.number()("weight_norm_floor", optimizer.get("weight_norm_floor", 0.0))
        return Description(optimizer, versions, _variables(rows))
    except (ValueError, TypeError) as error:
        raise _error(path, str(error)) from error
    except KeyError as error:
        raise _error(path, f"no {error}") from error


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{_arguments.shown(value)} in the place of a {kind.__name__}")
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


def _variable(row: Any) -> dict:
    for name, kind in _KINDS.items():
        _of(kind, _of(dict, row)[name])
    for size in row["shape"]:
        _arguments.integer(minimum=0)("shape", size)
    return row


def _variables(rows: list[dict]) -> list[Variable]:
    counts = collections.Counter(row["path"] for row in rows)
    return [
        Variable(
            # As in `LARS.trust_ratios`: the position where several share a path.
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
