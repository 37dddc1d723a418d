"""What is trained, on what, and how: one frozen row a training, and no number anywhere else.

Nothing here needs Keras.
"""

import dataclasses
import difflib
from typing import Any

from benchmarks.recipe import Recipe, RecipeError
from benchmarks.recipes import quick_start, rows, self_supervised
from benchmarks.recipes.describe import details, listing
from benchmarks.recipes.rows import Row
from benchmarks.recipes.scaled_down import scaled_down
from benchmarks.recipes.self_supervised import settings

__all__ = [
    "ROWS",
    "Row",
    "default",
    "details",
    "find",
    "listing",
    "override",
    "scaled_down",
    "settings",
]

ROWS: dict[str, Row] = {
    row.name: row for row in (*quick_start.ROWS, *rows.published(), *self_supervised.ROWS)
}


def find(name: str) -> Row:
    """A row by its name.

    Raises:
        RecipeError: If there is none.
    """
    if name not in ROWS:
        near = ", ".join(difflib.get_close_matches(name, ROWS, n=3)) or "none"
        raise RecipeError(
            f"--recipe must be a name that --list_recipes prints. Received: {name}; near: {near}"
        )
    return ROWS[name]


def default(optimizer: str = "lars", data: str | None = None) -> str:
    """The name of the row that is trained where none is asked for.

    The quick start, with LARS or with SGD; on your own images the paper's ResNet-50 at its smallest
    batch.
    """
    network = "resnet50_{}_256" if data == "image_folder" else "digits_{}"
    return network.format("sgd" if optimizer == "sgd" else "lars")


def override(name: str | None = None, **fields: Any) -> Recipe:
    """The recipe of a row, on the data set that is asked for, with fields overridden.

    Args:
        name: Of the row; by default as `default` has it.
        **fields: Of `Recipe`. Where `data` is another than the row's, the recipe is first
            `scaled_down`.

    Raises:
        RecipeError: If there is no such row, it has no recipe or none for those data, or a field is
            not what it can be.
    """
    row = find(name or default(fields.get("optimizer", "lars"), fields.get("data")))
    if row.recipe is None:
        raise RecipeError(
            f"--recipe must be one that can be trained. Received: {row.name}, which is {row.note}"
        )
    recipe = scaled_down(row.recipe, fields.get("data", row.recipe.data))
    return dataclasses.replace(recipe, **fields)
