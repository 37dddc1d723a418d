"""`Row`: a recipe with where it comes from, and what was published of it."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from benchmarks.recipe import Recipe, RecipeError


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


def joined(*notes: str) -> str:
    """The notes that there are, as one."""
    return "; ".join(filter(None, notes))
