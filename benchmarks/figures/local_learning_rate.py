"""Local learning rates, which are LARS's ratios, by layer and batch: figure 2 of the paper.

python -m benchmarks.figures.local_learning_rate [--layers=REGEX] [--batches=128,1024]
"""

import math
import pathlib

from benchmarks.figures import drawing, results, rows, tables
from benchmarks.figures.command import FigureCommand, main
from benchmarks.figures.point import Point
from benchmarks.figures.presets import Preset
from benchmarks.figures.request import Request

COLUMNS = 2


def points(request: Request, preset: Preset) -> list[Point]:
    found = []
    for optimizer, batch in rows.by_optimizer_and_batch(request, preset):
        recipe, row = rows.recipe_at(batch, optimizer, request, preset)
        label = {"batch": recipe.global_batch_size}
        found += rows.points(label, recipe, row, request, preset)
    return found


def lines(found: dict) -> list[dict]:
    """A row for each record that is kept."""
    return [
        {
            "point": point["name"],
            "batch": point["recipe"]["global_batch_size"],
            "seed": point["recipe"]["seed"],
            "variable": variable,
            "epoch": epoch,
            "local_learning_rate": ratio,
        }
        for point in found["points"]
        for variable, norms in point["norms"].items()
        for epoch, ratio in zip(norms["epoch"], norms["trust_ratio"])
    ]


def table(found: dict) -> str:
    """The local learning rate at the first update, at half time and at the last record."""
    cells = []
    for point in found["points"]:
        for variable, norms in point["norms"].items():
            ratios = norms["trust_ratio"]
            chosen = (ratios[0], ratios[len(ratios) // 2], ratios[-1])
            label = [f"{point['recipe'][name]}" for name in ("global_batch_size", "seed")]
            cells.append([variable, *label, *("" if x is None else f"{x:.3g}" for x in chosen)])
    header = ["variable", "batch", "seed", "first update", "half time", "end"]
    return f"{tables.of_groups(found)}\n\n{tables.markdown(header, cells)}"


def draw(found: dict, path: pathlib.Path) -> None:
    variables = list(dict.fromkeys(name for p in found["points"] for name in p["norms"]))
    height = math.ceil(len(variables) / COLUMNS)
    title = "Local learning rate of LARS, trust coefficient included"
    figure, axes = drawing.panels(found, title, height, COLUMNS, sharex=True, sharey=True)
    for variable, axis in zip(variables, axes):
        for index, group in enumerate(results.groups(found["points"])):
            for point in group:
                norms = point["norms"][variable]
                axis.plot(
                    norms["epoch"],
                    norms["trust_ratio"],
                    color=drawing.color(index),
                    linewidth=1.4,
                    label=drawing.words(point["label"]) if point is group[0] else None,
                )
        axis.set(yscale="log", title=variable, ylabel="local learning rate")
        axis.tick_params(labelbottom=True, labelleft=True)
        axis.set_xlabel("epoch")
    drawing.legend(axes[0], found["points"])
    for axis in axes[len(variables) :]:
        axis.set_axis_off()
    drawing.save(figure, path)


FIGURE = FigureCommand(
    name="local_learning_rate",
    points=points,
    draw=draw,
    table=table,
    rows=lines,
    flags=("batches", "layers"),
)

if __name__ == "__main__":
    main(FIGURE)
