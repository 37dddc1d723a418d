"""Recipes as text for a terminal of 80 columns: a list of all, and the details of one.

A question mark follows values that the source does not state.
"""

import itertools
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.recipes.rows import Row

_WIDTH, _INDENT = 80, 14  # the indent of a training's description
_SHORT = {"none": "-", "bias_or_normalization": "bias, norm", "rank_1": "rank 1"}
# The details that the list also shows, and shorter names for two of them.
_LISTED = ("name", "model", "batch", "learning rate", "epochs", "top-1 %")
_SHORTER = {"learning rate": "rate", "top-1 %": "top-1"}
_TEXTS = 2  # the number of texts, which come first and are left-aligned


def listing(rows: Iterable[Row]) -> str:
    """One line per recipe, grouped by source: what it trains, and the published accuracy."""
    rows = list(rows)
    lines = [[_cells(row)[name] for name in _LISTED] for row in rows]
    names = [_SHORTER.get(name, name) for name in _LISTED]
    widths = [max(map(len, column)) for column in zip(names, *lines)]

    def joined(cells: Iterable[str]) -> str:
        pads = [str.ljust] * _TEXTS + [str.rjust] * (len(widths) - _TEXTS)
        return " ".join(pad(text, width) for pad, text, width in zip(pads, cells, widths)).rstrip()

    parts = [joined(names)]
    for source, group in itertools.groupby(zip(rows, lines), key=lambda pair: pair[0].source):
        parts += ["", f"{source}:", *(joined(line) for _, line in group)]
    end = (
        "top-1 is the published accuracy in %. A question mark follows values that the source does "
        "not state. --recipe=NAME --dry_run shows the details of a recipe and what it would do "
        "here."
    )
    return "\n".join([*parts, "", textwrap.fill(end, _WIDTH)])


def details(row: Row) -> str:
    """Everything known about a published recipe, one line per topic.

    A decay "from update 0" starts there; all others start at the end of the warm-up.
    """
    lines = {**_cells(row), "unverified": ", ".join(row.unverified)}
    lines |= {"source": row.source, "note": row.note}
    indent = " " * _INDENT
    wrapper = textwrap.TextWrapper(_WIDTH, subsequent_indent=indent, break_on_hyphens=False)
    return "\n".join(
        wrapper.fill(name.ljust(_INDENT) + text) for name, text in lines.items() if text
    )


def _cells(row: Row) -> dict[str, str]:
    values = row.values

    def cell(text: str, *fields: str) -> str:
        return text + "?" * (text != "" and any(field in row.unverified for field in fields))

    def value(field: str) -> str:
        return cell(_text(values.get(field)), field)

    return {
        "name": row.name,
        "model": value("model"),
        "data": value("data"),
        "batch": value("global_batch_size"),
        "optimizer": value("optimizer"),
        "learning rate": value("learning_rate"),
        "warm-up": cell(_warm_up(values), "warmup_epochs", "warmup_power", "start_learning_rate"),
        "decay": cell(_decay(values), "decay", "decay_power", "end_learning_rate", "shift_decay"),
        "momentum": value("momentum"),
        "weight decay": value("weight_decay"),
        "excluded": cell(
            _excluded(values), "exclude_from_weight_decay", "exclude_from_layer_adaptation"
        ),
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


def _excluded(values: Mapping[str, Any]) -> str:
    if "exclude_from_weight_decay" not in values:
        return ""
    decay = _SHORT[values["exclude_from_weight_decay"]]
    adaptation = _SHORT[values["exclude_from_layer_adaptation"]]
    return decay if decay == adaptation else f"decay: {decay}; adaptation: {adaptation}"


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
