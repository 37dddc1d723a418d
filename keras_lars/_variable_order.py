"""Matches variables to a saved file that lists them in another order.

Slots are saved by position. A layer that was changed after it was built may list its variables in
another order once it is built again: one that is quantized to float8 then lists its scales first.
"""

import collections
from collections.abc import Sequence
from typing import Any, NamedTuple


class Described(NamedTuple):
    """What a file says about a variable."""

    path: str
    shape: tuple[int, ...]


def described(rows: Sequence[Sequence[Any]]) -> list[Described]:
    """A list of `Described` from its JSON form.

    Raises:
        TypeError, ValueError: If the value has another form.
    """
    return [Described(str(path), tuple(int(n) for n in shape)) for path, shape in rows]


def new_positions(saved: Sequence[Described], now: Sequence[Described]) -> list[int] | None:
    """The present position of each saved variable, or None if the variables do not match.

    Variables are matched by path if all paths are the same. Paths may differ, because Keras numbers
    unnamed layers consecutively. Then variables of the same name and shape are matched in order,
    and else those of the same shape.
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
