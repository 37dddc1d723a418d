"""Writes records for TensorBoard."""

import collections
import contextlib
import errno
import math
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from keras_lars._monitoring.record import NoiseRow, Row, Writer


class _TensorBoardWriter:
    """The base of the writers, which add rows in different ways."""

    def __init__(self, folder: pathlib.Path):
        self.path = folder
        self._writer: Any = None
        self._files: set[pathlib.Path] = set()  # those of this writer

    def check(self) -> None:
        """Do nothing: TensorBoard shows the files of a folder side by side."""

    def begin(self, update: int) -> None:
        del update
        earlier = {*self.path.glob("*")}
        with _os_errors():
            self._writer = tf.summary.create_file_writer(str(self.path))
        self._files = {*self.path.glob("*")} - earlier

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Write what is added inside to disk. Raise OSError if that fails."""
        with _os_errors():
            with self._writer.as_default(), tf.device("cpu"):
                yield
            self._writer.flush()
        if not all(file.exists() for file in self._files):  # TensorFlow would not notice
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """Turn errors of TensorFlow into OSErrors that give the reason alone."""
    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(error.message.split("\n")[0].rpartition("}} ")[2]) from error


class TrustRatioWriter(_TensorBoardWriter):
    """Scalars for each variable, and for each layer the distribution of its ratios in an epoch."""

    def __init__(self, folder: pathlib.Path):
        super().__init__(folder)
        self._ratios: dict[str, list[float]] = collections.defaultdict(list)  # of each layer

    def begin(self, update: int) -> None:
        super().begin(update)
        self._ratios.clear()

    def add(self, rows: "Sequence[Row]") -> None:
        with self._writing():
            for row in rows:
                local = row.learning_rate * row.trust_ratio
                tf.summary.scalar(f"weight_norm/{row.variable}", row.weight_norm, row.update)
                tf.summary.scalar(f"gradient_norm/{row.variable}", row.gradient_norm, row.update)
                tf.summary.scalar(f"trust_ratio/{row.variable}", row.trust_ratio, row.update)
                tf.summary.scalar(f"local_learning_rate/{row.variable}", local, row.update)
                layer = str(row.variable).rpartition("/")[0] or str(row.variable)
                self._ratios[layer].append(row.trust_ratio)
            tf.summary.scalar("learning_rate", rows[0].learning_rate, rows[0].update)

    def end_epoch(self, update: int) -> None:
        with self._writing():
            for layer, ratios in self._ratios.items():
                tf.summary.histogram(f"trust_ratios/{layer}", ratios, update)
        self._ratios.clear()


class NoiseScaleWriter(_TensorBoardWriter):
    """Scalars for each variable, and for all of them together."""

    def add(self, rows: "Sequence[NoiseRow]") -> None:
        with self._writing():
            for row in rows:
                for name in ("gradient_square", "noise_square", "noise_scale"):
                    if math.isfinite(value := getattr(row, name)):
                        tf.summary.scalar(f"{name}/{row.variable}", value, row.update)

    def end_epoch(self, update: int) -> None:
        """Do nothing: all rows are written."""


WRITERS: "dict[str, Callable[[pathlib.Path], Writer]]" = {
    "trust_ratios": TrustRatioWriter,
    "noise_scale": NoiseScaleWriter,
}
