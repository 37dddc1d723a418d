"""Plots of results: for each line the mean of the seeds, with their range as a band, and a cross
where a training failed."""

import contextlib
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# For values that are not optimizers: batches, variants.
CYCLE = ("#1f5fa8", "#d1620a", "#2a8a4a", "#8b3fa8", "#7a7a7a")


@contextlib.contextmanager
def panels(
    path: pathlib.Path,
    title: str,
    table: pd.DataFrame,
    by: str | None = None,
    columns: int | None = None,
    size: tuple[float, float] | None = None,
    bottom: float | None = None,
    **options: Any,
) -> Iterator[list[tuple["Axes", pd.DataFrame]]]:
    """Axes to draw on, each with its rows of the table; the file is written at the end.

    Args:
        path: The PNG file.
        title: Of the figure.
        table: What is drawn; it has `failed` where a training failed.
        by: The column of which each value has a panel of its own; one panel by default.
        columns: So many panels beside each other; all by default.
        size: Of the figure, in inches.
        bottom: Of the y axis of the first panel, and of those that share it.
        **options: Of `Figure.subplots`.
    """
    from matplotlib.figure import Figure

    parts = table.groupby(by, sort=False) if by else [("", table)]
    columns = columns or len(parts)
    rows = math.ceil(len(parts) / columns)
    size = size or (max(7.5, 5.2 * columns), 4.3 * rows + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title)
    axes = list(figure.subplots(rows, columns, squeeze=False, **options).flat)
    drawn = []
    for axis, (name, part) in zip(axes, parts):
        axis.set_title(name)
        axis.grid(alpha=0.3, which="major")
        drawn.append((axis, part))
    yield drawn
    if bottom is not None:  # last, as it ends the search for limits
        axes[0].set_ylim(bottom=bottom)
    for axis in axes[len(drawn) :]:
        axis.set_axis_off()
    figure.savefig(path, dpi=110)


def lines(
    axis: "Axes",
    table: pd.DataFrame,
    x: str,
    y: str,
    line: str,
    styles: Mapping[Any, dict] | None = None,
    **style: Any,
) -> None:
    """Mean and range of a column by another one, and crosses where trainings failed.

    Args:
        axis: Where to draw.
        table: A row for each point of each training. Where it has `reference`, what was published
            is drawn faintly behind, with its `source` in the legend.
        x: Column of the positions.
        y: Column of the values.
        line: Column whose values tell lines apart, and are their names in the legend.
        styles: Of each line, by its name; else colors are taken in turn.
        **style: Of all lines.
    """
    if x == "epoch":
        axis.locator_params(axis="x", integer=True)
    for number, (name, group) in enumerate(table.groupby(line, sort=False)):
        look = {"color": CYCLE[number % len(CYCLE)], **style, **(styles or {}).get(name, {})}
        values = group[~group["failed"]].assign(y=group[y].astype(float)).groupby(x)["y"]
        reached = values.agg(["mean", "min", "max"]).dropna()
        axis.plot(reached.index, reached["mean"], label=name, **look)
        if (reached["min"] < reached["max"]).any():
            shade: dict[str, Any] = {"color": look["color"], "alpha": 0.18, "linewidth": 0}
            axis.fill_between(reached.index, reached["min"], reached["max"], **shade)
        if failed := sorted(set(group.loc[group["failed"], x])):
            at_the_bottom = axis.get_xaxis_transform()  # whatever the scale
            axis.plot(
                failed,
                [0.025] * len(failed),
                "x",
                color=look["color"],
                markersize=9,
                markeredgewidth=2.5,
                transform=at_the_bottom,
                clip_on=False,
                zorder=5,
            )
        known = group[group["reference"].notna()] if "reference" in group else group[:0]
        if len(known):
            known = known.drop_duplicates(x)
            label = f"published: {known['source'].iloc[0].split(';')[0]}"
            published(axis, list(known[x]), list(known["reference"]), label, look["color"])


def published(
    axis: "Axes", xs: Sequence[float], ys: Sequence[float], label: str, color: str
) -> None:
    """Numbers of others, faintly behind. The legend has each label once."""
    if label in axis.get_legend_handles_labels()[1]:
        label = "_" + label
    faint: dict[str, Any] = {"alpha": 0.45, "linewidth": 1.2, "linestyle": "--", "zorder": 1}
    axis.plot(
        xs, ys, marker="D", markersize=5, markerfacecolor="white", color=color, label=label, **faint
    )


def legend(axis: "Axes", table: pd.DataFrame, **options: Any) -> None:
    """The legend, which explains the crosses if any training failed."""
    handles, labels = axis.get_legend_handles_labels()
    if table["failed"].any():
        from matplotlib.lines import Line2D

        handles.append(Line2D([], [], marker="x", color="#444444", linestyle="none"))
        labels.append("diverged")
    axis.legend(handles, labels, **{"fontsize": "small", **options})


def log_axis(axis: "Axes", ticks: Sequence[float], format: Callable = "{:g}".format) -> None:
    """A logarithmic x axis with the values themselves at the ticks."""
    axis.set_xscale("log")
    axis.set_xticks(ticks, list(map(format, ticks)), rotation=60)
    axis.minorticks_off()


def log_values(axis: "Axes") -> None:
    """A logarithmic y axis with plain numbers: 0.2, 0.5, 1."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_locator(NullLocator())
