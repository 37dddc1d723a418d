"""The data sets as NumPy arrays."""

import dataclasses
import functools

import numpy as np

from benchmarks.data import cifar10, digits, fashion_mnist

CLASSES = 10
DATA = {"fashion_mnist": fashion_mnist, "cifar10": cifar10, "digits": digits}
TRAINING = {"fashion_mnist": 60_000, "cifar10": 50_000, "digits": 1437}
# This many held-out images are for choosing settings, the others for testing.
CHOOSING = 5000
# Training images on which the loss is evaluated at the end.
MEASURED = 10000


@dataclasses.dataclass(frozen=True)
class Part:
    """Images, float32 with a mean of 0, and their labels."""

    images: np.ndarray  # shape=(images, height, width, channels)
    labels: np.ndarray


@functools.cache
def load(data_dir: str | None, image_size: int, data_set: str = "fashion_mnist") -> dict[str, Part]:
    """The parts "training", "measured", "choosing" and "test".

    There are few digits, so both of the last two parts are all held-out digits.

    Raises:
        RecipeError: If the data are missing.
        ValueError: If `image_size` does not divide the size of the images.
    """
    data = DATA[data_set].load(data_dir)
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
    """Several parts as one."""
    return Part(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )


def _averaged(pixels: np.ndarray, size: int) -> np.ndarray:
    count, height, width, channels = pixels.shape
    factor = height // size
    windows = pixels.reshape(count, size, factor, width // factor, factor, channels)
    return windows.mean(axis=(2, 4), dtype="float32") / np.float32(255)
