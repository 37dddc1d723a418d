"""Noise images of any size, to time a training run without a data set."""

import os

from benchmarks.data.data_set import DataSet, Shard, View, by_image
from benchmarks.lazy import tf


class Synthetic(DataSet):
    """One batch of random pixels and labels, repeated, which costs almost nothing.

    It has as many images and classes as ILSVRC 2012, so a recipe has the same number of updates.
    Nothing can be learned. Epoch and augmentation have no effect.
    """

    def _training(
        self, epoch: "tf.Tensor", view: View, batch_size: int, batches: int, shard: Shard
    ) -> "tf.data.Dataset":
        return tf.data.Dataset.from_tensors(self._batch(view, batch_size)).repeat(batches)

    def _held_out(self, part: str, images: int, view: View, batch_size: int) -> "tf.data.Dataset":
        pixels, labels = self._batch(view, batch_size)
        numbers = tf.data.Dataset.range(images).batch(batch_size)  # the last batch may be short
        counts = numbers.map(tf.size)
        return by_image(counts.map(lambda count: (pixels[:count], labels[:count])))

    def _batch(self, view: View, batch_size: int) -> "tuple[tf.Tensor, tf.Tensor]":
        with tf.init_scope(), tf.device("CPU:0"):
            shape, seed = (batch_size, view.image_size, view.image_size, 3), [view.seed, 0]
            pixels = tf.random.stateless_uniform(shape, seed, -127.5, 127.5) * view.pixel_scale
            labels = tf.random.stateless_uniform([batch_size], seed, 0, self.classes, tf.int32)
            return pixels, labels


def load(data_dir: str | os.PathLike | None = None) -> Synthetic:
    """The noise, which needs no files."""
    return Synthetic("synthetic", 1000, 3, train_images=1_281_167, validation_images=50_000)
