"""The folder of a run: whether a run can start or resume in it, its result and its tables."""

import csv
import dataclasses
import io
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks import files
from benchmarks.recipe import Execution, Recipe, RecipeError

BACKUP = "backup"  # a folder in the run folder


def check(
    folder: pathlib.Path, recipe: Recipe, execution: Execution, is_chief: bool = True
) -> int | None:
    """Raises RecipeError unless a run can start or resume in the folder. Changes nothing.

    Only the chief worker must be able to write.

    Returns:
        The updates per epoch of the run in the folder; None if there is none.
    """
    try:
        nearest = next(path for path in [folder, *folder.absolute().parents] if path.exists())
    except OSError as error:  # a name that is too long
        raise RecipeError(
            f"--output_dir cannot be written ({error.strerror}). Received: {folder}"
        ) from error
    needed = os.X_OK | (os.W_OK if is_chief else 0)
    if not nearest.is_dir() or not os.access(nearest, needed):
        raise RecipeError(f"--output_dir cannot be written. Received: {folder}")
    # A process that is killed may leave a temporary file.
    if nearest != folder or all(path.name.endswith(files.TEMPORARY) for path in folder.iterdir()):
        return None
    if not (folder / "config.json").is_file():
        raise RecipeError(f"--output_dir must be a new or empty folder. Received: {folder}")
    if not execution.resume:
        raise RecipeError(
            "--output_dir must be a new or empty folder unless --resume is given. "
            f"Received: {folder}, which holds a run"
        )
    asked = {**dataclasses.asdict(recipe), "micro_batch_size": execution.micro_batch_size}
    existing = _read(folder / "config.json", lambda config: {**config["recipe"], **config})
    differing = [
        f"--{name}={value} instead of {existing.get(name)}"
        for name, value in asked.items()
        if existing.get(name) != value
    ]
    if differing:
        raise RecipeError(
            "--resume must be given with the settings of the run in --output_dir, "
            f"{folder}. Received: {', '.join(differing)}"
        )
    return existing.get("updates_per_epoch")


def result(folder: pathlib.Path) -> dict | None:
    """The result of a finished run; None if it is not finished."""
    path = folder / "result.json"
    return _read(path, lambda found: {**found}) if path.is_file() else None


def delete_backup(folder: pathlib.Path) -> None:
    """Deletes the backup of a run that is finished."""
    shutil.rmtree(folder / BACKUP, ignore_errors=True)


def _read(path: pathlib.Path, convert: Callable[[Any], dict]) -> dict:
    """The converted content of a JSON file. An error means that it is not the file of a run."""
    try:
        return convert(json.loads(path.read_text(encoding="utf-8-sig")))
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
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        lines = (line.replace("\0", "") for line in file)  # Python 3.10 refuses NUL
        return [
            {name: _value(text) for name, text in row.items()}
            for row in csv.DictReader(lines)
            if None not in [*row, *row.values()]  # a line that is too long or was cut off
        ]


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text or None
