"""The kernel of torch's fused SGD on CPUs, which reads and writes each array once.

It computes::

    decayed = g + weight_decay * w
    v = momentum * v + (1 - dampening) * decayed
    w = w - lr * (decayed + momentum * v if nesterov else v)

It is private by name, but has the arguments of `torch.optim.SGD`.
"""

from collections.abc import Iterable
from typing import TypeAlias

import torch

from keras_lars._update_rule import UpdateConfig

_EXISTS = hasattr(torch, "_fused_sgd_") and torch._C._dispatch_has_kernel_for_dispatch_key(
    "aten::_fused_sgd_", "CPU"
)

Tensors: TypeAlias = list[torch.Tensor]
# Weights, gradients and velocities, and their weight decay, velocity scale and step scale.
Row: TypeAlias = tuple[Tensors, Tensors, Tensors, float, float, float]


def is_usable(*lists: Tensors) -> bool:
    """Whether the kernel can update these tensors. It ignores strides.

    All are on one device, and those of a list have one dtype.
    """
    return (
        _EXISTS
        and lists[0][0].is_cpu
        and not torch.compiler.is_compiling()
        and all(tensors[0].dtype == torch.float32 for tensors in lists)
        and all(all(map(torch.Tensor.is_contiguous, tensors)) for tensors in lists)
    )


def can_scale(scales: Iterable[float], nesterov: bool) -> bool:
    """Whether the kernel can multiply the gradients with these numbers.

    A number far below 1 loses digits in `1 - dampening`. With Nesterov momentum, the kernel scales
    the gradient in the velocity only. A variable whose number is NaN becomes NaN in any case.
    """
    return all(s == 1 or (s == 1 - (1 - s) and not nesterov) or s != s for s in scales)


def update(rows: Iterable[Row], config: UpdateConfig) -> None:
    """`moved` of the update rule, in place. Without momentum, the velocities are an empty list."""
    momentum, nesterov = config.momentum, config.nesterov
    for w, g, v, weight_decay, velocity_scale, step_scale in rows:
        torch._fused_sgd_(
            w,
            g,
            v,
            weight_decay=weight_decay,
            momentum=momentum,  # 0 without velocities
            lr=step_scale if v else velocity_scale,
            dampening=1 - velocity_scale,
            nesterov=nesterov,
            maximize=False,
            is_first_step=False,
        )
