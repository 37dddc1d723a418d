"""A recipe with its data and execution: the number of updates, and whether it can run.

Needs neither Keras nor TensorFlow, which take seconds to import.
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
    """A training run that can run, as `make_plan` has checked."""

    recipe: Recipe
    data_set: DataSet
    execution: Execution
    is_chief: bool = True  # whether this worker is the one that prints and writes files

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
        """Images in a micro-batch, over all replicas."""
        return self.execution.micro_batch_size or self.recipe.global_batch_size

    @property
    def micro_batches(self) -> int:
        """The number of micro-batches in an update."""
        return self.recipe.global_batch_size // self.micro_batch_size

    @property
    def validated_epochs(self) -> list[int]:
        """The epochs that end with a validation, counted from 1. They include the last."""
        every, epochs = self.execution.validate_every_epochs, self.recipe.epochs
        return sorted({*range(every, epochs + 1, every), epochs})

    @property
    def view(self) -> View:
        recipe = self.recipe
        return View(recipe.image_size, recipe.pixel_scale, recipe.augmentation, recipe.seed)

    def epoch(self, epoch: "tf.Tensor", shard: Shard) -> "tf.data.Dataset":
        """The batches of an epoch, counted from 0; see `DataSet.training`."""
        batches = self.updates_per_epoch * self.micro_batches
        return self.data_set.training(epoch, self.view, self.micro_batch_size, batches, shard)


def make_plan(
    recipe: Recipe, execution: Execution, is_chief: bool = True, described: bool = False
) -> Plan:
    """Checks a recipe and makes its plan. Changes nothing on disk.

    If the plan is only to be described, published data may be missing.

    Raises:
        RecipeError: If the data are missing, the batch is larger than the data or not a multiple of
            the micro-batch, the warm-up is as long as the training, or the folder cannot be
            written or holds another run, or one with other data.
    """
    before = None
    # By all workers: otherwise the others would wait for one that was refused.
    if execution.output_dir is not None:
        before = run_folder.check(pathlib.Path(execution.output_dir), recipe, execution, is_chief)
    find = data.describe if described else data.load
    plan = Plan(recipe, find(recipe.data, execution.data_dir), execution, is_chief)
    if plan.updates_per_epoch == 0:
        raise RecipeError(
            f"--global_batch_size must be at most {plan.data_set.train_images}, the number of "
            f"training images in {recipe.data}. Received: {recipe.global_batch_size}"
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
    # With other images, it would resume at another place, with another schedule.
    if before not in (None, plan.updates_per_epoch):
        raise RecipeError(
            f"--resume must be given with the data of the run in --output_dir, {plan.folder}. "
            f"Received: images for {plan.updates_per_epoch} updates per epoch instead of {before}"
        )
    return plan


def check_replicas(plan: Plan, replicas: int) -> None:
    """Raises RecipeError unless replicas get equally many images, in whole virtual batches."""
    if plan.micro_batch_size % replicas:
        flag = "micro" if plan.execution.micro_batch_size else "global"
        raise RecipeError(
            f"--{flag}_batch_size must be a multiple of {replicas}, the number of replicas. "
            f"Received: {plan.micro_batch_size}"
        )
    seen, virtual = plan.micro_batch_size // replicas, plan.recipe.virtual_batch_size
    if virtual and seen > virtual and seen % virtual:
        raise RecipeError(
            f"--virtual_batch_size must divide the {counted(seen, 'image')} of a micro-batch on a "
            f"replica. Received: {virtual}"
        )
