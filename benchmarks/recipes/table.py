"""Recipes as a table."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from benchmarks.recipes.row import Row

_HEADER = (
    "name",
    "model",
    "data",
    "batch",
    "optimizer",
    "learning rate",
    "warm-up",
    "decay",
    "momentum",
    "weight decay",
    "not decayed",
    "not adapted",
    "epochs",
    "top-1 %",
    "source",
)
_SHORT = {"bias_or_normalization": "bias, norm", "rank_1": "rank 1", "none": "-", None: ""}


def table(rows: Iterable[Row]) -> str:
    """A Markdown table; a question mark is behind what the source does not say."""
    lines = [_HEADER, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths))} |"
        for line in lines
    )


def _cells(row: Row) -> tuple[str, ...]:
    values = row.settings if row.recipe is None else dataclasses.asdict(row.recipe)

    def cell(name: str, text: str | None = None) -> str:
        text = _text(values.get(name)) if text is None else text
        return text + "?" * (name in row.unverified and text != "")

    return (
        row.name,
        cell("model"),
        cell("data"),
        cell("global_batch_size"),
        cell("optimizer"),
        cell("learning_rate"),
        _warm_up(values) + "?" * any(name in row.unverified for name in _OF_WARM_UP),
        cell("decay", _decay(values)),
        cell("momentum"),
        cell("weight_decay"),
        cell("exclude_from_weight_decay", _SHORT[values.get("exclude_from_weight_decay")]),
        cell("exclude_from_layer_adaptation", _SHORT[values.get("exclude_from_layer_adaptation")]),
        cell("epochs"),
        _text(row.published) + "?" * ("published" in row.unverified),
        "; ".join(filter(None, (row.source, row.note))),
    )


_OF_WARM_UP = ("warmup_epochs", "start_learning_rate", "shift_decay")


def _warm_up(values: dict) -> str:
    epochs = values.get("warmup_epochs")
    if not epochs:
        return "" if epochs is None else "-"
    if "warmup_power" not in values:
        return f"{epochs:g} ep"
    shape = "linear" if values["warmup_power"] == 1 else f"power {values['warmup_power']:g}"
    return f"{epochs:g} ep {shape} from {values['start_learning_rate']:g}"


def _decay(values: dict) -> str:
    if values.get("decay") != "polynomial":
        return values.get("decay", "")
    start = "" if values["shift_decay"] else " from update 0"
    return f"poly {values['decay_power']:g} to {values['end_learning_rate']:g}{start}"


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
