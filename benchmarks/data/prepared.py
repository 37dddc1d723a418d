"""TensorFlow Datasets: its folders, small data sets in them, and a one-line error without it."""

import pathlib
from typing import Any

from benchmarks.data.in_memory import Images
from benchmarks.recipe import RecipeError


def tensorflow_datasets() -> Any:
    """The package `tensorflow_datasets`.

    Raises:
        RecipeError: If it is not installed, or not compatible with the installed protobuf.
    """
    try:
        # The package itself would only log the error and then be empty. If protobuf is too old,
        # the error is not an ImportError.
        import tensorflow_datasets.public_api as package
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise RecipeError(
            "tensorflow-datasets, from the extra `benchmarks`, must be installed and compatible "
            f"with protobuf. Received: {type(error).__name__}: {reason}"
        ) from error
    return package


def images(folder: pathlib.Path, split: str) -> Images:
    """All images of a split of a prepared folder, in the order of its files."""
    tfds = tensorflow_datasets()
    builder = tfds.builder_from_directory(folder)
    data = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
    return Images(data["image"], data["label"].astype("int32"))


def default_folder() -> pathlib.Path:
    """The folder in which TensorFlow Datasets prepares data sets by default."""
    return pathlib.Path(tensorflow_datasets().core.constants.DATA_DIR)
