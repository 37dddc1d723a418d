"""LARS, layer-wise adaptive rate scaling, for Keras 3."""

from keras_lars import callbacks, multi_worker, schedules
from keras_lars._exclusions import bias_or_normalization, optional, rank_at_most
from keras_lars._version import __version__
from keras_lars.loss_scale_optimizer import LossScaleOptimizer
from keras_lars.optimizer import LARS

__all__ = [
    "LARS",
    "LossScaleOptimizer",
    "__version__",
    "bias_or_normalization",
    "callbacks",
    "multi_worker",
    "optional",
    "rank_at_most",
    "schedules",
]
