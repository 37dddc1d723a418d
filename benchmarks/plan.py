"""A recipe with its data: how many updates it takes, and whether it can run at all.

Needs neither Keras nor TensorFlow, which take seconds to start.
"""

import dataclasses
import os
import pathlib

from benchmarks.data import DATA_SETS, Images
from benchmarks.recipes import Recipe, RecipeError


@dataclasses.dataclass(frozen=True)
class Plan:
    """A training that was found to be possible."""

    recipe: Recipe
    images: Images
    output_dir: pathlib.Path | None  # None for a worker that leaves files to the chief

    @property
    def updates_per_epoch(self) -> int:
        return len(self.images.train_labels) // self.recipe.global_batch_size

    @property
    def updates(self) -> int:
        return self.updates_per_epoch * self.recipe.epochs

    @property
    def warmup_updates(self) -> int:
        return round(self.updates_per_epoch * self.recipe.warmup_epochs)


def make_plan(recipe: Recipe, output_dir: str | os.PathLike | None) -> Plan:
    """The plan of a recipe, having changed nothing on the disk.

    Args:
        recipe: What to train.
        output_dir: The run folder: new, or empty. `None` for a worker that writes no files.

    Raises:
        RecipeError: If the batch is larger than the data, the warm-up as long as the training, or
            the folder holds something already or cannot be written.
    """
    folder = None if output_dir is None else pathlib.Path(output_dir)
    plan = Plan(recipe, DATA_SETS[recipe.data](), folder)
    if plan.updates_per_epoch == 0:
        raise RecipeError(
            f"--global_batch_size must be at most the {len(plan.images.train_labels)} training "
            f"images of {recipe.data}. Received: {recipe.global_batch_size}"
        )
    if plan.warmup_updates >= plan.updates:
        raise RecipeError(
            f"--warmup_epochs must be less than --epochs, which is {recipe.epochs}. "
            f"Received: {recipe.warmup_epochs:g}"
        )
    if plan.output_dir is not None:
        _check_folder(plan.output_dir)
    return plan


def _check_folder(folder: pathlib.Path) -> None:
    nearest = next(path for path in [folder, *folder.absolute().parents] if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise RecipeError(f"--output_dir cannot be written. Received: {folder}")
    if nearest == folder and any(folder.iterdir()):
        raise RecipeError(f"--output_dir must be a new folder, or an empty one. Received: {folder}")
