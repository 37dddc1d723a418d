"""Plots of trainings at many batch sizes: accuracy and loss, and accuracy by learning rate."""

import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from benchmarks.experiments import plots
from benchmarks.experiments.results import of
from benchmarks.experiments.small.tables import frame, methods_of

COLORS = {
    "momentum": "#888888",
    "nesterov": "#1b6fb3",
    "lars": "#d1495b",
    "lamb": "#3c8d5a",
}
QUANTITIES = {"test_accuracy": "accuracy on test images", "measured_loss": "training loss"}
# Those whose learning rate alone is searched, or follows from a search.
BY_RATE = ("momentum", "lars", "lamb")


def plot(found: dict, path: pathlib.Path) -> None:
    """Accuracy and training loss by batch size, a line for each method, if there are seeds."""
    seeds = of(frame(found), kind="seed")
    if seeds.empty:
        plot_rates(found, path)
        return
    methods = {method.name: method for method in methods_of(found)}
    seeds = seeds.assign(words=seeds["method"].map(lambda name: methods[name].words))
    styles = {
        method.words: {
            "color": COLORS[method.optimizer],
            "linestyle": "-" if method.space else "--",
        }
        for method in methods.values()
    }
    names = ["network", "batch", "words", "failed"]
    points = seeds.rename(columns=QUANTITIES).melt(names, list(QUANTITIES.values()), "quantity")
    # The networks one below the other, in their order.
    points["panel"] = points["network"] + ": " + points["quantity"]
    points = points.sort_values("network", kind="stable", key=_order(seeds["network"]))
    title = f"{_subject(found)}: mean and range of {found['settings']['seeds']} seeds"
    size = (11, 4.2 * seeds["network"].nunique())
    with plots.panels(path, title, points, "panel", 2, size) as panels:
        for axis, rows in panels:
            plots.lines(axis, rows, "batch", "value", "words", styles, marker="o", markersize=3)
            axis.set(xlabel="batch size")
            plots.log_axis(axis, found["settings"]["batches"], "{:,}".format)
        for axis, _ in panels[1::2]:
            axis.set_yscale("log")
        plots.legend(panels[0][0], seeds, fontsize=8, loc="center left")


def plot_rates(found: dict, path: pathlib.Path) -> None:
    """Accuracy by learning rate, a line for each batch size: how wide the range is that works."""
    from matplotlib import colormaps

    methods = {method.name: method for method in methods_of(found)}
    table = frame(found)
    table["optimizer"] = table["method"].map(lambda name: methods[name].optimizer)
    table = table[table["optimizer"].isin(BY_RATE)].assign(failed=False)
    table["panel"] = table["network"] + ": " + table["optimizer"]
    table = table.sort_values("optimizer", kind="stable", key=_order(BY_RATE))
    table = table.sort_values("network", kind="stable", key=_order(frame(found)["network"]))
    table["line"] = [f"{batch:,}" for batch in table["batch"]]
    batches = found["settings"]["batches"]
    colors = colormaps["viridis"].resampled(len(batches) + 1)
    styles = {f"{batch:,}": {"color": colors(number)} for number, batch in enumerate(batches)}
    title = f"{_subject(found)}: one that diverged counts as a guess"
    size = (11, 3.6 * table["network"].nunique())
    options: dict[str, Any] = {"sharey": "row", "sharex": "col"}
    with plots.panels(path, title, table, "panel", len(BY_RATE), size, **options) as panels:
        for axis, rows in panels:
            style = {"marker": "o", "markersize": 3}
            plots.lines(axis, rows, "rate", "counted_accuracy", "line", styles, **style)
            tried = of(rows, kind="trial")["rate"]
            plots.log_axis(axis, sorted(tried.unique()), lambda rate: f"{float(f'{rate:.2g}'):g}")
        for axis, _ in panels[:: len(BY_RATE)]:
            axis.set_ylabel("accuracy on test images")
        for axis, _ in panels[-len(BY_RATE) :]:
            axis.set_xlabel("learning rate")
        panels[0][0].legend(title="batch size", fontsize=8)


def _order(values: Iterable[str]) -> Callable[[pd.Series], pd.Series]:
    """A key for `sort_values`: by where a value is first among these."""
    places = {value: number for number, value in reversed(list(enumerate(values)))}
    return lambda column: column.map(places)


def _subject(found: dict) -> str:
    size, data = found["settings"]["image_size"], found["settings"]["data"]
    name = {"fashion_mnist": "Fashion-MNIST", "digits": "Digits"}[data]
    return f"{name} at {size}x{size}, {found['settings']['epochs']} epochs"
