"""What `clipnorm`, `global_clipnorm` and `clipvalue` do on torch, for all gradients by one call.

Keras does it to each gradient, with a number that it sends to the device each time.
"""

from typing import TYPE_CHECKING

import torch

from keras_lars._backends.torch_norms import norms
from keras_lars._update_rule import nan_unless_finite

if TYPE_CHECKING:
    from keras_lars._keras.optimizer import KerasOptimizer


def clipped(optimizer: "KerasOptimizer", gradients: list[torch.Tensor]) -> list[torch.Tensor]:
    """As `optimizer._clipped`, in new tensors where there is something to clip."""
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
        # An infinity that is clipped to a value would pass unseen: zero times it is NaN.
        torch._foreach_add_(limited, torch._foreach_mul(gradients, 0.0))
        return list(limited)
    return gradients
