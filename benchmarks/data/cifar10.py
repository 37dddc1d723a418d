"""CIFAR-10, as TensorFlow Datasets prepares it."""

import os
import pathlib

from benchmarks.data import prepared
from benchmarks.data.in_memory import InMemory
from benchmarks.recipe import RecipeError

TFDS_VERSION = "cifar10/3.0.2"


def load(data_dir: str | os.PathLike | None = None) -> InMemory:
    """The 50,000 training images and 10,000 held-out images of 32x32 pixels, in color.

    The folder is by default that of TensorFlow Datasets. Raises RecipeError if they are missing.
    """
    folder = pathlib.Path(data_dir or prepared.default_folder()) / TFDS_VERSION
    if not (folder / "dataset_info.json").exists():
        raise RecipeError(
            "CIFAR-10 must be prepared by TensorFlow Datasets: python -c 'import "
            'tensorflow_datasets as tfds; tfds.builder("cifar10").download_and_prepare()\'. '
            f"Received: no {folder}"
        )
    return InMemory("cifar10", 10, *(prepared.images(folder, split) for split in ("train", "test")))
