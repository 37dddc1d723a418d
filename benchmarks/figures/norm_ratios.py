"""Norms of weights and gradients at the first update, layer by layer: table 2 of the paper.

python -m benchmarks.figures.norm_ratios [--data=imagenet2012]
"""

import pathlib

from benchmarks.figures import drawing, published, rows, tables
from benchmarks.figures.command import FigureCommand, main
from benchmarks.figures.first_update import first_update
from benchmarks.figures.point import Point
from benchmarks.figures.presets import Preset
from benchmarks.figures.request import Request

COLUMNS = ("weight_norm", "gradient_norm", "ratio")
TITLES = ("norm of the weights", "norm of the gradient", "their ratio")


def points(request: Request, preset: Preset) -> list[Point]:
    found = []
    for optimizer, batch in rows.by_optimizer_and_batch(request, preset):
        recipe, row = rows.recipe_at(batch, optimizer, request, preset)
        label = {"batch": recipe.global_batch_size}
        found += rows.points(label, recipe, row, request, preset)
    return found


def lines(found: dict) -> list[dict]:
    """A row for each variable of each run, with what was published of it."""
    table_2 = published.norms_of_table_2()
    lines = []
    for point in found["points"]:
        recipe = point["recipe"]
        for variable, norms in point["norms"].items():
            (weights, *_), (gradient, *_) = norms["weight_norm"], norms["gradient_norm"]
            of_paper = table_2.get(variable) if recipe["model"] == "alexnet_bn" else None
            lines.append(
                {
                    "batch": recipe["global_batch_size"],
                    "seed": recipe["seed"],
                    "variable": variable,
                    "weight_norm": weights,
                    "gradient_norm": gradient,
                    "ratio": weights / gradient if gradient else None,
                    **{f"published_{name}": getattr(of_paper, name, None) for name in COLUMNS},
                }
            )
    return lines


def table(found: dict) -> str:
    names = ("batch", "seed", *COLUMNS, *(f"published_{name}" for name in COLUMNS))
    cells = [
        [
            line["variable"],
            *(_text(line[name]) for name in names),
        ]
        for line in lines(found)
    ]
    header = ["variable", *(name.replace("_", " ") for name in names)]
    has_published = any(line["published_ratio"] is not None for line in lines(found))
    return tables.markdown(header, cells) + (f"\n\n{published.NOTE}" if has_published else "")


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def draw(found: dict, path: pathlib.Path) -> None:
    found_lines = lines(found)
    variables = list(dict.fromkeys(line["variable"] for line in found_lines))
    title = "Norms at the first update"
    figure, axes = drawing.panels(found, title, 3, 1, sharex=True)
    figure.set_size_inches(max(9, 0.55 * len(variables)), 10)
    colors = [drawing.CYCLE[name.endswith("bias")] for name in variables]
    for axis, column, y in zip(axes, COLUMNS, TITLES):
        values = [
            [line[column] for line in found_lines if line["variable"] == name and line[column]]
            for name in variables
        ]
        means = [sum(of_one) / len(of_one) if of_one else 0 for of_one in values]
        axis.bar(variables, means, color=colors, width=0.7)
        for x, of_one in enumerate(values):
            if len(of_one) > 1:
                axis.plot([x, x], [min(of_one), max(of_one)], color="black", linewidth=1.5)
        of_paper = [
            next(line[f"published_{column}"] for line in found_lines if line["variable"] == name)
            for name in variables
        ]
        if any(of_paper):
            axis.plot(
                variables,
                of_paper,
                "D",
                color="#444444",
                markerfacecolor="none",
                label=f"published, ImageNet: {published.SOURCE}, with names put right",
            )
            if axis is axes[0]:
                axis.legend(fontsize="small", loc="upper right")
        axis.set(yscale="log", ylabel=y)
        axis.grid(axis="x", visible=False)
    # Room for the legend above the highest mark.
    axes[0].set_ylim(top=axes[0].get_ylim()[1] * 6)
    axes[-1].tick_params(axis="x", rotation=90 if len(variables) > 20 else 45)
    drawing.save(figure, path)


FIGURE = FigureCommand(
    name="norm_ratios",
    points=points,
    draw=draw,
    table=table,
    rows=lines,
    train=first_update,
    updates=1,
)

if __name__ == "__main__":
    main(FIGURE)
