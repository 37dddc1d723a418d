"""Reads the torch tensors of many Keras variables quickly."""

from collections.abc import Sequence
from typing import Any

import keras
import torch

from keras_lars._types import Tensor


def parameters(variables: Sequence[keras.Variable | None]) -> list[Any] | None:
    """The parameter of each variable (`None` for `None`); or `None` if `value` would be another.

    `value` may also be a caller's tensor or a cast, and checks that for each variable. This takes
    as long as a small update.
    """
    with keras.StatelessScope(initialize_variables=False) as scope:
        if scope.original_scope is not None:
            return None
    held: list[Any] = [None if variable is None else variable._value for variable in variables]
    if set(map(type, held)) <= {torch.nn.Parameter, type(None)}:
        return held
    # Asking each tensor takes longer, because torch's answer also depends on its attributes.
    if not all(each is None or isinstance(each, torch.nn.Parameter) for each in held):
        return None
    return held


def are_like(
    tensors: Sequence[Tensor], variables: Sequence[keras.Variable], dtypes: tuple[torch.dtype, ...]
) -> list[bool]:
    """Whether each tensor is dense, in one of the dtypes, and like its variable's parameter."""
    held: list[Any] = [getattr(variable, "_value", None) for variable in variables]
    return [
        type(x) is torch.Tensor
        and type(w) is torch.nn.Parameter
        and x.dtype in dtypes
        and x.dtype == w.dtype
        and x.shape == w.shape
        and x.layout == torch.strided
        and x.device == w.device
        for x, w in zip(tensors, held)
    ]
