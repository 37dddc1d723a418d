"""JSON: out of files that anybody may have written, and of numbers that it has no word for."""

import json
import math
from typing import Any

_DEEPEST = 100  # levels; the files that this package writes have less than ten


def parse(text: str) -> Any:
    """What a text says.

    Raises:
        ValueError: If it is no JSON, is nested too deeply, or has numbers of too many digits.
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


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def finite(value: Any) -> Any:
    """The same, with None for each number that is not finite."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
