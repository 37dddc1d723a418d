"""Plots of results: lines show the mean over seeds, bands their range, crosses failed runs."""

import contextlib
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACCURACY = "accuracy on held-out images, %"
# Colors of lines that are not optimizers, such as batches and variants.
CYCLE = ("#1f5fa8", "#d1620a", "#2a8a4a", "#8b3fa8", "#7a7a7a")


@contextlib.contextmanager
def panels(
    path: pathlib.Path,
    title: str,
    table: pd.DataFrame,
    by: str | None = None,  # the column with one panel per value
    columns: int | None = None,  # panels in a row; all by default
    size: tuple[float, float] | None = None,  # of a panel, in inches
    bottom: float | None = None,  # of the first y axis, and of those that share it
    **options: Any,
) -> Iterator[list[tuple["Axes", pd.DataFrame]]]:
    """Yields axes to draw on, each with its rows of the table, and then writes the PNG file.

    `options` are arguments of `Figure.subplots`.
    """
    from matplotlib.figure import Figure

    parts = table.groupby(by, sort=False) if by else [("", table)]
    columns = columns or len(parts)
    rows = math.ceil(len(parts) / columns)
    width, height = size or (max(7.5 / columns, 5.2), 4.3 + 0.6 / rows)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    figure.suptitle(title)
    axes = list(figure.subplots(rows, columns, squeeze=False, **options).flat)
    for axis, (name, _) in zip(axes, parts):
        axis.set_title(name)
        axis.grid(alpha=0.3, which="major")
    yield [(axis, part) for axis, (_, part) in zip(axes, parts)]
    if bottom is not None:  # last, because it turns automatic limits off
        axes[0].set_ylim(bottom=bottom)
    for axis in axes[len(parts) :]:
        axis.set_axis_off()
    figure.savefig(path, dpi=110)


def lines(
    axis: "Axes",
    table: pd.DataFrame,
    x: str,
    y: str,
    styles: Mapping[Any, dict] | None = None,
    **style: Any,
) -> None:
    """Draws mean and range of column `y` against column `x`, and crosses where runs failed.

    Args:
        axis: Where to draw.
        table: One row per training and point. Its column `line` has the names of lines, as shown
            in the legend, and `failed` marks failed trainings. Values in `reference` are published
            ones, and are drawn faintly in the background, with their `source` in the legend.
        x: Column for the x axis.
        y: Column for the y axis.
        styles: Style of each line, by name; by default colors are taken in turn.
        **style: Style of all lines.
    """
    if x == "epoch":
        axis.locator_params(axis="x", integer=True)
    for number, (name, group) in enumerate(table.groupby("line", sort=False)):
        look = {"color": CYCLE[number % len(CYCLE)], **style, **(styles or {}).get(name, {})}
        values = group[~group["failed"]].assign(y=group[y].astype(float)).groupby(x)["y"]
        reached = values.agg(["mean", "min", "max"]).dropna()
        axis.plot(reached.index, reached["mean"], label=name, **look)
        if (reached["min"] < reached["max"]).any():
            shade: dict[str, Any] = {"color": look["color"], "alpha": 0.18, "linewidth": 0}
            axis.fill_between(reached.index, reached["min"], reached["max"], **shade)
        if failed := sorted(set(group.loc[group["failed"], x])):
            cross: dict[str, Any] = {"markersize": 9, "markeredgewidth": 2.5, "zorder": 5}
            at_the_bottom = axis.get_xaxis_transform()  # y is a fraction of the axis
            cross |= {"color": look["color"], "transform": at_the_bottom, "clip_on": False}
            axis.plot(failed, [0.025] * len(failed), "x", **cross)
        known = group[group["reference"].notna()] if "reference" in group else group[:0]
        if len(known):
            known = known.drop_duplicates(x)
            label = f"published: {known['source'].iloc[0].split(';')[0]}"
            published(axis, list(known[x]), list(known["reference"]), label, look["color"])


def published(
    axis: "Axes", xs: Sequence[float], ys: Sequence[float], label: str, color: str
) -> None:
    """Draws published values faintly in the background, with one legend entry per label."""
    if label in axis.get_legend_handles_labels()[1]:
        label = "_" + label
    faint: dict[str, Any] = {"alpha": 0.45, "linewidth": 1.2, "linestyle": "--", "zorder": 1}
    axis.plot(
        xs, ys, marker="D", markersize=5, markerfacecolor="white", color=color, label=label, **faint
    )


def legend(axis: "Axes", table: pd.DataFrame, **options: Any) -> None:
    """The legend, which explains the crosses if any training failed."""
    if table["failed"].any():
        axis.plot([], [], "x", color="#444444", label="diverged")
    axis.legend(**{"fontsize": "small", **options})


def log_axis(axis: "Axes", ticks: Sequence[float], format: Callable = "{:g}".format) -> None:
    """Makes the x axis logarithmic, with ticks at the given values."""
    axis.set_xscale("log")
    axis.set_xticks(ticks, list(map(format, ticks)), rotation=60)
    axis.minorticks_off()


def log_values(axis: "Axes") -> None:
    """Makes the y axis logarithmic, with plain numbers such as 0.2, 0.5 and 1."""
    from matplotlib.ticker import LogLocator

    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.minorticks_off()
