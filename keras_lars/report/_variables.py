"""`variables.json`: how each variable is treated, and the settings of the optimizer."""

import collections
import dataclasses
import json
import pathlib
from typing import Any

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
        found = json.loads(path.read_text(encoding="utf-8"))
        rows = sorted(found["variables"], key=lambda row: row["position"])
        return Description(dict(found["optimizer"]), dict(found["versions"]), _variables(rows))
    except (ValueError, TypeError) as error:
        raise _error(path, str(error)) from error
    except KeyError as error:
        raise _error(path, f"no {error}") from error


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
