"""What variables hold on torch, for many of them at the cost of a list."""

from collections.abc import Sequence
from typing import Any

import keras
import torch


def parameters(variables: Sequence[Any]) -> list[Any] | None:
    """What each variable holds, `None` for `None`; or `None` where `value` is something else.

    `value` is that too, or a tensor of a caller or a cast, and asks for each variable which. That
    takes as long as a small update.
    """
    with keras.StatelessScope(initialize_variables=False) as scope:
        if scope.original_scope is not None:
            return None
    held: list[Any] = [None if variable is None else variable._value for variable in variables]
    if not all(each is None or isinstance(each, torch.nn.Parameter) for each in held):
        return None
    return held


def are_like(
    tensors: Sequence[Any], variables: Sequence[Any], dtypes: tuple[torch.dtype, ...]
) -> list[bool]:
    """Which are dense tensors of their variable's shape, dtype and device, and of these dtypes."""
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
