"""The path and shape of a variable, and checks that the optimizer can update it."""

import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_lars._types import Tensor, Variable

_DTYPES = ("float16", "bfloat16", "float32", "float64")


def path_of(variable: Variable) -> str:
    """The path of a Keras variable, or the name of a backend's own.

    TensorFlow's `:0` is removed from the name, so that patterns such as "bias$" match.
    """
    return getattr(variable, "path", None) or without_output_number(variable.name)


def without_output_number(name: str) -> str:
    """The name without the `:0` that TensorFlow adds to it."""
    return re.sub(r":\d+$", "", name)


def shape_of(variable: Variable) -> tuple[int, ...]:
    """The shape as a tuple of integers, whatever type the backend uses."""
    return tuple(int(size) for size in variable.shape)


def is_overwritten(variable: Variable) -> bool:
    """Whether Keras overwrites the variable with its gradient, as it does with float8 scales."""
    return getattr(variable, "overwrite_with_gradient", False)


_TYPED_IN = 8  # values


def described(value: Any) -> str:
    """`repr` for messages. Variables and arrays are shown by path or shape.

    Except for arrays of NumPy with few values, which were typed in.
    """
    if hasattr(value, "assign") and hasattr(value, "dtype"):
        return f"<variable {path_of(value)!r}>"
    is_typed_in = isinstance(value, np.ndarray) and value.size <= _TYPED_IN
    if hasattr(value, "dtype") and getattr(value, "shape", ()) != () and not is_typed_in:
        return f"<{type(value).__name__} of shape {tuple(value.shape)}>"
    if isinstance(value, list):
        return f"[{', '.join(map(described, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(described, value))}{',' * (len(value) == 1)})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {described(each)}" for key, each in value.items()) + "}"
    return repr(value)


def check(variables: Sequence[Variable]) -> None:
    """Raise ValueError for variables that cannot be updated."""
    undefined = [
        f"'{path_of(variable)}' of shape {variable.shape}"
        for variable in variables
        if not is_known(variable.shape)
    ]
    if undefined:
        raise ValueError(
            "`variables` must have fully defined shapes, because norms and slots depend on them. "
            f"Received: {', '.join(undefined)}"
        )
    # Variables that Keras overwrites may have any dtype.
    updated = [variable for variable in variables if not is_overwritten(variable)]
    # No `:=`, because AutoGraph, in a custom loop, does not support it.
    dtypes = [keras.backend.standardize_dtype(variable.dtype) for variable in updated]
    refused = [
        f"'{path_of(variable)}' of {dtype}"
        for variable, dtype in zip(updated, dtypes)
        if dtype not in _DTYPES
    ]
    if refused:
        raise ValueError(
            f"`variables` must be of dtype {', '.join(_DTYPES[:-1])} or {_DTYPES[-1]}: updates "
            f"are real, and in float32 or float64. Received: {', '.join(refused)}"
        )


def refuse_repeated(name: str, variables: Sequence[Variable], keys: Sequence[int]) -> None:
    """Raise ValueError if a key, and so its variable, occurs twice: it would be updated twice."""
    if len(set(keys)) == len(keys):
        return
    repeated = [path_of(v) for i, v in enumerate(variables) if keys[i] in keys[:i]]
    raise ValueError(f"`{name}` must hold each variable once. Received several times: {repeated}")


def is_known(shape: Any) -> bool:
    """Whether the size of each dimension is known."""
    # A TensorFlow shape of unknown rank has no length.
    return getattr(shape, "rank", 0) is not None and None not in tuple(shape)


def check_gradient(gradient: Tensor, variable: Variable) -> None:
    """Raise ValueError for a dense gradient that does not fit its variable."""
    if "complex" in keras.backend.standardize_dtype(gradient.dtype):
        raise ValueError(
            "`grads` must be real: updates are computed in real numbers. Received: a "
            f"gradient of {keras.backend.standardize_dtype(gradient.dtype)} for "
            f"'{path_of(variable)}'"
        )
    # In a graph the shape may be unknown.
    if is_known(gradient.shape) and tuple(gradient.shape) != tuple(variable.shape):
        raise ValueError(
            "`grads` must have the shapes of their variables. Received: a gradient of shape "
            f"{shape_of(gradient)} for '{path_of(variable)}' of shape {shape_of(variable)}"
        )
