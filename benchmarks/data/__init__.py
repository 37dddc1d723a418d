"""The data sets by name: `load("digits")`. Needs no TensorFlow, but for `imagenet2012`."""

import os
from collections.abc import Callable

from benchmarks.data import digits, fashion_mnist, imagenet, synthetic
from benchmarks.data.data_set import DataSet
from benchmarks.recipe import RecipeError

DATA_SETS: dict[str, Callable[[str | os.PathLike | None], DataSet]] = {
    "digits": digits.load,
    "fashion_mnist": fashion_mnist.load,
    "imagenet2012": imagenet.load,
    "synthetic": synthetic.load,
}


def load(name: str, data_dir: str | os.PathLike | None = None) -> DataSet:
    """The data set of that name.

    Args:
        name: One of `DATA_SETS`.
        data_dir: Where it is; by default where its tools put it. Those that need no files ignore
            it.

    Raises:
        RecipeError: If there is none of that name, or its files are missing or damaged.
    """
    if name not in DATA_SETS:
        raise RecipeError(f"--data must be one of {', '.join(DATA_SETS)}. Received: {name}")
    return DATA_SETS[name](data_dir)
