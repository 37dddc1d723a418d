"""`Row`: a recipe with where it comes from, and what was published of it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from benchmarks.recipe import Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A line of a published table.

    Attributes:
        name: What `--recipe` is given.
        recipe: What it trains; None where only the published number is here.
        source: Where it was read.
        published: Top-1 accuracy on ImageNet's validation images, in percent, or None.
        unverified: Names of fields of the recipe that the source does not say.
        note: What else one should know.
        settings: Of a row without a recipe, what was published of it.
    """

    name: str
    recipe: Recipe | None
    source: str
    published: float | None = None
    unverified: tuple[str, ...] = ()
    note: str = ""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
