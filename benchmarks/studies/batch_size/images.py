"""Fashion-MNIST as arrays: no framework is needed for it."""

import dataclasses
import functools

import numpy as np

from benchmarks.data import fashion_mnist

CLASSES = 10
TRAINING = 60_000
# The first of the held-out images choose settings, the others tell what came of it.
CHOOSING = 5000
# Of the training images, on which the loss is taken at the end, as it is on held-out ones.
MEASURED = 10000


@dataclasses.dataclass(frozen=True)
class Part:
    """Images of shape (images, height, width, 1), float32 with a mean of 0, and their labels."""

    images: np.ndarray
    labels: np.ndarray


@functools.cache
def load(data_dir: str | None, image_size: int) -> dict[str, Part]:
    """The parts "training", "measured", "choosing" and "test".

    Raises:
        RecipeError: If Fashion-MNIST is not there.
        ValueError: If the size is not 28, or 28 divided by a whole number.
    """
    if 28 % image_size:
        raise ValueError(f"`image_size` must divide 28. Received: image_size={image_size}")
    data = fashion_mnist.load(data_dir)
    training, held_out = (
        Part(_averaged(part.pixels, image_size), part.labels)
        for part in (data.images("training"), data.images("held_out"))
    )
    mean, deviation = training.images.mean(), training.images.std()
    training, held_out = (
        Part((part.images - mean) / deviation, part.labels) for part in (training, held_out)
    )
    return {
        "training": training,
        "measured": Part(training.images[:MEASURED], training.labels[:MEASURED]),
        "choosing": Part(held_out.images[:CHOOSING], held_out.labels[:CHOOSING]),
        "test": Part(held_out.images[CHOOSING:], held_out.labels[CHOOSING:]),
    }


def _averaged(pixels: np.ndarray, size: int) -> np.ndarray:
    count, height, width, channels = pixels.shape
    factor = height // size
    windows = pixels.reshape(count, size, factor, width // factor, factor, channels)
    return windows.mean(axis=(2, 4), dtype="float32") / np.float32(255)
