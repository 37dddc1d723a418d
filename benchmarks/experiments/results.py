"""The results of an experiment: what was asked for, and a row for each training that is done.

`results.json` holds `experiment`, `settings`, `environments` (versions and device), `planned`, and
`rows`, each with its `name`, `label`, `settings`, `result` and the number of its `environment`.
Files of earlier versions, which the committed ones are, are read as well: see `earlier_results`.
"""

import itertools
import json
import os
import pathlib
from collections.abc import Iterable
from typing import Any

import pandas as pd

from benchmarks import files, frames
from benchmarks.command_line import read_json, results_of
from benchmarks.environment import in_words
from benchmarks.experiments import earlier_results
from benchmarks.recipe import RecipeError

_PARTS = ("settings", "environments", "planned", "rows")


def gather(experiment: str, settings: dict, planned: int, rows: Iterable[dict]) -> dict:
    """Results as they are written.

    Args:
        experiment: Its name.
        settings: What was asked for.
        planned: How many rows there will be.
        rows: What `Sweep.rows` returns.
    """
    environments: list[dict] = []
    found = []
    for row in rows:
        environment = {name: row[name] for name in ("versions", "device")}
        if environment not in environments:
            environments.append(environment)
        rest = {name: value for name, value in row.items() if name not in environment}
        found.append({**rest, "environment": environments.index(environment)})
    return {
        "experiment": experiment,
        "settings": settings,
        "environments": environments,
        "planned": planned,
        "rows": found,
    }


def write(path: str | os.PathLike[str], found: dict) -> None:
    """Writes results, each row in a line."""
    found = files.finite(found)
    head = json.dumps({**found, "rows": []}, indent=1).removesuffix("[]\n}")
    rows = ",\n".join(map(json.dumps, found["rows"]))
    files.write_text(path, f"{head}[\n{rows}\n]\n}}\n")


def read(path: str | os.PathLike[str], flag: str, experiment: str) -> dict:
    """The results in a file.

    Args:
        path: The file.
        flag: Which names it.
        experiment: Whose they are.

    Raises:
        RecipeError: If it cannot be read, or is of another experiment.
    """
    found = read_json(path, flag)
    if not isinstance(found, dict):
        raise RecipeError(f"{flag} must be a file of results. Received: {path}")
    with results_of(path, flag):
        found = earlier_results.as_today(found)
    missing = [name for name in _PARTS if name not in found]
    if found.get("experiment") != experiment or missing:
        what = f"without {missing[0]}" if missing else f"of {found.get('experiment')}"
        raise RecipeError(f"{flag} must be results of {experiment}. Received: {path}, {what}")
    return found


def frame(found: dict) -> pd.DataFrame:
    """Results as a data frame, with the parts of `label` and `result` in columns of their own."""
    rows = [{**row["result"], **row["label"], **row} for row in found["rows"]]
    return frames.frame({**found, "rows": rows})


def of(table: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """The rows that have these values."""
    chosen = pd.Series(True, table.index)
    for name, value in wanted.items():
        chosen &= table[name] == value
    return table[chosen]


def by_seed(table: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows that differ in the seed alone, together."""
    labels = table["label"].map(json.dumps)
    return [group for _, group in table.groupby(labels, sort=False)]


def accuracy(table: pd.DataFrame) -> pd.Series:
    """In percent on held-out images, without trainings that diverged."""
    reached = table.loc[~table["diverged"].astype(bool), "validation_accuracy"]
    return 100 * reached.astype(float)


def flat(found: dict) -> list[dict]:
    """A row for each training, for the CSV file: what was trained, and what it reached."""
    return [
        {"name": row["name"], **row["settings"], **row["result"], **row["label"]}
        for row in found["rows"]
    ]


def write_table(path: pathlib.Path, rows: list[dict]) -> None:
    """Writes rows as CSV."""
    text = pd.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\r\n")
    files.write_text(path, text)


def describe(result: dict) -> str:
    """What a run reached, in words."""
    reached = result.get("test_accuracy", result.get("validation_accuracy"))
    if result["diverged"]:
        update = result.get("diverged_at_update")
        text = "diverged" + (f" at update {update}" if update else "")
    else:
        text = "done" if reached is None else f"{reached:.1%}"
    return f"{text} in {result['seconds']:.0f} s"


def environments(*found: dict) -> list[str]:
    """The versions and devices of results, a line each."""
    every = itertools.chain(*(each["environments"] for each in found))
    return list(dict.fromkeys(in_words(each["versions"], each["device"]) for each in every))


def as_json(value: Any) -> Any:
    """A value as it is read again."""
    return json.loads(json.dumps(value))
