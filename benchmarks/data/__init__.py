"""The data sets by name: `load("digits")`.

Needs no TensorFlow, except for `imagenet2012` and `image_folder`.
"""

import os
from collections.abc import Callable

from benchmarks.data import digits, fashion_mnist, image_folder, imagenet, synthetic
from benchmarks.data.data_set import DataSet
from benchmarks.recipe import RecipeError

DATA_SETS: dict[str, Callable[[str | os.PathLike | None], DataSet]] = {
    "digits": digits.load,
    "fashion_mnist": fashion_mnist.load,
    "imagenet2012": imagenet.load,
    "image_folder": image_folder.load,
    "synthetic": synthetic.load,
}
# The classes, channels, training images and held-out images of published data sets.
SIZES = {"fashion_mnist": (10, 1, 60_000, 10_000), "imagenet2012": (1000, 3, 1_281_167, 50_000)}


def load(name: str, data_dir: str | os.PathLike | None = None) -> DataSet:
    """Loads a data set.

    Args:
        name: One of `DATA_SETS`.
        data_dir: Its folder; by default where the tools of the data set put it. Ignored by data
            sets that need no files.

    Raises:
        RecipeError: If there is no such data set, or its files are missing or damaged.
    """
    if name not in DATA_SETS:
        raise RecipeError(f"--data must be one of {', '.join(DATA_SETS)}. Received: {name}")
    return DATA_SETS[name](data_dir)


def describe(name: str, data_dir: str | os.PathLike | None = None) -> DataSet:
    """Like `load`, but if the files of a published data set are missing, it has only its sizes."""
    try:
        return load(name, data_dir)
    except RecipeError as error:
        if name not in SIZES:
            raise
        return DataSet(name, *SIZES[name], missing=str(error))
