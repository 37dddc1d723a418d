"""Files that are whole at any time: written beside their place, and put there once complete."""

import contextlib
import json
import math
import os
import pathlib
from typing import Any


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file, or leaves what was there. Line ends stay as they are."""
    path = pathlib.Path(path)
    temporary = path.with_name(path.name + ".temporary")
    try:
        temporary.write_text(text, encoding="utf-8", newline="")
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes JSON, with null for numbers that are not finite: JSON has no other word for them."""
    write_text(path, json.dumps(finite(value), indent=1) + "\n")


def finite(value: Any) -> Any:
    """The value with None for numbers in it that are not finite."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
