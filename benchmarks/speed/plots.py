"""The results as one picture: bars for the models, lines for growing sizes."""

import math
import pathlib

from benchmarks.speed.summary import summarize
from benchmarks.words import counted

_COLUMNS = 2
_COLORS = {
    "tensorflow": "#e8890c",
    "jax": "#7a4fbf",
    "torch": "#c8352b",
    "replicas": "#1c7c7d",
    "all_reduce": "#888888",
}
_MARKERS = {True: "o", False: "s"}  # ours, and SGD


def draw(results: dict, path: pathlib.Path) -> None:
    """Writes the picture. Needs matplotlib."""
    from matplotlib.figure import Figure

    bars = [*results["contenders"], *results["replicas"]]
    lines = [
        (models, *axis)
        for study, *axis in (
            ("elements", "parameters", "median_ms", "elements of one variable", "milliseconds"),
            ("variables", "variables", "median_ms", "small variables", "milliseconds"),
            ("variables", "variables", "first_call_seconds", "small variables", "first call, s"),
        )
        if (models := results["sizes"].get(study))
    ]
    panels = len(bars) + len(lines)
    if not panels:
        return
    figure = Figure(figsize=(16, 5 * math.ceil(panels / _COLUMNS)), layout="constrained")
    grid = figure.subplots(math.ceil(panels / _COLUMNS), _COLUMNS, squeeze=False)
    axes = list(grid.flat)
    for model, axis in zip(bars, axes):
        _bars(model, axis)
    for (models, size, quantity, x, y), axis in zip(lines, axes[len(bars) :]):
        _lines(models, size, quantity, axis)
        axis.set(xscale="log", yscale="log", xlabel=x, ylabel=y)
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small")
    for axis in axes[panels:]:
        axis.set_axis_off()
    figure.savefig(path, dpi=100)


def _bars(model: dict, axis) -> None:
    rows = [row for row in summarize(model)["results"] if row["summary"]]
    rows.sort(key=lambda row: row["summary"]["median_ms"], reverse=True)
    medians = [row["summary"]["median_ms"] for row in rows]
    spread = [
        [m - row["summary"]["lower_quartile_ms"] for m, row in zip(medians, rows)],
        [row["summary"]["upper_quartile_ms"] - m for m, row in zip(medians, rows)],
    ]
    labels = [f"{row['contender']} ({row['framework']})" for row in rows]
    bars = axis.barh(
        labels, medians, xerr=spread, color=[_COLORS[row["framework"]] for row in rows]
    )
    for bar, row in zip(bars, rows):
        bar.set_hatch("//" if row["ours"] else "")
        bar.set_edgecolor("white")
    axis.set_xlim(left=0)
    axis.tick_params(axis="y", labelsize="small")
    axis.set(
        xlabel="milliseconds an update: median and quartiles; hatched: keras_lars",
        title=f"{model['model']}: "
        f"{counted(model['parameters'], 'parameter', spec=',')}, "
        f"{counted(model['variables'], 'variable', spec=',')}",
    )


def _lines(models: list[dict], size: str, quantity: str, axis) -> None:
    series: dict[tuple, list[tuple]] = {}
    for model in models:
        for row in summarize(model)["results"]:
            if row["summary"]:
                values = {**row["summary"], "first_call_seconds": row["first_call_seconds"]}
                key = (row["framework"], row["contender"], row["ours"])
                series.setdefault(key, []).append((model[size], values[quantity]))
    for (framework, contender, ours), points in series.items():
        axis.plot(
            *zip(*points),
            label=f"{contender} ({framework})",
            color=_COLORS[framework],
            marker=_MARKERS[ours],
            linestyle="-" if ours else "--",
        )
