"""Batch normalization over a fixed number of samples, independent of the batch size."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_lars_benchmarks")
class VirtualBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization that in training uses the statistics of groups of samples.

    Use it when one device trains on a large batch. In the paper, the statistics of a large batch
    were those of the 64 to 1,024 samples on each GPU, never those of the whole batch. Without this
    layer, the number of samples behind the statistics would depend on the hardware.

    Each group of `virtual_batch_size` consecutive samples is normalized by its own mean and
    variance. The moving statistics use the mean over the groups. In inference it is
    `BatchNormalization`. A batch smaller than `virtual_batch_size` is normalized as a whole. Other
    arguments are those of `BatchNormalization`, but `synchronized` and `renorm` must be false, and
    `axis` the last one.

    Raises:
        ValueError: If an argument is not allowed, or if the batch is larger than
            `virtual_batch_size` and not a multiple of it. If the size of the batch is unknown when
            the model is traced, the backend raises its own error.

    Reference: [Hoffer et al., 2017](https://arxiv.org/abs/1705.08741), "ghost" batch normalization.
    """

    def __init__(self, virtual_batch_size: int, **kwargs: Any):
        for name, value in (("synchronized", False), ("renorm", False), ("axis", -1)):
            if kwargs.get(name, value) != value:
                raise ValueError(
                    f"`{name}` must be {value} with `virtual_batch_size`. Received: {kwargs[name]}"
                )
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
            raise ValueError("`mask` is not supported in training.")
        samples, *shape = ops.shape(inputs)
        # As in Keras, because squares overflow float16.
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        size = self._group_size(samples)
        # If the number of samples is unknown, the backend's error contains this name.
        with keras.name_scope(f"batch_must_be_a_multiple_of_{self.virtual_batch_size}_samples"):
            grouped = ops.reshape(x, (-1, size, *shape))
        axes = list(range(1, len(grouped.shape) - 1))
        mean, variance = ops.moments(grouped, axes, keepdims=True)
        self._update(mean, variance)
        scale = ops.rsqrt(variance + self.epsilon)
        if self.scale:
            scale = scale * ops.cast(self.gamma, scale.dtype)
        shift = -mean * scale
        if self.center:
            shift = shift + ops.cast(self.beta, shift.dtype)
        return ops.cast(ops.reshape(grouped * scale + shift, ops.shape(inputs)), inputs.dtype)

    def _group_size(self, samples: Any) -> Any:
        size = self.virtual_batch_size
        if isinstance(samples, int):
            if samples > size and samples % size:
                raise ValueError(
                    f"A batch must be smaller than `virtual_batch_size`, {size}, or a multiple of "
                    f"it. Received: {samples} samples"
                )
            return min(samples, size)
        # A batch that is not a multiple of this cannot be reshaped, and fails.
        return ops.minimum(samples, size)

    def _update(self, mean: Any, variance: Any) -> None:
        for moving, groups in ((self.moving_mean, mean), (self.moving_variance, variance)):
            new = ops.reshape(ops.mean(groups, axis=0), moving.shape)
            new = ops.cast(new, moving.dtype)
            moving.assign(moving * self.momentum + new * (1 - self.momentum))

    def get_config(self) -> dict:
        config = super().get_config()
        config.pop("synchronized", None)
        return {**config, "virtual_batch_size": self.virtual_batch_size}


def normalization(
    virtual_batch_size: int, name: str, **options: bool | float | str
) -> keras.layers.BatchNormalization:
    """Batch normalization with momentum 0.9, over groups of samples or, if 0, over all samples."""
    options = {"momentum": 0.9, "name": name, **options}
    if virtual_batch_size:
        return VirtualBatchNormalization(virtual_batch_size, **options)
    return keras.layers.BatchNormalization(**options)
