"""JPEG strings to images: only the part that is shown is decoded."""

from typing import TYPE_CHECKING

from benchmarks.data import augmentation
from benchmarks.data.data_set import View

if TYPE_CHECKING:
    import tensorflow as tf


def height_and_width(jpeg: "tf.Tensor") -> "tf.Tensor":
    """Of a file, a string; nothing but its header is decoded."""
    import tensorflow as tf

    return tf.image.extract_jpeg_shape(jpeg)[:2]


def held_out_window(height_and_width: "tf.Tensor", image_size: int) -> "tf.Tensor":
    """The central crop, as y, x, height and width in pixels of the file."""
    import tensorflow as tf

    begin = augmentation.central_corner(image_size)
    return _window(height_and_width, tf.constant([begin, begin]), image_size)


def training_window(
    height_and_width: "tf.Tensor", view: View, seed: "tf.Tensor"
) -> "tuple[tf.Tensor, tf.Tensor]":
    """What to show of a training image: y, x, height and width, and whether mirrored.

    Args:
        height_and_width: Of the file, of shape (2,).
        view: Tells the augmentation.
        seed: Two integers.
    """
    import tensorflow as tf

    if view.augmentation == "none":
        return held_out_window(height_and_width, view.image_size), tf.constant(False)
    seeds = tf.random.experimental.stateless_split(seed, 2)
    is_mirrored = tf.random.stateless_uniform([], seeds[0]) < 0.5
    if view.augmentation == "extended":
        return augmentation.distorted_window(height_and_width, seeds[1]), is_mirrored
    begin = augmentation.corner(view.image_size, tf.random.stateless_uniform([2], seeds[1]))
    return _window(height_and_width, begin, view.image_size), is_mirrored


def _window(height_and_width, begin, image_size):
    """Pixels of the file under a crop of the image scaled to a square, which is never made.

    Scaling the crop alone gives the same image but for the edges, which are on whole pixels of the
    file here: at most half a pixel off.
    """
    import tensorflow as tf

    factor = tf.cast(height_and_width, tf.float32) / augmentation.scaled_size(image_size)
    edges = tf.stack([begin, begin + image_size])
    edges = tf.cast(tf.round(tf.cast(edges, tf.float32) * factor), tf.int32)
    begin = tf.minimum(edges[0], height_and_width - 1)
    return tf.concat([begin, tf.maximum(edges[1] - begin, 1)], axis=0)


def decode(jpeg: "tf.Tensor", window: "tf.Tensor", image_size: int) -> "tf.Tensor":
    """A part of an image, scaled: float32, 0 to 255, of shape (image_size, image_size, 3).

    Args:
        jpeg: The file, a string.
        window: y, x, height and width of the part, in pixels.
        image_size: What both sides are scaled to, bilinear and without smoothing, as Caffe does.
    """
    import tensorflow as tf

    pixels = tf.image.decode_and_crop_jpeg(jpeg, window, channels=3)
    return tf.image.resize(pixels, (image_size, image_size))
