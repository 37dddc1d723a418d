"""Recipes as tables, which one can read in a terminal of some 200 columns."""

import dataclasses
import itertools
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.recipes.row import Row

_SHORT = {"none": "-", "bias_or_normalization": "bias, norm", "rank_1": "rank 1"}


_WIDTH = 200
# Fields that share a column, and all that a column shows.
_WARM_UP = ("warmup_epochs", "warmup_power", "start_learning_rate")
_DECAY = ("decay", "decay_power", "end_learning_rate", "shift_decay")
_EXCLUDED = ("exclude_from_weight_decay", "exclude_from_layer_adaptation")
_SHOWN = (
    *("model", "data", "global_batch_size", "optimizer", "learning_rate"),
    *(*_WARM_UP, *_DECAY, "momentum", "weight_decay", *_EXCLUDED, "epochs", "published"),
)


def table(rows: Iterable[Row]) -> str:
    """Markdown tables, one for each source, with its notes below.

    A question mark is behind what the source does not say. A decay "from update 0" counts from
    there, and any other one from the end of the warm-up.
    """
    parts = []
    for source, of_source in itertools.groupby(rows, key=lambda row: row.source):
        of_source = list(of_source)
        parts.append(f"{source}:\n\n{_lines([_cells(row) for row in of_source])}\n")
        parts.extend(f"{notes}\n" for notes in [_notes(of_source)] if notes)
    return "\n".join(parts)


def _lines(rows: list[dict[str, str]]) -> str:
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    lines = [names, *([row[name] for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths))} |"
        for line in lines
    )


def _notes(rows: list[Row]) -> str:
    """Each note once, with the names of its rows."""
    of_note = {}
    for row in rows:
        not_shown = [name for name in row.unverified if name not in _SHOWN]
        for note in (row.note, f"unverified: {', '.join(not_shown)}" if not_shown else ""):
            if note:
                of_note.setdefault(note, []).append(row.name)
    return "\n".join(
        textwrap.fill(
            f"- {', '.join(names) if len(names) < len(rows) else 'all'}: {note}",
            width=_WIDTH,
            subsequent_indent="  ",
            break_on_hyphens=False,
        )
        for note, names in of_note.items()
    )


def _cells(row: Row) -> dict[str, str]:
    values = row.settings if row.recipe is None else dataclasses.asdict(row.recipe)

    def cell(text: str, *names: str) -> str:
        return text + "?" * (text != "" and any(name in row.unverified for name in names))

    def value(name: str) -> str:
        return cell(_text(values.get(name)), name)

    return {
        "name": row.name,
        "model": value("model"),
        "data": value("data"),
        "batch": value("global_batch_size"),
        "optimizer": value("optimizer"),
        "learning rate": value("learning_rate"),
        "warm-up": cell(_warm_up(values), *_WARM_UP),
        "decay": cell(_decay(values), *_DECAY),
        "momentum": value("momentum"),
        "weight decay": value("weight_decay"),
        "excluded": cell(_excluded(*(values.get(name) for name in _EXCLUDED)), *_EXCLUDED),
        "epochs": value("epochs"),
        "top-1 %": cell(_text(row.published), "published"),
    }


def _warm_up(values: Mapping[str, Any]) -> str:
    epochs = values.get("warmup_epochs")
    if not epochs:
        return "" if epochs is None else "-"
    if "warmup_power" not in values:
        return f"{epochs:.3g} ep"
    shape = "linear" if values["warmup_power"] == 1 else f"power {values['warmup_power']:g}"
    return f"{epochs:.3g} ep {shape} from {values['start_learning_rate']:g}"


def _decay(values: Mapping[str, Any]) -> str:
    if values.get("decay") != "polynomial":
        return values.get("decay", "")
    end = f" to {values['end_learning_rate']:g}" if values["end_learning_rate"] else ""
    start = "" if values["shift_decay"] or not values["warmup_epochs"] else " from update 0"
    return f"poly {values['decay_power']:g}{end}{start}"


def _excluded(decay: str | None, adaptation: str | None) -> str:
    if decay is None or decay == adaptation:
        return "" if decay is None else _SHORT[decay]
    return f"decay: {_SHORT[decay]}; adaptation: {_SHORT[adaptation]}"


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
