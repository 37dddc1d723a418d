"""The recipes, one row for each training run, and how they are scaled down to small data sets.

All of their numbers are here. Needs no Keras.
"""

import dataclasses
import difflib
import math
from typing import Any

from benchmarks.recipe import Recipe, RecipeError
from benchmarks.recipes import rows, self_supervised
from benchmarks.recipes.describe import details as details
from benchmarks.recipes.describe import listing as listing
from benchmarks.recipes.rows import Row
from benchmarks.recipes.self_supervised import settings as settings

_EVERY = (*rows.rows_of("quick_start.csv"), *rows.rows_of("published.csv"), *self_supervised.ROWS)
ROWS: dict[str, Row] = {row.name: row for row in _EVERY}


def find(name: str) -> Row:
    """The row with a name. Raises RecipeError if there is none."""
    if name not in ROWS:
        near = ", ".join(difflib.get_close_matches(name, ROWS, n=3)) or "none"
        raise RecipeError(
            "--recipe must be a name that --list_recipes prints. "
            f"Received: {name}; similar names: {near}"
        )
    return ROWS[name]


def default(optimizer: str = "lars", data: str | None = None) -> str:
    """The row to train if none is named: the quick start with this optimizer.

    For your own images it is the paper's ResNet-50 at its smallest batch.
    """
    network = "resnet50_{}_256" if data == "image_folder" else "digits_{}"
    return network.format("sgd" if optimizer == "sgd" else "lars")


def override(name: str | None = None, **fields: Any) -> Recipe:
    """The recipe of a row, by default the one that `default` names, with some fields overridden.

    If `data` differs from the row's, the recipe is first `scaled_down`.

    Raises:
        RecipeError: If there is no such row, it cannot be trained on these data, or a field has a
            value that is not allowed.
    """
    row = find(name or default(fields.get("optimizer", "lars"), fields.get("data")))
    recipe = scaled_down(row.trained, fields.get("data", row.trained.data))
    return dataclasses.replace(recipe, **fields)


@dataclasses.dataclass(frozen=True)
class Scale:
    """How recipes are scaled down for a data set."""

    image_size: int
    width: float
    epochs_divisor: int
    batch_divisor: int


SCALES = {
    "fashion_mnist": Scale(image_size=14, width=0.125, epochs_divisor=10, batch_divisor=4),
    "digits": Scale(image_size=8, width=0.25, epochs_divisor=5, batch_divisor=64),
}


def scaled_down(recipe: Recipe, data: str) -> Recipe:
    """The same recipe on another data set, scaled down if that is small.

    Epochs are divided and rounded up, and the warm-up keeps its fraction of them. The batch is
    divided and rounded down. The virtual batch is divided and then raised to a divisor of the
    batch. Learning rates stay the same, without tuning for the small data, and so do dropout and
    decay. "imagenet2012", "image_folder" and "synthetic" are not small: only `data` changes.

    Raises:
        RecipeError: If there is no such data set, or the recipe is itself for small data, unless
            `data` is "synthetic".
    """
    if data == recipe.data:
        return recipe
    moved = dataclasses.replace(recipe, data=data)
    if recipe.data in SCALES and data != "synthetic":
        raise RecipeError(
            f"--data={data} needs the --recipe of a larger data set, such as imagenet2012. "
            f"Received: a recipe for {recipe.data}"
        )
    if data not in SCALES:
        return moved
    scale = SCALES[data]
    epochs = math.ceil(recipe.epochs / scale.epochs_divisor)
    batch = max(1, recipe.global_batch_size // scale.batch_divisor)
    return dataclasses.replace(
        moved,
        image_size=scale.image_size,
        width=scale.width,
        pixel_scale=1 / 256,
        augmentation="none",
        epochs=epochs,
        warmup_epochs=recipe.warmup_epochs * epochs / recipe.epochs,
        global_batch_size=batch,
        virtual_batch_size=_virtual(recipe.virtual_batch_size, batch, scale.batch_divisor),
    )


def _virtual(virtual_batch_size: int, batch: int, divisor: int) -> int:
    if virtual_batch_size == 0:
        return 0
    least = max(2, virtual_batch_size // divisor)  # one sample has no variance
    return next((size for size in range(least, batch) if batch % size == 0), batch)
