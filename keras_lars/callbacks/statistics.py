"""`AverageStatistics`: moving statistics that are the same on all replicas."""

from typing import Any

import keras
import numpy as np


class AverageStatistics(keras.callbacks.Callback):
    """Averages the moving statistics of a model over all replicas.

    Use it under `tf.distribute` with layers such as `BatchNormalization`. Each replica keeps its
    own statistics, of the samples that it has seen, and Keras uses those of one replica to validate
    and to save. This callback averages them before every validation and at the end of every epoch.
    Put it before callbacks that save.

    The alternative is `BatchNormalization(synchronized=True)`. Then all replicas normalize with the
    statistics of the global batch, and the moving statistics are the same everywhere, at the cost
    of one communication per layer. Without it, each replica trains with the statistics of its own
    batch.

    ```python
    moving_mean = mean(moving_mean[replica] for replica in replicas)  # every float weight that is
    moving_variance = mean(moving_variance[replica] for replica in replicas)  # not trainable
    ```

    Raises:
        ValueError: If the Keras backend is not TensorFlow.

    Example:

    >>> callback = keras_lars.callbacks.AverageStatistics()
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
    >>> model.compile(keras_lars.LARS(), "mse")
    >>> history = model.fit(np.ones((8, 2)), np.ones((8, 2)), callbacks=[callback], verbose=0)
    >>> [round(float(x), 2) for x in model.layers[0].moving_mean.numpy()]
    [0.01, 0.01]

    Reference:
        - [Ioffe and Szegedy, 2015](https://arxiv.org/abs/1502.03167), Algorithm 2, whose averages
          are those of all batches that were seen.
    """

    def __init__(self) -> None:
        super().__init__()
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                "`AverageStatistics` needs the TensorFlow backend: other backends have no replicas "
                f"that differ. Received: {keras.backend.backend()}"
            )

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Average before the statistics are used."""
        self._average()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Average before anything is saved."""
        self._average()

    def _average(self) -> None:
        from keras_lars import _replicas

        strategy: Any = self.model.distribute_strategy
        if strategy.num_replicas_in_sync == 1:
            return
        variables = [
            variable.value
            for variable in self.model.non_trainable_weights
            if keras.backend.is_float_dtype(variable.dtype)
        ]
        for variable, values in zip(variables, _replicas.read_all(variables, strategy)):
            # In float64, so that the mean of equal values is that value, whatever their number.
            mean = np.mean(values.astype("float64"), axis=0).astype(values.dtype)
            _replicas.write(variable, mean, strategy)
