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
from benchmarks.recipes.table import table

__all__ = ["DEFAULT", "ROWS", "Row", "find", "in_small", "override", "settings", "table"]

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
        near = difflib.get_close_matches(name, ROWS, n=3, cutoff=0.3)
        raise RecipeError(
            f"--recipe must be a name that --list_recipes prints, like {', '.join(near or ROWS)}. "
            f"Received: {name}"
        )
    return ROWS[name]


def override(name: str | None = None, **fields: Any) -> Recipe:
    """The recipe of a row, on the data set that is asked for, with fields overridden.

    Args:
        name: Of the row; by default the main job, or its rival if `optimizer` is "sgd".
        **fields: Of `Recipe`. With another `data` the recipe is first put in small.

    Raises:
        RecipeError: If there is no such row, it has no recipe, or a field is not what it can be.
    """
    if name is None:
        name = "digits_sgd" if fields.get("optimizer") == "sgd" else DEFAULT
        return dataclasses.replace(_recipe(name), **fields)
    recipe = _recipe(name)
    if fields.get("data", recipe.data) != recipe.data:
        recipe = in_small(recipe, fields["data"])
    return dataclasses.replace(recipe, **fields)


def _recipe(name: str) -> Recipe:
    row = find(name)
    if row.recipe is None:
        raise RecipeError(
            f"--recipe must be one that can be trained, and {name} is not: {row.note}. "
            f"Received: {name}"
        )
    return row.recipe
