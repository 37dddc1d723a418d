"""Which variable is which, where a reload lists them in another order than the file.

Slots are saved by position. A layer that is built again may list its variables in another order
than one that was changed after it was built: quantized to float8, it lists its scales first.
"""

import collections
from collections.abc import Sequence
from typing import Any, NamedTuple


class Described(NamedTuple):
    """What a file holds of a variable."""

    path: str
    shape: tuple[int, ...]


def described(rows: Sequence[Sequence[Any]]) -> list[Described]:
    """From what JSON makes of such a list.

    Raises:
        TypeError, ValueError: If it is something else.
    """
    return [Described(str(path), tuple(int(n) for n in shape)) for path, shape in rows]


def new_positions(saved: Sequence[Described], now: Sequence[Described]) -> list[int] | None:
    """Where each saved variable is now, or None where that cannot be told.

    By path where all paths are the same. Keras counts anonymous layers on from those that there
    are, so that paths may change; then each variable is the next one of the same name and shape.
    """
    for key in (lambda v: v.path, lambda v: (v.path.split("/")[-1], v.shape), lambda v: v.shape):
        found = _matched([key(v) for v in saved], [key(v) for v in now])
        if found is not None:
            return found
    return None


def _matched(saved: list[Any], now: list[Any]) -> list[int] | None:
    if collections.Counter(saved) != collections.Counter(now):
        return None
    positions: dict[Any, collections.deque[int]] = collections.defaultdict(collections.deque)
    for position, key in enumerate(now):
        positions[key].append(position)
    return [positions[key].popleft() for key in saved]
