"""Reads JSON from files that may be damaged, and makes non-finite numbers fit for JSON."""

import json
import math
from typing import Any

_DEEPEST = 100  # levels of nesting; the files of this package have fewer than ten


def parse(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: If the text is not JSON, is nested too deeply, or has a number with too many
            digits.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return value
    raise ValueError("nested too deeply")


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def finite(value: object) -> Any:
    """The value with None in place of each number that is not finite."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
