"""Data sets, and tf.data pipelines whose order is a function of the seed and the epoch alone."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import sklearn.datasets
import sklearn.model_selection

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Images:
    """Labelled images in memory: a training part and a held-out part."""

    train_images: np.ndarray  # shape=(samples, height, width, channels), float32, in [-1, 1]
    train_labels: np.ndarray  # shape=(samples,), int32
    validation_images: np.ndarray
    validation_labels: np.ndarray
    classes: int


def digits() -> Images:
    """The 1,797 handwritten digits of 8x8 pixels that scikit-learn ships; a fifth is held out.

    The split is the same for every seed, with the ten digits in equal shares.
    """
    images, labels = sklearn.datasets.load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype("float32") / 16  # pixels are 0 to 16
    train_images, validation_images, train_labels, validation_labels = (
        sklearn.model_selection.train_test_split(
            images, labels.astype("int32"), test_size=0.2, stratify=labels, random_state=0
        )
    )
    mean = train_images.mean(axis=0)  # the authors subtract the mean image as well
    return Images(
        train_images - mean, train_labels, validation_images - mean, validation_labels, classes=10
    )


DATA_SETS = {"digits": digits}


def training_batches(
    images: Images, image_size: int, global_batch_size: int, epochs: int, seed: int
) -> "tf.data.Dataset":
    """The batches of all epochs; images that do not fill an epoch's last batch sit that one out."""
    import tensorflow as tf

    samples = len(images.train_labels)
    used = samples // global_batch_size * global_batch_size

    def order(epoch):
        # Not `Dataset.shuffle`, whose order depends on how often it was iterated before.
        seeds = tf.stack([tf.constant(seed, tf.int64), epoch])
        positions = tf.random.experimental.stateless_shuffle(tf.range(samples), seeds)
        return tf.data.Dataset.from_tensor_slices(positions[:used])

    positions = tf.data.Dataset.range(epochs).flat_map(order).batch(global_batch_size)
    return _images_at(positions, images.train_images, images.train_labels, image_size)


def validation_batches(images: Images, image_size: int, batch_size: int) -> "tf.data.Dataset":
    """Every held-out image once, in a fixed order."""
    import tensorflow as tf

    positions = tf.data.Dataset.range(len(images.validation_labels)).batch(batch_size)
    return _images_at(positions, images.validation_images, images.validation_labels, image_size)


def _images_at(positions, images, labels, image_size) -> "tf.data.Dataset":
    # Late, here and above: TensorFlow takes seconds to start, and a plan does not need it.
    import tensorflow as tf

    images, labels = tf.constant(images), tf.constant(labels)

    def batch(positions):
        chosen = tf.gather(images, positions)
        if images.shape[1:3] != (image_size, image_size):
            chosen = tf.image.resize(chosen, (image_size, image_size))
        return chosen, tf.gather(labels, positions)

    return positions.map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
