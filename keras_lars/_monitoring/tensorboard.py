"""Writes records for TensorBoard."""

import collections
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from keras_lars._monitoring.record import NoiseRow, Row, Writer


class _TensorBoardWriter:
    """The base of the writers, which add rows in different ways."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._writer: Any = None

    def check(self) -> None:
        """Do nothing: TensorBoard shows the files of a folder side by side."""

    def begin(self, update: int) -> None:
        del update
        self._writer = tf.summary.create_file_writer(str(self._folder))


class TrustRatioWriter(_TensorBoardWriter):
    """Scalars for each variable, and for each layer the distribution of its ratios in an epoch."""

    def __init__(self, folder: pathlib.Path):
        super().__init__(folder)
        self._ratios: dict[str, list[float]] = collections.defaultdict(list)  # of each layer

    def add(self, rows: "Sequence[Row]") -> None:
        with self._writer.as_default(), tf.device("cpu"):
            for row in rows:
                local = row.learning_rate * row.trust_ratio
                tf.summary.scalar(f"weight_norm/{row.variable}", row.weight_norm, row.update)
                tf.summary.scalar(f"gradient_norm/{row.variable}", row.gradient_norm, row.update)
                tf.summary.scalar(f"trust_ratio/{row.variable}", row.trust_ratio, row.update)
                tf.summary.scalar(f"local_learning_rate/{row.variable}", local, row.update)
                layer = str(row.variable).rpartition("/")[0] or str(row.variable)
                self._ratios[layer].append(row.trust_ratio)
            tf.summary.scalar("learning_rate", rows[0].learning_rate, rows[0].update)
        self._writer.flush()

    def end_epoch(self, update: int) -> None:
        with self._writer.as_default(), tf.device("cpu"):
            for layer, ratios in self._ratios.items():
                tf.summary.histogram(f"trust_ratios/{layer}", ratios, update)
        self._ratios.clear()
        self._writer.flush()


class NoiseScaleWriter(_TensorBoardWriter):
    """Scalars for each variable, and for all of them together."""

    def add(self, rows: "Sequence[NoiseRow]") -> None:
        with self._writer.as_default(), tf.device("cpu"):
            for row in rows:
                for name in ("gradient_square", "noise_square", "noise_scale"):
                    if math.isfinite(value := getattr(row, name)):
                        tf.summary.scalar(f"{name}/{row.variable}", value, row.update)
        self._writer.flush()

    def end_epoch(self, update: int) -> None:
        """Do nothing: all rows are written."""


WRITERS: "dict[str, Callable[[pathlib.Path], Writer]]" = {
    "trust_ratios": TrustRatioWriter,
    "noise_scale": NoiseScaleWriter,
}
