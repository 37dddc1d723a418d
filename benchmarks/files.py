"""Atomic writes, under a temporary name until a file is complete, and tables kept as CSV files."""

import csv
import json
import math
import os
import pathlib
from typing import Any


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file without converting line ends. If this fails, the old file stays.

    It is on the disk before it is renamed, because a crash may leave a renamed file empty.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(path.name + ".temporary")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes JSON, with null for numbers that are not finite, which JSON cannot represent."""
    write_text(path, json.dumps(finite(value), indent=1) + "\n")


def finite(value: Any) -> Any:
    """The value, with None in place of each number that is not finite."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def csv_lines(path: pathlib.Path) -> list[dict[str, str]]:
    """The lines of a CSV file by column name, without comments, which begin with #."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))
