"""The update of one variable on TensorFlow: in place, compiled by XLA or as plain ops.

Keras turns XLA off on machines without a GPU and under every `tf.distribute` strategy, so the
update is compiled by itself. Both functions take this replica's component of a variable, never a
distributed one.
"""

import tensorflow as tf

from keras_lars._backends.tensorflow_xla import FUNCTIONS, Compiled, Form, numbers, outline
from keras_lars._keras import tensorflow_context
from keras_lars._update_rule import Record, Rule, Treatment, lars_update, plain_norms


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
    used: set[Compiled],
    constants: dict[tuple, tf.Tensor],
) -> Record | None:
    """One update in place, in one XLA cluster; as `update_plain` otherwise.

    What was compiled for it is added to `used`, and kept as long as that is. Variables that are
    treated alike share what is added to `constants`.
    """
    form = Form(
        outline(rule),
        outline(treatment),
        tuple(variable.shape),
        variable.dtype,
        has_velocity=velocity is not None,
        on_cpu=device_type(variable) == "CPU",
        is_deterministic=tensorflow_context.is_deterministic(),
    )
    function = FUNCTIONS.get(form)
    used.add(function)
    handles = [variable.handle] if velocity is None else [variable.handle, velocity.handle]
    key = treatment, gradient.dtype
    if key not in constants:
        constants[key] = tf.constant(numbers(rule, treatment), gradient.dtype)
    return function(handles, constants[key], gradient, learning_rate)


def device_type(variable: tf.Variable) -> str:
    """The kind of device ("CPU", "GPU", "TPU") of a variable, or of its first replica."""
    return tf.DeviceSpec.from_string(variable.device).device_type or "CPU"


def why_not_xla(device_type: str) -> str | None:
    """Why XLA cannot compile for this kind of device now, or None where it can."""
    return FUNCTIONS.why_not_xla(device_type)
