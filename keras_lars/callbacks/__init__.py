"""Callbacks for large-batch and distributed training."""

from keras_lars.callbacks.backup import BackupAndRestore
from keras_lars.callbacks.monitor import TrustRatioMonitor
from keras_lars.callbacks.noise_scale import NoiseScaleMonitor
from keras_lars.callbacks.recalibration import RecalibrateStatistics
from keras_lars.callbacks.statistics import AverageStatistics

__all__ = [
    "AverageStatistics",
    "BackupAndRestore",
    "NoiseScaleMonitor",
    "RecalibrateStatistics",
    "TrustRatioMonitor",
]
