"""Folders that TensorFlow Datasets reads, and the error where it is not installed."""

import pathlib
from typing import Any

from benchmarks.recipe import RecipeError


def tensorflow_datasets() -> Any:
    """The package.

    Raises:
        RecipeError: If it is not there, or not in a version that goes with the others.
    """
    try:
        # By itself the package only logs what went wrong, and is empty then. With a protobuf that
        # is too old for it, that is no ImportError.
        import tensorflow_datasets.public_api as package
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise RecipeError(
            "tensorflow-datasets must be installed, which is in the extra `benchmarks`, and go "
            f"with the installed protobuf. Received: {type(error).__name__}: {reason}"
        ) from error
    return package


def read(folder: pathlib.Path) -> Any:
    """The read-only builder of a prepared folder, that of one version."""
    return tensorflow_datasets().builder_from_directory(folder)


def default_folder() -> pathlib.Path:
    """Where TensorFlow Datasets prepares data sets by default."""
    return pathlib.Path(tensorflow_datasets().core.constants.DATA_DIR)
