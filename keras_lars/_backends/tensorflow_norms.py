"""Euclidean norms for XLA on the CPU: as accurate as a float64 sum, as fast as memory is read."""

import math

import tensorflow as tf

# The first stage adds `_ROWS` rows, and each later stage adds as many sums as `_LEVELS` says. XLA
# uses a slower loop for more than 32 summands. More than 8 rows that are a multiple of a page apart
# would compete for the same place in the processor's cache.
_ROWS, _LEVELS = 4, (32, 32)
_BLOCK = _ROWS * math.prod(_LEVELS)
# Fewer elements than this are summed by a single loop, which is faster to compile.
_SMALL = 2**15


def staged_norms(*tensors: tf.Tensor) -> list[tf.Tensor]:
    """The Euclidean norms of tensors of one size, for XLA on the CPU, in stages and in float64.

    XLA turns a full reduction into a serial loop, the slowest and least accurate way to add. It
    fuses sums of a few numbers into one loop that only waits for memory, so float64 costs nothing.
    """
    size = tensors[0].shape.num_elements()
    whole = size // _BLOCK * _BLOCK if size >= _SMALL else 0
    flat = [tf.reshape(x, [-1]) for x in tensors]
    # The incomplete last block is added separately, because padding would copy the variable.
    rest = [_sum_of_squares(x[whole:] if whole else x) for x in flat] if whole < size else None
    if whole:
        sums = [_staged_sum_of_squares(x[:whole] if rest else x) for x in flat]
        sums = [a + b for a, b in zip(sums, rest)] if rest else sums
    else:
        sums = rest or [tf.zeros([], tf.float64) for _ in flat]
    return [tf.cast(tf.sqrt(total), x.dtype) for total, x in zip(sums, tensors)]


def _sum_of_squares(x: tf.Tensor) -> tf.Tensor:
    row = tf.cast(tf.reshape(x, [1, -1]), tf.float64)
    return tf.reshape(tf.matmul(row, row, transpose_b=True), [])


def _staged_sum_of_squares(x: tf.Tensor) -> tf.Tensor:
    rows = tf.cast(tf.reshape(x, [_ROWS, -1]), tf.float64)
    sums = _opaque(tf.reduce_sum(rows * rows, axis=0))
    for length in _LEVELS:
        sums = _opaque(tf.reduce_sum(tf.reshape(sums, [-1, length]), axis=1))
    return tf.reduce_sum(sums)


def _opaque(sums: tf.Tensor) -> tf.Tensor:
    # This changes nothing, because no sum of squares is negative. XLA does not know that, so it
    # does not merge two sums into a single slow one. (Its optimization barrier would do the same,
    # but takes longer to compile, has no gradient, and is not public in TensorFlow.)
    return tf.maximum(sums, tf.constant(0, sums.dtype))
