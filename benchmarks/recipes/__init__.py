"""What is trained, on what, and how: one frozen row a training, and no number anywhere else.

Nothing here needs Keras.
"""

import dataclasses
import difflib
from typing import Any

from benchmarks.recipe import Recipe, RecipeError
from benchmarks.recipes import digits, mlperf, paper, reproductions, self_supervised
from benchmarks.recipes.row import Row
from benchmarks.recipes.self_supervised import settings
from benchmarks.recipes.small import in_small
from benchmarks.recipes.table import details, listing

__all__ = [
    "DEFAULT",
    "ROWS",
    "Row",
    "default",
    "details",
    "find",
    "in_small",
    "listing",
    "override",
    "settings",
]

DEFAULT = "digits_lars"

ROWS: dict[str, Row] = {
    row.name: row
    for source in (digits, paper, mlperf, reproductions, self_supervised)
    for row in source.ROWS
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

    The main job, or its rival; on your own images the paper's ResNet-50 at its smallest batch.
    """
    network = "resnet50_{}_256" if data == "image_folder" else "digits_{}"
    return network.format("sgd" if optimizer == "sgd" else "lars")


def override(name: str | None = None, **fields: Any) -> Recipe:
    """The recipe of a row, on the data set that is asked for, with fields overridden.

    Args:
        name: Of the row; by default as `default` has it.
        **fields: Of `Recipe`. Where `data` is another than the row's, the recipe is first put
            `in_small`.

    Raises:
        RecipeError: If there is no such row, it has no recipe or none for those data, or a field is
            not what it can be.
    """
    row = find(name or default(fields.get("optimizer", "lars"), fields.get("data")))
    if row.recipe is None:
        raise RecipeError(
            f"--recipe must be one that can be trained. Received: {row.name}, which is {row.note}"
        )
    recipe = in_small(row.recipe, fields.get("data", row.recipe.data))
    return dataclasses.replace(recipe, **fields)
