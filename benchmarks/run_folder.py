"""The folder of a run: whether a run may start or resume in it, its result, and its tables."""

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
    with _of_a_run(folder / "config.json") as config:
        identity = {**config["recipe"], "micro_batch_size": config["micro_batch_size"]}
    return identity


def result(folder: pathlib.Path) -> dict | None:
    """What a finished run reached; None if it is not finished."""
    path = folder / "result.json"
    if not path.is_file():
        return None
    with _of_a_run(path) as found:
        reached = {**found}  # a TypeError where it is no object
    return reached


@contextlib.contextmanager
def _of_a_run(path: pathlib.Path) -> Iterator[Any]:
    """What a file holds. An error inside means that it holds something else."""
    try:
        yield json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecipeError(
            f"--output_dir holds a {path.name} of something else: {path.parent}"
        ) from error


def write_table(path: pathlib.Path, columns: Sequence[str], rows: Iterable[dict]) -> None:
    """Writes rows as CSV, blank where there is nothing."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    files.write_text(path, text.getvalue())


def read_table(path: pathlib.Path) -> list[dict]:
    """The rows of a CSV file, with numbers as numbers and None where there is nothing."""
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
