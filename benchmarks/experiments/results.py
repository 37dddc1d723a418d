"""The results of an experiment: its settings, and one row per finished training.

`results.json` has `experiment`, `settings`, `environments` (versions and device), `planned`, and
`rows`. Each row has `name`, `label`, `settings`, `result` and the index of its `environment`.
`results.csv` holds the rows for other programs.
"""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import pandas as pd

from benchmarks import files
from benchmarks.command_line import read_json
from benchmarks.recipe import RecipeError

NORMS = ("weight_norm", "gradient_norm", "trust_ratio")
_PARTS = ("settings", "environments", "planned", "rows")


def write(path: pathlib.Path, found: dict) -> None:
    """Writes results as JSON, one line per row, and as CSV beside it."""
    found = files.finite(found)
    head = json.dumps({**found, "rows": []}, indent=1).removesuffix("[]\n}")
    rows = ",\n".join(map(json.dumps, found["rows"]))
    files.write_text(path, f"{head}[\n{rows}\n]\n}}\n")
    text = flat(found).to_csv(index=False, lineterminator="\r\n")
    files.write_text(path.with_suffix(".csv"), text)


def read(path: str | os.PathLike[str], flag: str, experiment: str) -> dict:
    """Reads a result file, which `flag` names in errors.

    Raises:
        RecipeError: If the file cannot be read, or belongs to another experiment.
    """
    found = read_json(path, flag)
    if not isinstance(found, dict):
        raise RecipeError(f"{flag} must be a result file. Received: {path}")
    missing = [name for name in _PARTS if name not in found]
    if found.get("experiment") != experiment or missing:
        what = f"without {missing[0]}" if missing else f"of {found.get('experiment')}"
        raise RecipeError(f"{flag} must be results of {experiment}. Received: {path}, {what}")
    return found


# --- as data frames -------------------------------------------------------------------------------


def frame(found: dict) -> pd.DataFrame:
    """One row per training.

    The parts of `label` and `result` are also separate columns. `percent` is the accuracy, `failed`
    is true if the training diverged, and `line` is its label in words, for legends.
    """
    table = pd.DataFrame([{**row["result"], **row["label"], **row} for row in found["rows"]])
    accuracy = table.get("test_accuracy", table.get("validation_accuracy"))
    return table.assign(
        percent=100 * accuracy.astype(float),
        failed=table["diverged"].astype(bool),
        line=table["label"].map(words),
    )


def by_epoch(found: dict) -> pd.DataFrame:
    """One row per training and epoch, with the quantities of the history as columns.

    `percent` is the accuracy in the epoch. `failed` is true if the training diverged in it.
    """
    table = frame(found)
    histories = {number: pd.DataFrame(history) for number, history in table["history"].items()}
    long = pd.concat(histories, names=["training", "epoch"]).reset_index("epoch")
    long["epoch"] += 1
    long = table.drop(columns=["epoch", "epochs"], errors="ignore").join(long.astype(float))
    last = ~long.index.duplicated(keep="last")
    long = long.assign(failed=last & long["failed"], last=last, percent=100 * long["val_accuracy"])
    return long.reset_index(drop=True)


def by_record(found: dict) -> pd.DataFrame:
    """One row per training, variable and record, with norms and trust ratio."""
    rows = [
        {"training": number, "variable": variable, **dict(zip(norms, values))}
        for number, row in enumerate(found["rows"])
        for variable, norms in row["norms"].items()
        for values in zip(*norms.values())
    ]
    records = pd.DataFrame(rows).set_index("training")
    table = frame(found).join(records).reset_index(drop=True)
    return table.assign(seed=table["settings"].str["seed"], failed=False)


def flat(found: dict) -> pd.DataFrame:
    """A table of numbers and text: one row per record of a variable, or else per training."""
    if any(row.get("norms") for row in found["rows"]):
        label = found["rows"][0]["label"]
        return by_record(found)[["name", *label, "seed", "variable", "epoch", *NORMS]]
    rows = [{**row, **row["settings"], **row["result"], **row["label"]} for row in found["rows"]]
    nested = ["label", "settings", "result", "environment", "history", "norms"]
    return pd.DataFrame(rows, dtype=object).drop(columns=nested, errors="ignore")


def select(table: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """The rows in which each named column has the given value."""
    return table[(table[[*wanted]] == pd.Series(wanted)).all(axis=1)]


# --- in words -------------------------------------------------------------------------------------


def words(label: Mapping[str, str | float]) -> str:
    """A label as text."""
    return ", ".join(
        value if isinstance(value, str) else f"{name} {value:g}" for name, value in label.items()
    )


def cell(value: str | float | None) -> str:
    """A value in a table; blank if it is missing."""
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):
        return ""
    return f"{value:.4g}" if value % 1 else f"{value:.0f}"


def describe(result: dict) -> str:
    """The result of a run in words."""
    reached = result.get("test_accuracy", result.get("validation_accuracy"))
    if result["diverged"]:
        update = result.get("diverged_at_update")
        text = "diverged" + (f" at update {update}" if update else "")
    else:
        text = "done" if reached is None else f"{reached:.1%}"
    return f"{text} in {result['seconds']:.0f} s"


def as_json(value: Any) -> Any:
    """A value after a round trip through JSON."""
    return json.loads(json.dumps(value))
