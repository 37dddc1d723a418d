"""Local response normalization, with alpha as in Caffe."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_lars_benchmarks")
class LocalResponseNormalization(keras.layers.Layer):
    """Divides each value by a power of the sum of squares over neighbouring channels.

    ```python
    y[c] = x[c] / (1 + alpha / size * sum(x[c - size // 2 : c + size // 2 + 1] ** 2)) ** beta
    ```

    Windows are cut at the first and the last channel. Their size is odd. `alpha` is divided by it,
    as in Caffe but not in AlexNet's paper or TensorFlow.

    Reference: Caffe's layer `LRN`, with ACROSS_CHANNELS and k = 1.
    """

    def __init__(self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, **kwargs: Any):
        super().__init__(**kwargs)
        if size < 1 or size % 2 == 0:
            raise ValueError(f"`size` must be an odd number of channels. Received: size={size}")
        self.size, self.alpha, self.beta = size, alpha, beta

    def call(self, inputs: Any) -> Any:
        # Squares of unscaled pixels overflow float16.
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        channels, half = inputs.shape[-1], self.size // 2
        squares = ops.pad(ops.square(x), [(0, 0)] * (len(inputs.shape) - 1) + [(half, half)])
        total = sum(squares[..., i : i + channels] for i in range(self.size))
        return ops.cast(x * (1 + self.alpha / self.size * total) ** -self.beta, inputs.dtype)

    def get_config(self) -> dict:
        config = {"size": self.size, "alpha": self.alpha, "beta": self.beta}
        return {**super().get_config(), **config}
