"""TensorFlow's context, and modes that are set in it."""

from tensorflow.python.eager import context
from tensorflow.python.framework import config


def current() -> object:
    """The context. Variables and functions are unusable after the one that made them is reset."""
    return context.context()


def is_searching_for_nans() -> bool:
    """Whether each operation is inspected, as with `tf.debugging.enable_check_numerics`.

    XLA cannot compile a function that is traced in this mode.
    """
    return bool(context.context().op_callbacks)


def is_deterministic() -> bool:
    """Whether `tf.config.experimental.enable_op_determinism` was called."""
    return config.is_op_determinism_enabled()
