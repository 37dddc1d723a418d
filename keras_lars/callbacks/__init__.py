"""Callbacks for distributed training."""

from keras_lars.callbacks.backup import BackupAndRestore
from keras_lars.callbacks.statistics import AverageStatistics

__all__ = ["AverageStatistics", "BackupAndRestore"]
