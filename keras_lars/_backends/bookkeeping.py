"""What an optimizer keeps besides weights and velocities: averages of the weights, and records."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_lars._types import Tensor
from keras_lars._update_rule import Record

# Norms and ratios are never negative, so this marks a variable that was never updated.
NEVER_UPDATED = -1.0


def moving_average(average: Tensor, w: Tensor, ema_momentum: float, updates_done: Tensor) -> Tensor:
    """The exponential moving average as in Keras: the first one is the weight itself."""
    momentum = momentum_of_average(ema_momentum, updates_done, average.dtype)
    return momentum * average + (1 - momentum) * w


def momentum_of_average(ema_momentum: float, updates_done: Tensor, dtype: Any) -> Tensor:
    """The momentum of the average: 0 in the first update, when there is no average yet."""
    return ops.cast(updates_done != 0, dtype) * ema_momentum


def part_squares(squares: Sequence[Tensor], positions: Sequence[int], like: Tensor) -> Tensor:
    """What one part adds to `Squares.parts`: squared norms (0 without a gradient), then a 1."""
    rows = {i: ops.cast(square, like.dtype) for i, square in zip(positions, squares)}
    zero = ops.zeros([], like.dtype)
    rows[like.shape[0] - 1] = zero + 1
    return ops.stack([rows.get(i, zero) for i in range(like.shape[0])])


def merge_records(
    old: Tensor, positions: Sequence[int], records: Sequence[Record | None]
) -> Tensor:
    """`old`, of shape (variables, 3), with the rows at `positions` replaced."""
    rows = {
        position: ops.stack([ops.cast(value, old.dtype) for value in record])
        for position, record in zip(positions, records)
        if record is not None
    }
    return ops.stack([rows[i] if i in rows else old[i] for i in range(old.shape[0])])
