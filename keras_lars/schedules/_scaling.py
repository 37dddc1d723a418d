"""The learning rate for a batch size, by either of the two usual rules."""

import math

from keras_lars import _arguments


def linear_scaling(
    base_learning_rate: float, global_batch_size: int, base_batch_size: int = 256
) -> float:
    """The learning rate for a batch size, in proportion to the batch size.

    Use it mainly with SGD, to adapt a rate from a small batch size to a somewhat larger one. For
    very large batches, and for LARS, the best rate grows more slowly: start from `sqrt_scaling` and
    tune.

    ```python
    base_learning_rate * global_batch_size / base_batch_size
    ```

    Args:
        base_learning_rate: Float, 0 or more: the rate that works at `base_batch_size`.
        global_batch_size: Integer, 1 or more: the samples in one update, over all replicas and
            accumulated micro-batches.
        base_batch_size: Integer, 1 or more. Defaults to 256.

    Raises:
        ValueError: If an argument is invalid.

    Example:

    >>> linear_scaling(0.1, 8192)
    3.2

    Reference: [Goyal et al., 2017](https://arxiv.org/abs/1706.02677), section 2.1.
    """
    rate, size, base = _scaling(base_learning_rate, global_batch_size, base_batch_size)
    return rate * size / base


def sqrt_scaling(
    base_learning_rate: float, global_batch_size: int, base_batch_size: int = 256
) -> float:
    """The learning rate for a batch size, in proportion to the square root of the batch size.

    Use it as a first guess for LARS at a larger batch size. Begin with 4 at a batch size of 128,
    and do not go far above 30.

    ```python
    base_learning_rate * (global_batch_size / base_batch_size) ** 0.5
    ```

    Args:
        base_learning_rate: Float, 0 or more: the rate that works at `base_batch_size`.
        global_batch_size: Integer, 1 or more: the samples in one update, over all replicas and
            accumulated micro-batches.
        base_batch_size: Integer, 1 or more. Defaults to 256.

    Raises:
        ValueError: If an argument is invalid.

    Example:

    >>> sqrt_scaling(4.0, 4096, base_batch_size=64)
    32.0

    Reference: [Krizhevsky, 2014](https://arxiv.org/abs/1404.5997): the variance of the gradient
    falls with the batch size, and this rate keeps the variance of the update constant.
    """
    rate, size, base = _scaling(base_learning_rate, global_batch_size, base_batch_size)
    return rate * math.sqrt(size / base)


def _scaling(
    base_learning_rate: object, global_batch_size: object, base_batch_size: object
) -> tuple[float, int, int]:
    return (
        _arguments.number()("base_learning_rate", base_learning_rate),
        _arguments.integer(minimum=1)("global_batch_size", global_batch_size),
        _arguments.integer(minimum=1)("base_batch_size", base_batch_size),
    )
