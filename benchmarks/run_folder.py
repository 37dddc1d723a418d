"""The folder of a run: whether a run can start or resume in it, its result and its tables."""

import contextlib
import csv
import dataclasses
import io
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from benchmarks import files
from benchmarks.recipe import Execution, Recipe, RecipeError

BACKUP = "backup"  # a folder in the run folder


def check(folder: pathlib.Path, recipe: Recipe, execution: Execution) -> None:
    """Raises RecipeError unless a run can start or resume in the folder. Changes nothing."""
    try:
        nearest = next(path for path in [folder, *folder.absolute().parents] if path.exists())
    except OSError as error:  # a name that is too long
        raise RecipeError(
            f"--output_dir cannot be written ({error.strerror}). Received: {folder}"
        ) from error
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise RecipeError(f"--output_dir cannot be written. Received: {folder}")
    if nearest != folder or not any(folder.iterdir()):
        return
    if not (folder / "config.json").is_file():
        raise RecipeError(f"--output_dir must be a new or empty folder. Received: {folder}")
    if not execution.resume:
        raise RecipeError(
            "--output_dir must be a new or empty folder unless --resume is given. "
            f"Received: {folder}, which holds a run"
        )
    existing, asked = _identity_of(folder), _identity(recipe, execution)
    differing = [name for name in asked if existing.get(name) != asked[name]]
    if differing:
        differences = ", ".join(
            f"--{name}={asked[name]} instead of {existing.get(name)}" for name in differing
        )
        raise RecipeError(
            "--resume must be given with the settings of the run in --output_dir, "
            f"{folder}. Received: {differences}"
        )


def _identity(recipe: Recipe, execution: Execution) -> dict[str, Any]:
    """The settings that must not change when a run resumes, in the types that JSON returns."""
    how = {"micro_batch_size": execution.micro_batch_size}
    return json.loads(json.dumps({**dataclasses.asdict(recipe), **how}))


def _identity_of(folder: pathlib.Path) -> dict[str, Any]:
    with _run_file(folder / "config.json") as config:
        identity = {**config["recipe"], "micro_batch_size": config["micro_batch_size"]}
    return identity


def result(folder: pathlib.Path) -> dict | None:
    """The result of a finished run; None if it is not finished."""
    path = folder / "result.json"
    if not path.is_file():
        return None
    with _run_file(path) as found:
        reached = {**found}  # raises TypeError if it is not an object
    return reached


@contextlib.contextmanager
def _run_file(path: pathlib.Path) -> Iterator[Any]:
    """The JSON content of a file. Reports an error in the block as a file of no run."""
    try:
        yield json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecipeError(
            f"--output_dir must hold the {path.name} of a run. Received: {path.parent}"
        ) from error


def write_table(path: pathlib.Path, columns: Sequence[str], rows: Iterable[dict]) -> None:
    """Writes rows as CSV. Missing values are blank."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    files.write_text(path, text.getvalue())


def read_table(path: pathlib.Path) -> list[dict]:
    """The rows of a CSV file, with numbers parsed and None for blanks."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {name: _value(text) for name, text in row.items()}
            for row in csv.DictReader(file)
            if None not in row.values()  # a line that was cut off
        ]


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text or None
