"""The data sets by name: `load("digits")`.

Needs no TensorFlow, except for `imagenet2012` and `image_folder`.
"""

import os
from collections.abc import Callable

from benchmarks.data import digits, fashion_mnist, image_folder, imagenet, known, synthetic
from benchmarks.data.data_set import DataSet
from benchmarks.recipe import RecipeError

DATA_SETS: dict[str, Callable[[str | os.PathLike | None], DataSet]] = {
    "digits": digits.load,
    "fashion_mnist": fashion_mnist.load,
    "imagenet2012": imagenet.load,
    "image_folder": image_folder.load,
    "synthetic": synthetic.load,
}


def load(name: str, data_dir: str | os.PathLike | None = None) -> DataSet:
    """The data set of that name.

    Args:
        name: One of `DATA_SETS`.
        data_dir: Where it is; by default where its tools put it. Ignored by those that need no
            files.

    Raises:
        RecipeError: If there is none of that name, or its files are missing or damaged.
    """
    if name not in DATA_SETS:
        raise RecipeError(f"--data must be one of {', '.join(DATA_SETS)}. Received: {name}")
    return DATA_SETS[name](data_dir)


def describe(name: str, data_dir: str | os.PathLike | None = None) -> DataSet:
    """The data set of that name, or its numbers if it is missing but known.

    Args:
        name: As of `load`.
        data_dir: As of `load`.

    Raises:
        RecipeError: As `load`, for data that are not known without their files.
    """
    try:
        return load(name, data_dir)
    except RecipeError as error:
        if name not in known.NUMBERS:
            raise
        return known.Known(name, str(error))
