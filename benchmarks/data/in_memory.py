"""Data sets that fit into memory, with pixels in the type of their files."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from benchmarks.data import augmentation
from benchmarks.data.data_set import DataSet, Shard, View, by_image
from benchmarks.lazy import tf

# Takes images, how to show them, and their positions; returns what the network sees.
_Show = Callable[["tf.Tensor", View, "tf.Tensor"], "tf.Tensor"]


@dataclasses.dataclass(frozen=True)
class Images:
    """Images with their labels."""

    pixels: np.ndarray  # shape=(images, height, width, channels), numbers from 0 to 255
    labels: np.ndarray  # shape=(images,), int32


class InMemory(DataSet):
    """Images in memory. Each of several workers makes every batch, and uses its share.

    Without augmentation, whole images are scaled to the image size. With augmentation, training
    uses random crops, and validation uses the central crop, as in the paper.

    The mean of the training images is subtracted from all images.
    """

    def __init__(self, name: str, classes: int, training: Images, held_out: Images):
        channels = training.pixels.shape[-1]
        super().__init__(name, classes, channels, len(training.labels), len(held_out.labels))
        # float32 holds the sum of a pixel over 65,000 images exactly.
        self._mean = training.pixels.mean(axis=0, dtype=np.float32)
        self._parts = {"train": training, "validation": held_out}

    def images(self, part: str) -> Images:
        """All of "train" or "validation", as arrays."""
        return self._parts[part]

    def _training(
        self, epoch: "tf.Tensor", view: View, batch_size: int, batches: int, shard: Shard
    ) -> "tf.data.Dataset":
        # Not `Dataset.shuffle`, whose order depends on how often it has been iterated.
        seed = tf.stack([tf.constant(view.seed, tf.int64), epoch])
        order = tf.random.experimental.stateless_shuffle(tf.range(self.train_images), seed)
        positions = tf.reshape(order[: batches * batch_size], [batches, batch_size])
        positions = tf.data.Dataset.from_tensor_slices(positions)
        if view.augmentation == "none":
            return self._shown("train", positions, view, _whole)
        # Not the seed of the order, or position and crop would be correlated.
        seed = tf.random.experimental.stateless_fold_in(seed, tf.constant(1, tf.int64))
        shape = [self.train_images, 3]
        if view.augmentation == "paper":
            draws, show = tf.random.stateless_uniform(shape, seed), _cropped
        else:
            draws = tf.random.stateless_uniform(shape, seed, None, None, tf.int32)
            show = _distorted

        def augmented(images: "tf.Tensor", view: View, chosen: "tf.Tensor") -> "tf.Tensor":
            return show(images, view, tf.gather(draws, chosen))

        return self._shown("train", positions, view, augmented)

    def _held_out(self, part: str, images: int, view: View, batch_size: int) -> "tf.data.Dataset":
        positions = tf.data.Dataset.range(images).batch(batch_size)
        show = _whole if view.augmentation == "none" else _central
        return by_image(self._shown(part, positions, view, show))

    def _shown(
        self, part: str, positions: "tf.data.Dataset", view: View, show: _Show
    ) -> "tf.data.Dataset":
        pixels, labels = self._tensors[part]

        def batch(chosen: "tf.Tensor") -> "tuple[tf.Tensor, tf.Tensor]":
            images = tf.cast(tf.gather(pixels, chosen), tf.float32) - self._mean
            return show(images * view.pixel_scale, view, chosen), tf.gather(labels, chosen)

        return positions.map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    @functools.cached_property
    def _tensors(self) -> "dict[str, tuple[tf.Tensor, tf.Tensor]]":
        # Outside the function of `flat_map`, which would hold its own copy. On the CPU, where
        # tf.data runs.
        with tf.init_scope(), tf.device("CPU:0"):
            return {
                name: (tf.constant(images.pixels), tf.constant(images.labels))
                for name, images in self._parts.items()
            }


def _resized(images: "tf.Tensor", size: int) -> "tf.Tensor":
    return images if images.shape[1:3] == (size, size) else tf.image.resize(images, (size, size))


def _whole(images: "tf.Tensor", view: View, _: "tf.Tensor") -> "tf.Tensor":
    return _resized(images, view.image_size)


def _central(images: "tf.Tensor", view: View, _: "tf.Tensor") -> "tf.Tensor":
    begin = augmentation.central_corner(view.image_size)
    end = begin + view.image_size
    return _resized(images, augmentation.scaled_size(view.image_size))[:, begin:end, begin:end]


def _cropped(images: "tf.Tensor", view: View, draws: "tf.Tensor") -> "tf.Tensor":
    images = _resized(images, augmentation.scaled_size(view.image_size))
    for axis in (1, 2):
        begin = augmentation.corner(view.image_size, draws[:, axis - 1])
        pixels = begin[:, tf.newaxis] + tf.range(view.image_size)
        images = tf.gather(images, pixels, axis=axis, batch_dims=1)
    return augmentation.mirrored(images, draws[:, 2] < 0.5)


def _distorted(images: "tf.Tensor", view: View, draws: "tf.Tensor") -> "tf.Tensor":
    height_and_width = tf.shape(images)[1:3]

    def one(image_and_seed: "tuple[tf.Tensor, tf.Tensor]") -> "tf.Tensor":
        image, seed = image_and_seed
        y, x, height, width = tf.unstack(augmentation.distorted_window(height_and_width, seed))
        part = image[y : y + height, x : x + width]
        return tf.image.resize(part, (view.image_size, view.image_size))

    spec = tf.TensorSpec([view.image_size, view.image_size, images.shape[-1]], tf.float32)
    parts = tf.map_fn(one, (images, draws[:, :2]), fn_output_signature=spec)
    return augmentation.mirrored(parts, draws[:, 2] < 0)
