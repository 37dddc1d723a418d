"""The data sets as NumPy arrays."""

import dataclasses
import functools
from typing import Any

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

    def __getitem__(self, chosen: Any) -> "Part":
        return Part(self.images[chosen], self.labels[chosen])


@functools.cache
def load(data_dir: str | None, image_size: int, data_set: str = "fashion_mnist") -> dict[str, Part]:
    """The parts "training", "measured", "held_out", "choosing" and "test".

    There are few digits, so each of the last three parts is all held-out digits.

    Raises:
        RecipeError: If the data are missing.
        ValueError: If `image_size` does not divide the size of the images.
    """
    data = DATA[data_set].load(data_dir)
    stored = [data.images("train"), data.images("validation")]
    size = stored[0].pixels.shape[1]
    if size % image_size:
        raise ValueError(f"`image_size` must divide {size}. Received: image_size={image_size}")
    pixels = [_averaged(part.pixels, image_size) for part in stored]
    mean, deviation = pixels[0].mean(), pixels[0].std()
    training, held_out = (
        Part((of_part - mean) / deviation, part.labels) for of_part, part in zip(pixels, stored)
    )
    few = data_set == "digits"
    return {
        "training": training,
        "measured": training[:MEASURED],
        "held_out": held_out,
        "choosing": held_out if few else held_out[:CHOOSING],
        "test": held_out if few else held_out[CHOOSING:],
    }


def _averaged(pixels: np.ndarray, size: int) -> np.ndarray:
    count, height, width, channels = pixels.shape
    factor = height // size
    windows = pixels.reshape(count, size, factor, width // factor, factor, channels)
    return windows.mean(axis=(2, 4), dtype="float32") / np.float32(255)
