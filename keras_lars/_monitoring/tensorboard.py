"""Records of norms and ratios for TensorBoard."""

import collections
import pathlib

import tensorflow as tf


class TensorBoardFile:
    """Scalars for each variable, and for each layer the distribution of its ratios in an epoch."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._writer = None
        self._ratios = collections.defaultdict(list)  # of each layer, in this epoch

    def check(self) -> None:
        """Nothing: TensorBoard shows the files of a folder side by side."""

    def begin(self, update: int) -> None:
        del update
        self._writer = tf.summary.create_file_writer(str(self._folder))

    def add(self, rows: list[dict]) -> None:
        with self._writer.as_default(), tf.device("cpu"):
            for row in rows:
                name, step = row["variable"], row["update"]
                tf.summary.scalar(f"weight_norm/{name}", row["weight_norm"], step)
                tf.summary.scalar(f"gradient_norm/{name}", row["gradient_norm"], step)
                tf.summary.scalar(f"trust_ratio/{name}", row["trust_ratio"], step)
                local = row["learning_rate"] * row["trust_ratio"]
                tf.summary.scalar(f"local_learning_rate/{name}", local, step)
                layer = str(name).rpartition("/")[0] or str(name)
                self._ratios[layer].append(row["trust_ratio"])
            tf.summary.scalar("learning_rate", rows[0]["learning_rate"], rows[0]["update"])
        self._writer.flush()

    def end_epoch(self, update: int) -> None:
        with self._writer.as_default(), tf.device("cpu"):
            for layer, ratios in self._ratios.items():
                tf.summary.histogram(f"trust_ratios/{layer}", ratios, update)
        self._ratios.clear()
        self._writer.flush()
