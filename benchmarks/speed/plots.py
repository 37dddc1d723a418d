"""One plot of the times of updates: bars for models, lines for growing sizes."""

import math
import pathlib
from typing import TYPE_CHECKING

import pandas as pd

from benchmarks.speed.tables import GROWTH, times
from benchmarks.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 2
_COLORS = {
    "tensorflow": "#e8890c",
    "jax": "#7a4fbf",
    "torch": "#c8352b",
    "replicas": "#1c7c7d",
    "all_reduce": "#888888",
}


def draw(results: dict, path: pathlib.Path) -> None:
    """Writes the plot. Needs matplotlib."""
    from matplotlib.figure import Figure

    bars = [*results["contenders"], *results["replicas"]]
    lines = [shown for shown in GROWTH if results["sizes"].get(shown["axis"])]
    rows = math.ceil((len(bars) + len(lines)) / _COLUMNS)
    if not rows:
        return
    figure = Figure(figsize=(16, 5 * rows), layout="constrained")
    panels = iter(figure.subplots(rows, _COLUMNS, squeeze=False).flat)
    for model, axes in zip(bars, panels):
        _bars(model, axes)
    for shown, axes in zip(lines, panels):
        _lines(results["sizes"][shown["axis"]], shown["size"], shown["measured"], axes)
        axes.set(xscale="log", yscale="log", xlabel=shown["x"], ylabel=shown["y"])
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    for axes in panels:
        axes.set_axis_off()
    figure.savefig(path, dpi=100)


def _bars(model: dict, axes: "Axes") -> None:
    found = times(model).dropna(subset="median_ms").sort_values("median_ms", ascending=False)
    medians = found["median_ms"]
    axes.barh(
        found["contender"] + " (" + found["framework"] + ")",
        medians,
        xerr=[medians - found["lower_quartile_ms"], found["upper_quartile_ms"] - medians],
        color=found["framework"].map(_COLORS),
        hatch=found["ours"].map({True: "//", False: ""}),
        edgecolor="white",
    )
    axes.set_xlim(left=0)
    axes.tick_params(axis="y", labelsize="small")
    axes.set(
        xlabel="milliseconds per update: median and quartiles; hatched: keras_lars",
        title=f"{model['model']}: {counted(model['parameters'], 'parameter', spec=',')}, "
        f"{counted(model['variables'], 'variable', spec=',')}",
    )


def _lines(models: list[dict], size: str, measured: str, axes: "Axes") -> None:
    found = pd.concat(map(times, models)).dropna(subset="median_ms")
    names = ["framework", "contender", "ours"]
    for (framework, contender, ours), points in found.groupby(names, sort=False):
        axes.plot(
            points[size],
            points[measured],
            label=f"{contender} ({framework})",
            color=_COLORS[framework],
            marker="o" if ours else "s",
            linestyle="-" if ours else "--",
        )
