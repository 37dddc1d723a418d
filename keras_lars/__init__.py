"""LARS, layer-wise adaptive rate scaling, for Keras 3."""

from keras_lars import schedules
from keras_lars._exclusions import bias_or_normalization, optional, rank_at_most
from keras_lars._version import __version__
from keras_lars.optimizer import LARS

__all__ = [
    "LARS",
    "__version__",
    "bias_or_normalization",
    "optional",
    "rank_at_most",
    "schedules",
]
