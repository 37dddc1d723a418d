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
        **kwargs: Those of `keras.layers.BatchNormalization`. `synchronized` and `renorm` must be
            false, and `axis` the last one.

    Raises:
        ValueError: If an argument breaks its rule, or if a batch of known size is larger, and no
            multiple. One of unknown size fails when it comes, with the backend's error.

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
            raise ValueError("`mask` is not supported here.")
        samples, *shape = ops.shape(inputs)
        # As Keras does: squares overflow float16.
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        size = self._samples_of_a_group(samples)
        # Where the number of samples was not known the error is the backend's, and has this name.
        with keras.name_scope(f"batch_must_be_a_multiple_of_{self.virtual_batch_size}_samples"):
            grouped = ops.reshape(x, (-1, size, *shape))
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

    def _samples_of_a_group(self, samples: Any) -> Any:
        size = self.virtual_batch_size
        if isinstance(samples, int):
            if samples > size and samples % size:
                raise ValueError(
                    f"A batch must be a multiple of `virtual_batch_size`, which is {size}, or "
                    f"smaller. Received: {samples} samples"
                )
            return min(samples, size)
        # What is no multiple of this cannot be reshaped, and fails.
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
    """Batch normalization with a moving average of 0.9, over so many samples or (0) over all."""
    options = {"momentum": 0.9, "name": name, **options}
    if virtual_batch_size:
        return VirtualBatchNormalization(virtual_batch_size, **options)
    return keras.layers.BatchNormalization(**options)
