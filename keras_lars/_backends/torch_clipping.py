"""`clipnorm`, `global_clipnorm` and `clipvalue` on torch, for all gradients in one call.

Keras clips each gradient separately, and sends a number to the device each time.
"""

from typing import TYPE_CHECKING

import torch

from keras_lars._backends.torch_norms import norms
from keras_lars._update_rule import nan_unless_finite

if TYPE_CHECKING:
    from keras_lars._keras.optimizer import KerasOptimizer


def clipped(optimizer: "KerasOptimizer", gradients: list[torch.Tensor]) -> list[torch.Tensor]:
    """Like `optimizer._clipped`. Gradients that are clipped are returned as new tensors."""
    if not optimizer._clipping_is_ours or len({g.dtype for g in gradients}) > 1:
        return optimizer._clipped(gradients)
    dtype = gradients[0].dtype
    if optimizer.clipnorm is not None:
        found = norms(gradients, dtype)
        factors = optimizer.clipnorm / found.clamp(min=optimizer.clipnorm)
        return list(torch._foreach_mul(gradients, factors.unbind()))
    if optimizer.global_clipnorm is not None:
        found = torch.linalg.vector_norm(norms(gradients, dtype))
        factor = optimizer.global_clipnorm / found.clamp(min=optimizer.global_clipnorm)
        return list(torch._foreach_mul(gradients, nan_unless_finite(factor, found)))
    if optimizer.clipvalue is not None:
        limited = torch._foreach_clamp_max(gradients, optimizer.clipvalue)
        torch._foreach_clamp_min_(limited, -optimizer.clipvalue)
        # Clipping hides an infinity. Zero times it is NaN, and makes the result NaN.
        torch._foreach_add_(limited, torch._foreach_mul(gradients, 0.0))
        return list(limited)
    return gradients
