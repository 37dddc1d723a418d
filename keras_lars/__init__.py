"""LARS, layer-wise adaptive rate scaling, for Keras 3."""

from typing import TYPE_CHECKING

from keras_lars import callbacks, multi_worker, schedules
from keras_lars._exclusions import bias_or_normalization, optional, rank_at_most
from keras_lars._range_test import find_learning_rate
from keras_lars._version import __version__
from keras_lars.loss_scale_optimizer import LossScaleOptimizer
from keras_lars.optimizer import LARS

__all__ = [
    "LARS",
    "LossScaleOptimizer",
    "__version__",
    "bias_or_normalization",
    "callbacks",
    "find_learning_rate",
    "multi_worker",
    "optional",
    "rank_at_most",
    "report",
    "schedules",
]

if TYPE_CHECKING:
    from keras_lars import report
else:  # type checkers would accept any name if they saw a `__getattr__`

    def __getattr__(name):
        if name != "report":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        return importlib.import_module("keras_lars.report")

    def __dir__():
        return sorted({*globals(), *__all__})
