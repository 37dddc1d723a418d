"""Random and central crops, mirroring, and their random numbers.

All random numbers come from stateless generators, so each image of each epoch has its own.
"""

from benchmarks.data.data_set import View
from benchmarks.lazy import tf

# Ranges of "extended", from Szegedy et al. (arXiv 1409.4842, section 6).
AREAS = (0.08, 1.0)
ASPECTS = (3 / 4, 4 / 3)


def scaled_size(image_size: int) -> int:
    """The height and width that an image is scaled to before it is cropped to `image_size`.

    The authors crop 256 pixels to 227 (AlexNet) or 224 (ResNet-50). Other sizes keep the ratio of
    the latter. Source: NVIDIA caffe, fork borisgin/nvcaffe-0.16, models/.
    """
    return 256 if image_size in (224, 227) else round(image_size * 256 / 224)


def corner(image_size: int, draws: "tf.Tensor") -> "tf.Tensor":
    """Where a random crop of the scaled image starts, from random numbers in [0, 1).

    The result is in whole pixels, from 0 to the last position at which the crop fits.
    """
    places = scaled_size(image_size) - image_size + 1
    return tf.minimum(tf.cast(draws * places, tf.int32), places - 1)


def central_corner(image_size: int) -> int:
    """Where the central crop of the scaled image starts, on both axes."""
    return (scaled_size(image_size) - image_size) // 2


def mirrored(images: "tf.Tensor", chosen: "tf.Tensor") -> "tf.Tensor":
    """Images of shape (..., height, width, channels), mirrored where `chosen`, of shape (...)."""
    chosen = chosen[..., tf.newaxis, tf.newaxis, tf.newaxis]
    return tf.where(chosen, tf.reverse(images, axis=[-2]), images)


# --- windows: y, x, height and width in pixels of the unscaled image ------------------------------


def distorted_window(height_and_width: "tf.Tensor", seed: "tf.Tensor") -> "tf.Tensor":
    """A random window with random area and aspect ratio. The seed is two integers."""
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.concat([height_and_width, [1]], axis=0),
        tf.zeros([1, 0, 4]),
        seed,
        # The object is the whole image, so the default of 0.1 would forbid areas below 0.1.
        min_object_covered=0.0,
        aspect_ratio_range=ASPECTS,
        area_range=AREAS,
        use_image_if_no_bounding_boxes=True,
    )
    return tf.concat([begin[:2], size[:2]], axis=0)


def held_out_window(height_and_width: "tf.Tensor", image_size: int) -> "tf.Tensor":
    """The window of the central crop."""
    return _window(height_and_width, tf.fill([2], central_corner(image_size)), image_size)


def training_window(
    height_and_width: "tf.Tensor", view: View, seed: "tf.Tensor"
) -> "tuple[tf.Tensor, tf.Tensor]":
    """The window of a training image, and whether to mirror it. The seed is two integers."""
    if view.augmentation == "none":
        return held_out_window(height_and_width, view.image_size), tf.constant(False)
    seeds = tf.random.experimental.stateless_split(seed, 2)
    is_mirrored = tf.random.stateless_uniform([], seeds[0]) < 0.5
    if view.augmentation == "extended":
        return distorted_window(height_and_width, seeds[1]), is_mirrored
    begin = corner(view.image_size, tf.random.stateless_uniform([2], seeds[1]))
    return _window(height_and_width, begin, view.image_size), is_mirrored


def _window(height_and_width: "tf.Tensor", begin: "tf.Tensor", image_size: int) -> "tf.Tensor":
    """The window of the unscaled image that a crop of the scaled image shows.

    Only this window is scaled, which is cheaper than scaling the image. The result is the same
    except that the edges of the window are rounded to whole pixels.
    """
    factor = tf.cast(height_and_width, tf.float32) / scaled_size(image_size)
    edges = tf.stack([begin, begin + image_size])
    edges = tf.cast(tf.round(tf.cast(edges, tf.float32) * factor), tf.int32)
    begin = tf.minimum(edges[0], height_and_width - 1)
    return tf.concat([begin, tf.maximum(edges[1] - begin, 1)], axis=0)
