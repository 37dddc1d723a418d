"""`Row`: a recipe, where it comes from, and what was published of it. They stand in CSV files."""

import csv
import dataclasses
import pathlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from benchmarks.recipe import Recipe, RecipeError
from benchmarks.settings import kind_of

# In what the networks of published rows differ from the defaults of `Recipe`.
_OF_THE_PAPER = {"shift_decay": False}
NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "alexnet": {**_OF_THE_PAPER, "image_size": 227, "pixel_scale": 1.0, "dropout": 0.5},
    "alexnet_bn": {**_OF_THE_PAPER, "image_size": 227, "dropout": 0.5},
    "resnet50": _OF_THE_PAPER,
    # MLPerf's, and torchvision's.
    "resnet50_v1_5": {
        "augmentation": "extended",
        "label_smoothing": 0.1,
        "exclude_from_weight_decay": "bias_or_normalization",
        "exclude_from_layer_adaptation": "bias_or_normalization",
    },
}
NOT_HERE = ("googlenet",)
_KINDS = {field.name: kind_of(field)[0] for field in dataclasses.fields(Recipe)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A line of a published table.

    Attributes:
        name: What `--recipe` is given.
        recipe: What it trains; None where only what was published is here.
        source: Where it was read.
        published: Top-1 accuracy on ImageNet's validation images, in percent, or None.
        unverified: Names of fields, or "published", that were not seen in the source. What they
            are here is the likeliest: what the same authors did elsewhere, or the usual.
        note: What else one should know.
        settings: Of a row without a recipe, what was published, by the names of a recipe's fields.
    """

    name: str
    recipe: Recipe | None
    source: str
    published: float | None = None
    unverified: tuple[str, ...] = ()
    note: str = ""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=lambda: MappingProxyType({}))

    @property
    def trained(self) -> Recipe:
        """The recipe, of a row that has one."""
        if self.recipe is None:
            raise RecipeError(f"{self.name} has no recipe, only what was published")
        return self.recipe

    @property
    def values(self) -> Mapping[str, Any]:
        """What is known, by the names of a recipe's fields."""
        return self.settings if self.recipe is None else dataclasses.asdict(self.recipe)


def read(name: str) -> list[dict[str, Any]]:
    """The lines of a CSV file in this folder: by column what is not blank, of the type it has."""
    path = pathlib.Path(__file__).with_name(name)
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(line for line in file if not line.startswith("#")))
    return [{name: _value(name, text) for name, text in line.items() if text} for line in lines]


def _value(name: str, text: str) -> Any:
    if name == "unverified":
        return tuple(text.split())
    kind = _KINDS.get(name, float if name == "published" else str)
    return text == "true" if kind is bool else kind(text)


def published() -> list[Row]:
    """The rows of `published.csv`. Of a network that is not here there is no recipe."""
    rows = []
    for line in read("published.csv"):
        fields = {name: line.pop(name) for name in list(line) if name in _KINDS}
        if fields["model"] in NOT_HERE:
            rows.append(Row(recipe=None, settings=MappingProxyType(fields), **line))
        else:
            recipe = Recipe(**{**NETWORKS[fields["model"]], **fields})
            rows.append(Row(recipe=recipe, **line))
    return rows
