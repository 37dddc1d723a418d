"""The folder of a run: whether a run may start or resume in it, its result, and its tables."""

import csv
import dataclasses
import io
import json
import os
import pathlib
from typing import Any

from benchmarks import files
from benchmarks.recipe import Execution, Recipe, RecipeError

BACKUP = "backup"  # a folder in the run folder


def check(folder: pathlib.Path, recipe: Recipe, execution: Execution) -> None:
    """Raises RecipeError unless a run can start in the folder, or resume. Changes nothing."""
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
        raise RecipeError(f"--output_dir must be a new folder, or an empty one. Received: {folder}")
    if not execution.resume:
        raise RecipeError(
            "--output_dir must be a new folder, or an empty one, unless --resume is given. "
            f"Received: {folder}, which holds a run"
        )
    there, asked = _identity_of(folder), _identity(recipe, execution)
    differing = [name for name in asked if there.get(name) != asked[name]]
    if differing:
        differences = ", ".join(
            f"--{name}={there.get(name)} there, {asked[name]} now" for name in differing
        )
        raise RecipeError(
            f"--resume must be of the run in --output_dir, {folder}. Received: {differences}"
        )


def _identity(recipe: Recipe, execution: Execution) -> dict[str, Any]:
    """What may not change when a run resumes, as JSON returns it."""
    how = {"micro_batch_size": execution.micro_batch_size}
    return json.loads(json.dumps({**dataclasses.asdict(recipe), **how}))


def _identity_of(folder: pathlib.Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8-sig"))
        return {**config["recipe"], "micro_batch_size": config["micro_batch_size"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecipeError(
            f"--output_dir holds a config.json of something else: {folder}"
        ) from error


def result(folder: pathlib.Path) -> dict | None:
    """What a finished run reached; None if it is not finished."""
    path = folder / "result.json"
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
        return {**found}  # a TypeError where it is no object
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise RecipeError(
            f"--output_dir holds a result.json of something else: {folder}"
        ) from error


class Table:
    """A CSV file to which rows are added, each of them on the disk at once.

    Args:
        path: The file. Rows that it has already are kept as long as their first column is below
            `start`: the rest was written after the backup, and will be written once more.
        columns: Names; the first one counts up.
        start: The count at which the run resumes.
    """

    def __init__(self, path: pathlib.Path, columns: list[str], start: int = 0):
        self._path, self._columns = path, columns
        kept = [row for row in read_table(path) if row[columns[0]] < start] if start else []
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows(kept)
        files.write_text(path, text.getvalue())

    def add(self, rows: list[dict]) -> None:
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns).writerows(rows)


def read_table(path: pathlib.Path) -> list[dict]:
    """The rows of a `Table`, with numbers as numbers and None where there is nothing."""
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
