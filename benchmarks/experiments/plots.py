"""What plots of results have in common: the mean of the seeds with their range as a band, and
crosses for divergence."""

import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# For values that are not optimizers: batches, variants.
CYCLE = ("#1f5fa8", "#d1620a", "#2a8a4a", "#8b3fa8", "#7a7a7a")
FAINT: dict[str, Any] = {
    "alpha": 0.45,
    "linewidth": 1.2,
    "linestyle": "--",
    "markerfacecolor": "white",
}


def panels(title: str, rows: int, columns: int, **options: Any) -> tuple["Figure", list["Axes"]]:
    """A figure with its title, and its axes in a list."""
    from matplotlib.figure import Figure

    size = options.pop("size", (max(7.5, 5.2 * columns), 4.3 * rows + 0.6))
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title)
    axes = list(figure.subplots(rows, columns, squeeze=False, **options).flat)
    for axis in axes:
        axis.grid(alpha=0.3, which="major")
    return figure, axes


def save(figure: "Figure", path: pathlib.Path) -> None:
    figure.savefig(path, dpi=110)


def color(index: int) -> str:
    return CYCLE[index % len(CYCLE)]


def band(axis: "Axes", values: pd.DataFrame, x: str, y: str, label: str, **style: Any) -> Any:
    """The mean of a column by another one, and its range behind; returns the color."""
    by_x = values.assign(y=values[y].astype(float)).groupby(x)["y"].agg(["mean", "min", "max"])
    by_x = by_x.dropna()
    (line,) = axis.plot(by_x.index, by_x["mean"], label=label, **style)
    if (by_x["min"] < by_x["max"]).any():
        shade: dict[str, Any] = {"color": line.get_color(), "alpha": 0.18, "linewidth": 0}
        axis.fill_between(by_x.index, by_x["min"], by_x["max"], **shade)
    return line.get_color()


def curves(
    axis: "Axes", group: pd.DataFrame, quantity: Callable[[dict], list], label: str, **style: Any
) -> None:
    """A quantity by epoch: mean and range of the seeds, and crosses where they diverged.

    Args:
        axis: Where to draw.
        group: Trainings that differ in the seed.
        quantity: Of a history, gives a list with a number or None for each epoch.
        label: For the legend.
        **style: Of the line.
    """
    points = [
        point for history in group["history"] for point in enumerate(quantity(history), start=1)
    ]
    axis.locator_params(axis="x", integer=True)
    drawn = band(axis, pd.DataFrame(points, columns=["x", "y"]), "x", "y", label, **style)
    for history, diverged in zip(group["history"], group["diverged"]):
        if diverged:
            cross(axis, len(history["loss"]), drawn)


def reached(
    axis: "Axes", table: pd.DataFrame, x: str, y: str, failed: pd.Series, label: str, **style: Any
) -> None:
    """What trainings reached by something: mean and range of those that did not fail, and a cross
    where one did."""
    drawn = band(axis, table[~failed], x, y, label, marker="o", **style)
    for place in sorted(set(table.loc[failed, x])):
        cross(axis, place, drawn)


def cross(axis: "Axes", x: float, color: Any) -> None:
    """Marks a divergence at the bottom, whatever the scale."""
    axis.plot(
        [x],
        [0.025],
        transform=axis.get_xaxis_transform(),
        marker="x",
        color=color,
        markersize=9,
        markeredgewidth=2.5,
        linestyle="none",
        clip_on=False,
        zorder=5,
    )


def published(
    axis: "Axes", xs: Sequence[float], ys: Sequence[float], label: str, color: str
) -> None:
    """Numbers of others, faintly behind. The legend has each label once."""
    if label in axis.get_legend_handles_labels()[1]:
        label = "_" + label
    axis.plot(xs, ys, marker="D", markersize=5, color=color, label=label, zorder=1, **FAINT)


def legend(axis: "Axes", diverged: bool, **options: Any) -> None:
    """The legend, which explains the crosses if any training diverged."""
    handles, labels = axis.get_legend_handles_labels()
    if diverged:
        from matplotlib.lines import Line2D

        handles.append(Line2D([], [], marker="x", color="#444444", linestyle="none"))
        labels.append("diverged")
    axis.legend(handles, labels, **{"fontsize": "small", **options})


def log_axis(axis: "Axes", ticks: Sequence[float], format: Callable = "{:g}".format) -> None:
    """A logarithmic x axis with the values themselves at the ticks."""
    axis.set_xscale("log")
    axis.set_xticks(ticks, list(map(format, ticks)), rotation=60)
    axis.minorticks_off()
