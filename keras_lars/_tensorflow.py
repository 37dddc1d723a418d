"""The update of one variable on TensorFlow: in place, compiled by XLA or as plain ops.

Keras turns XLA off on machines without a GPU and under every `tf.distribute` strategy, so the
update is compiled by itself. Both functions take this replica's component of a variable, never a
distributed one.
"""

import functools

import tensorflow as tf

# Not exported by TensorFlow; only valid inside a function that XLA compiles.
from tensorflow.compiler.tf2xla.python.xla import optimization_barrier

from keras_lars._update_rule import Record, Rule, Treatment, lars_update, plain_norm

# Rows of the first of the two stages below. 8 and 16 are fast, 64 is not.
_ROWS = 16


def two_stage_norm(x: tf.Tensor) -> tf.Tensor:
    """The Euclidean norm for XLA on the CPU: down the rows first, then across, in float64.

    XLA turns a full reduction into one serial loop, the slowest and the least accurate way to add;
    summing rows first gives it a loop over columns, and the barrier keeps it from folding the two
    stages back into one. float64 costs nothing measurable, since the loop waits for memory.
    """
    values = tf.cast(tf.reshape(x, [-1]), tf.float64)
    # What does not fill the last column is added by itself: padding would copy the variable.
    whole = values.shape[0] // _ROWS * _ROWS
    table = tf.reshape(values[:whole], [_ROWS, -1])
    columns = optimization_barrier(tf.reduce_sum(table * table, axis=0))
    rest = values[whole:]
    return tf.cast(tf.sqrt(tf.reduce_sum(columns) + tf.reduce_sum(rest * rest)), x.dtype)


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
    w, v, record = lars_update(w, gradient, v, learning_rate, treatment, rule, plain_norm)
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
    norm = two_stage_norm if on_cpu else plain_norm

    @tf.function(jit_compile=True, autograph=False)
    def lars_update_compiled(handles, gradient, learning_rate):
        values = [
            tf.ensure_shape(tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype), shape)
            for handle in handles
        ]
        w, v, record = lars_update(
            values[0],
            tf.ensure_shape(gradient, shape),
            values[1] if has_velocity else None,
            learning_rate,
            treatment,
            rule,
            norm,
        )
        for handle, value in zip(handles, [w, v]):
            tf.raw_ops.AssignVariableOp(resource=handle, value=value)
        # The barrier has no gradient. Without this an update inside a `GradientTape` would fail.
        return None if record is None else Record(*(tf.stop_gradient(r) for r in record))

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
