"""`Row`: a recipe, its source and its published accuracy. CSV files hold the rows."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from benchmarks import files
from benchmarks.recipe import Recipe, RecipeError

NOT_TRAINABLE = ("googlenet",)
FIELDS = {field.name for field in dataclasses.fields(Recipe)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A line of a published table."""

    name: str  # the value for `--recipe`
    recipe: Recipe | None  # None if it cannot be trained here
    values: Mapping[str, Any]  # those that are known, by field name of `Recipe`
    source: str  # where the numbers were published
    published: float | None = None  # top-1 accuracy on ImageNet's validation images, in percent
    # Names of fields, or "published", that the source does not state. Their values here are the
    # likeliest: what the same authors did elsewhere, or what is usual.
    unverified: tuple[str, ...] = ()
    note: str = ""

    @property
    def trained(self) -> Recipe:
        """The recipe. Raises RecipeError if there is none."""
        if self.recipe is None:
            raise RecipeError(
                f"--recipe must be one that can be trained. Received: {self.name}, which is "
                f"{self.note}"
            )
        return self.recipe


def read(name: str) -> list[dict[str, Any]]:
    """The lines of a CSV file in this folder: the values that are not blank, by column name."""
    return files.csv_lines(pathlib.Path(__file__).with_name(name), Recipe, Row)


NETWORKS = {line["model"]: line for line in read("networks.csv")}


def rows_of(name: str) -> list[Row]:
    """The rows of a CSV file, without recipes for networks that are not implemented."""
    rows = []
    for line in read(name):
        fields = {name: line.pop(name) for name in list(line) if name in FIELDS}
        model = fields["model"]
        recipe = None if model in NOT_TRAINABLE else Recipe(**{**NETWORKS[model], **fields})
        values = dataclasses.asdict(recipe) if recipe else fields
        rows.append(Row(recipe=recipe, values=values, **line))
    return rows
