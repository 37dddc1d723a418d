"""Batch normalization over a stated number of samples, and not over whatever is in the batch."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_lars_benchmarks")
class VirtualBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization by the statistics of groups of samples, in training.

    Use it where a large batch is trained on in one piece: the large batches of the paper never saw
    statistics of the whole batch, but of the 64 to 1,024 samples that one GPU had. Without it the
    number of samples behind the statistics would change with the hardware.

    Each `virtual_batch_size` samples in a row are normalized by their own mean and variance. The
    moving statistics take the mean over the groups. In inference it is `BatchNormalization`.

    Args:
        virtual_batch_size: Integer, 1 or more. A smaller batch is normalized as a whole.
        **kwargs: Those of `keras.layers.BatchNormalization`, of which `synchronized` and
            `virtual_batch_size` exclude each other.

    Raises:
        ValueError: If a batch of known size is larger, and no multiple. One of unknown size fails
            when it comes.

    Reference: [Hoffer et al., 2017](https://arxiv.org/abs/1705.08741), "ghost" batch normalization.
    """

    def __init__(self, virtual_batch_size: int, **kwargs: Any):
        if kwargs.get("synchronized"):
            raise ValueError("`synchronized` must not be given with `virtual_batch_size`.")
        if virtual_batch_size < 1:
            raise ValueError(
                f"`virtual_batch_size` must be at least 1. Received: {virtual_batch_size}"
            )
        super().__init__(**kwargs)
        self.virtual_batch_size = virtual_batch_size

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not training or not self.trainable:
            return super().call(inputs, training=False)
        if mask is not None:
            raise ValueError("`mask` is not supported here.")
        samples = ops.shape(inputs)[0]
        groups = self._groups(samples)
        x = ops.cast(inputs, "float32")  # as Keras does: squares overflow float16
        grouped = ops.reshape(x, (groups, -1, *inputs.shape[1:]))
        axes = [axis for axis in range(1, len(grouped.shape)) if axis != len(grouped.shape) - 1]
        mean, variance = ops.moments(grouped, axes, keepdims=True)
        self._update(mean, variance)
        scale = ops.rsqrt(variance + self.epsilon)
        if self.scale:
            scale = scale * ops.cast(self.gamma, scale.dtype)
        shift = -mean * scale
        if self.center:
            shift = shift + ops.cast(self.beta, shift.dtype)
        return ops.cast(ops.reshape(grouped * scale + shift, ops.shape(inputs)), inputs.dtype)

    def _groups(self, samples: Any) -> Any:
        size = self.virtual_batch_size
        if isinstance(samples, int):
            if samples > size and samples % size:
                raise ValueError(
                    f"A batch must be a multiple of `virtual_batch_size`, which is {size}, or "
                    f"smaller. Received: {samples} samples"
                )
            return max(samples // size, 1)
        # No multiple of the groups cannot be reshaped, and fails.
        return ops.maximum((samples + size - 1) // size, 1)

    def _update(self, mean: Any, variance: Any) -> None:
        for moving, groups in ((self.moving_mean, mean), (self.moving_variance, variance)):
            new = ops.reshape(ops.mean(groups, axis=0), moving.shape)
            new = ops.cast(new, moving.dtype)
            moving.assign(moving * self.momentum + new * (1 - self.momentum))

    def get_config(self) -> dict:
        config = super().get_config()
        config.pop("synchronized", None)
        return {**config, "virtual_batch_size": self.virtual_batch_size}
