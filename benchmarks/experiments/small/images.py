"""Fashion-MNIST or the digits as arrays: no framework is needed for them."""

import dataclasses
import functools

import numpy as np

from benchmarks.data import digits, fashion_mnist

CLASSES = 10
TRAINING = {"fashion_mnist": 60_000, "digits": 1437}
# The first of Fashion-MNIST's held-out images choose settings, the others tell what came of it.
CHOOSING = 5000
# Of the training images, on which the loss is taken at the end, as it is on held-out ones.
MEASURED = 10000


@dataclasses.dataclass(frozen=True)
class Part:
    """Images of shape (images, height, width, 1), float32 with a mean of 0, and their labels."""

    images: np.ndarray
    labels: np.ndarray


@functools.cache
def load(data_dir: str | None, image_size: int, data_set: str = "fashion_mnist") -> dict[str, Part]:
    """The parts "training", "measured", "choosing" and "test".

    The digits are few: all that are held out are in both of the last two parts.

    Raises:
        RecipeError: If Fashion-MNIST is not there.
        ValueError: If the size is not that of the images, or that divided by a whole number.
    """
    data = digits.load() if data_set == "digits" else fashion_mnist.load(data_dir)
    size = data.images("train").pixels.shape[1]
    if size % image_size:
        raise ValueError(f"`image_size` must divide {size}. Received: image_size={image_size}")
    training, held_out = (
        Part(_averaged(part.pixels, image_size), part.labels)
        for part in (data.images("train"), data.images("validation"))
    )
    mean, deviation = training.images.mean(), training.images.std()
    training, held_out = (
        Part((part.images - mean) / deviation, part.labels) for part in (training, held_out)
    )
    choosing = slice(None) if data_set == "digits" else slice(CHOOSING)
    test = slice(None) if data_set == "digits" else slice(CHOOSING, None)
    return {
        "training": training,
        "measured": Part(training.images[:MEASURED], training.labels[:MEASURED]),
        "choosing": Part(held_out.images[choosing], held_out.labels[choosing]),
        "test": Part(held_out.images[test], held_out.labels[test]),
    }


def joined(*parts: Part) -> Part:
    """The images of several parts."""
    return Part(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )


def _averaged(pixels: np.ndarray, size: int) -> np.ndarray:
    count, height, width, channels = pixels.shape
    factor = height // size
    windows = pixels.reshape(count, size, factor, width // factor, factor, channels)
    return windows.mean(axis=(2, 4), dtype="float32") / np.float32(255)
