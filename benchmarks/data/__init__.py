"""The data sets by name: `load("digits")`. Each has a module of its name, with a function `load`.

Needs no TensorFlow, except for `imagenet2012` and `image_folder`.
"""

import os
import pkgutil

from benchmarks.data.data_set import DataSet
from benchmarks.recipe import DATA_SETS, RecipeError

# The classes, channels, training images and held-out images of published data sets.
SIZES = {"fashion_mnist": (10, 1, 60_000, 10_000), "imagenet2012": (1000, 3, 1_281_167, 50_000)}


def load(name: str, data_dir: str | os.PathLike | None = None) -> DataSet:
    """Loads a data set.

    Args:
        name: One of `benchmarks.recipe.DATA_SETS`.
        data_dir: Its folder; by default where the tools of the data set put it. Ignored by data
            sets that need no files.

    Raises:
        RecipeError: If there is no such data set, or its files are missing or damaged.
    """
    if name not in DATA_SETS:
        raise RecipeError(f"--data must be one of {', '.join(DATA_SETS)}. Received: {name}")
    return pkgutil.resolve_name(f"benchmarks.data.{name}:load")(data_dir)


def describe(name: str, data_dir: str | os.PathLike | None = None) -> DataSet:
    """Like `load`, but if the files of a published data set are missing, it has only its sizes."""
    try:
        return load(name, data_dir)
    except RecipeError as error:
        if name not in SIZES:
            raise
        return DataSet(name, *SIZES[name], missing=str(error))
