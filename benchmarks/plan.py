"""A recipe with its data and the way it is run: how many updates, and whether it can run at all.

Needs neither Keras nor TensorFlow, which take seconds to start.
"""

import dataclasses
import pathlib

from benchmarks import data, run_folder
from benchmarks.data.data_set import DataSet, Shard, View
from benchmarks.lazy import tf
from benchmarks.recipe import Execution, Recipe, RecipeError
from benchmarks.words import counted


@dataclasses.dataclass(frozen=True)
class Plan:
    """A training that was found to be possible."""

    recipe: Recipe
    data_set: DataSet
    execution: Execution
    is_chief: bool = True  # of all workers, the one that prints and writes files

    @property
    def folder(self) -> pathlib.Path:
        if self.execution.output_dir is None:
            raise RecipeError("--output_dir must be a folder. Received: none")
        return pathlib.Path(self.execution.output_dir)

    @property
    def updates_per_epoch(self) -> int:
        return self.data_set.train_images // self.recipe.global_batch_size

    @property
    def updates(self) -> int:
        return self.updates_per_epoch * self.recipe.epochs

    @property
    def warmup_updates(self) -> int:
        return round(self.updates_per_epoch * self.recipe.warmup_epochs)

    @property
    def micro_batch_size(self) -> int:
        """Images that the replicas see at once, all of them together."""
        return self.execution.micro_batch_size or self.recipe.global_batch_size

    @property
    def micro_batches(self) -> int:
        """Of an update."""
        return self.recipe.global_batch_size // self.micro_batch_size

    @property
    def validated_epochs(self) -> list[int]:
        """Counted from 1: every so many, and the last."""
        every, epochs = self.execution.validate_every_epochs, self.recipe.epochs
        return sorted({*range(every, epochs + 1, every), epochs})

    @property
    def view(self) -> View:
        return View(
            image_size=self.recipe.image_size,
            pixel_scale=self.recipe.pixel_scale,
            augmentation=self.recipe.augmentation,
            seed=self.recipe.seed,
        )

    def epoch(self, epoch: "tf.Tensor", shard: Shard) -> "tf.data.Dataset":
        """The batches of an epoch, counted from 0; see `DataSet.training`."""
        batches = self.updates_per_epoch * self.micro_batches
        return self.data_set.training(epoch, self.view, self.micro_batch_size, batches, shard)


def make_plan(
    recipe: Recipe, execution: Execution, is_chief: bool = True, described: bool = False
) -> Plan:
    """The plan of a recipe, having changed nothing on the disk.

    Args:
        recipe: What to train.
        execution: How, and where to.
        is_chief: Whether this worker writes files.
        described: Whether the plan is only to be described; known data need not be there then.

    Raises:
        RecipeError: If the data are not there, the batch is larger than they are or no multiple of
            the micro-batch, the warm-up is as long as the training, or the folder cannot be written
            or holds something else.
    """
    if execution.output_dir is not None and is_chief:
        run_folder.check(pathlib.Path(execution.output_dir), recipe, execution)
    find = data.describe if described else data.load
    plan = Plan(recipe, find(recipe.data, execution.data_dir), execution, is_chief)
    if plan.updates_per_epoch == 0:
        raise RecipeError(
            "--global_batch_size must be at most the "
            f"{counted(plan.data_set.train_images, 'training image')} of {recipe.data}. "
            f"Received: {recipe.global_batch_size}"
        )
    if plan.micro_batches * plan.micro_batch_size != recipe.global_batch_size:
        raise RecipeError(
            f"--micro_batch_size must divide --global_batch_size, which is "
            f"{recipe.global_batch_size}. Received: {plan.micro_batch_size}"
        )
    if plan.warmup_updates >= plan.updates:
        raise RecipeError(
            f"--warmup_epochs must be less than --epochs, which is {recipe.epochs}. "
            f"Received: {recipe.warmup_epochs:g}"
        )
    return plan


def check_replicas(plan: Plan, replicas: int) -> None:
    """Raise unless each replica gets the same number of images, and whole virtual batches."""
    if plan.micro_batch_size % replicas:
        flag = "micro" if plan.execution.micro_batch_size else "global"
        raise RecipeError(
            f"--{flag}_batch_size must be a multiple of the {counted(replicas, 'replica')}. "
            f"Received: {plan.micro_batch_size}"
        )
    seen, virtual = plan.micro_batch_size // replicas, plan.recipe.virtual_batch_size
    if virtual and seen > virtual and seen % virtual:
        raise RecipeError(
            f"--virtual_batch_size must divide the {counted(seen, 'image')} that a replica "
            f"sees at once. Received: {virtual}"
        )
