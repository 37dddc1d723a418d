"""The update of one variable on TensorFlow: in place, compiled by XLA or as plain ops.

Keras turns XLA off on machines without a GPU and under every `tf.distribute` strategy, so the
update is compiled by itself. Both functions take this replica's component of a variable, never a
distributed one.
"""

import functools
import math

import tensorflow as tf

from keras_lars._update_rule import Record, Rule, Treatment, lars_update, plain_norms

# The first sums are those of so many rows, the next ones those of so many sums each. XLA sums more
# than 32 at a time with a slower loop, and more than 8 rows that are a multiple of a page apart
# compete for one place in the processor's cache.
_ROWS, _LEVELS = 4, (32, 32)
_BLOCK = _ROWS * math.prod(_LEVELS)
# Fewer elements than this are summed by a single loop, which is faster to compile.
_SMALL = 2**15


def staged_norms(*tensors: tf.Tensor) -> list[tf.Tensor]:
    """The Euclidean norms of tensors of one size, for XLA on the CPU: in stages, in float64.

    XLA turns a full reduction into a serial loop, the slowest and the least accurate way to add.
    Sums of few numbers at a time it fuses into one loop that waits for nothing but memory, so that
    float64 costs nothing.
    """
    size = tensors[0].shape.num_elements()
    whole = size // _BLOCK * _BLOCK if size >= _SMALL else 0
    flat = [tf.reshape(x, [-1]) for x in tensors]
    # What is left of the last block is added by itself: padding would copy the variable.
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
    # Changes nothing, as no sum of squares is negative, but XLA does not know, and keeps two sums
    # apart that it would fold into one slow one. (Its optimization barrier would do the same. It
    # takes longer to compile, has no gradient, and is no part of TensorFlow's public interface.)
    return tf.maximum(sums, tf.constant(0, sums.dtype))


def update_plain(
    variable: tf.Variable,
    velocity: tf.Variable | None,
    gradient: tf.Tensor,
    learning_rate: tf.Tensor,
    treatment: Treatment,
    rule: Rule,
) -> Record | None:
    """One update in place, as plain ops."""
    w = tf.convert_to_tensor(variable)
    v = None if velocity is None else tf.convert_to_tensor(velocity)
    w, v, record = lars_update(w, gradient, v, learning_rate, treatment, rule, plain_norms)
    if velocity is not None:
        velocity.assign(v)
    variable.assign(w)
    return record


def update_compiled(
    variable: tf.Variable,
    velocity: tf.Variable | None,
    gradient: tf.Tensor,
    learning_rate: tf.Tensor,
    treatment: Treatment,
    rule: Rule,
) -> Record | None:
    """One update in place, in one XLA cluster; as `update_plain` otherwise."""
    function = _compiled(
        rule,
        treatment,
        tuple(variable.shape),
        variable.dtype,
        has_velocity=velocity is not None,
        on_cpu=device_type(variable) == "CPU",
    )
    handles = [variable.handle] if velocity is None else [variable.handle, velocity.handle]
    return function(handles, gradient, learning_rate)


@functools.cache
def _compiled(
    rule: Rule,
    treatment: Treatment,
    shape: tuple,
    dtype: tf.DType,
    has_velocity: bool,
    on_cpu: bool,
) -> tf.types.experimental.PolymorphicFunction:
    """The compiled update for all variables that share what is given here.

    It takes resource handles, plain tensors, and not variables: under a strategy, a `tf.function`
    that takes several variables of one shape reuses the trace, and with it the *captured variable*,
    of the first. Kept by module rather than by optimizer, so that a second optimizer, or a model
    loaded again, does not compile again.
    """
    norms = staged_norms if on_cpu else plain_norms

    @tf.function(jit_compile=True, autograph=False)
    def lars_update_compiled(handles, gradient, learning_rate):
        values = [tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype) for handle in handles]
        for tensor in [*values, gradient]:
            tensor.set_shape(shape)
        w, v, record = lars_update(
            values[0],
            gradient,
            values[1] if has_velocity else None,
            learning_rate,
            treatment,
            rule,
            norms,
        )
        for handle, value in zip(handles, [w, v]):
            tf.raw_ops.AssignVariableOp(resource=handle, value=value)
        return record

    return lars_update_compiled


def device_type(variable: tf.Variable) -> str:
    """The kind of device ("CPU", "GPU", "TPU") of a variable, or of its first replica."""
    return tf.DeviceSpec.from_string(variable.device).device_type or "CPU"


@functools.cache
def why_not_xla(device_type: str) -> str | None:
    """Why XLA cannot compile for this kind of device, or None where it can."""
    try:
        with tf.init_scope(), tf.device(f"/device:{device_type}:0"):
            tf.function(lambda x: x + 1.0, jit_compile=True, autograph=False)(tf.constant(0.0))
    except tf.errors.OpError as error:
        return str(error)
    return None
