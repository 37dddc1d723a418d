"""`Point`: one training of a figure."""

import dataclasses
import re
from collections.abc import Mapping

from benchmarks.recipe import Recipe
from benchmarks.recipes import Row


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """One training of a figure.

    Attributes:
        name: Of its run folder.
        label: What sets it apart in the figure, in words; points that differ in the seed alone have
            the same label.
        recipe: What is trained.
        row: Name of the published row that it stands for; empty if it stands for none.
        published: Top-1 accuracy of that row on ImageNet, in percent, or None.
        source: Where that was read.
    """

    name: str
    label: Mapping[str, str | float]
    recipe: Recipe
    row: str = ""
    published: float | None = None
    source: str = ""


def make(label: Mapping[str, str | float], recipe: Recipe, row: Row | None = None) -> Point:
    """A point with a name of its own.

    Args:
        label: What sets it apart.
        recipe: What is trained.
        row: The published row that it stands for, if it does.
    """
    parts = [_part(name, value) for name, value in label.items()]
    return Point(
        name="-".join([*parts, f"seed{recipe.seed}"]),
        label=label,
        recipe=recipe,
        row=row.name if row else "",
        published=row.published if row else None,
        source=row.source if row else "",
    )


def _part(name: str, value: str | float) -> str:
    text = value if isinstance(value, str) else f"{name} {value:g}"
    return re.sub(r"[^a-z0-9.]+", "_", text.lower())
