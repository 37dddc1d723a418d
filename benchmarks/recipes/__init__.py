"""The recipes, one row for each training. All of their numbers are here. Needs no Keras."""

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
    if row.recipe is None:
        raise RecipeError(
            f"--recipe must be one that can be trained. Received: {row.name}, which is {row.note}"
        )
    recipe = scaled_down(row.recipe, fields.get("data", row.recipe.data))
    return dataclasses.replace(recipe, **fields)
