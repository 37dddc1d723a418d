"""What TensorFlow knows of the process and of the modes that it is in."""

from tensorflow.python.eager import context
from tensorflow.python.framework import config


def current() -> object:
    """The context, without which variables and functions that were made in it are of no use."""
    return context.context()


def is_searching_for_nans() -> bool:
    """Whether each operation is looked at, as `tf.debugging.enable_check_numerics` does.

    XLA cannot compile a function that is traced meanwhile.
    """
    return bool(context.context().op_callbacks)


def is_deterministic() -> bool:
    """Whether `tf.config.experimental.enable_op_determinism` was called."""
    return config.is_op_determinism_enabled()
