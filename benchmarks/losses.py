"""The cross entropy, with or without label smoothing."""

from typing import Any

import keras
from keras import ops


def cross_entropy(label_smoothing: float) -> keras.losses.Loss:
    """The loss for logits and integer labels."""
    if label_smoothing == 0:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return SmoothedCrossEntropy(label_smoothing)


@keras.saving.register_keras_serializable(package="keras_lars_benchmarks")
class SmoothedCrossEntropy(keras.losses.Loss):
    """Cross entropy with a fraction of each label spread over all classes.

    Keras's own label smoothing needs one-hot labels: 4 MB for 1,000 images of 1,000 classes.

    Reference: [Szegedy et al., 2016](https://arxiv.org/abs/1512.00567), section 7.
    """

    def __init__(self, label_smoothing: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        log_probabilities = ops.log_softmax(ops.cast(y_pred, "float32"), axis=-1)
        labels = ops.cast(ops.reshape(y_true, (-1, 1)), "int32")
        of_label = ops.squeeze(ops.take_along_axis(log_probabilities, labels, axis=-1), -1)
        of_all = ops.mean(log_probabilities, axis=-1)
        return -(1 - self.label_smoothing) * of_label - self.label_smoothing * of_all

    def get_config(self) -> dict:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}
