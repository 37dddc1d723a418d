"""Norms of weights and gradients at the first update, layer by layer: table 2 of the paper.

python -m benchmarks.experiments.norm_ratios [--data=imagenet2012]
"""

import pathlib
from typing import Any, ClassVar

import pandas as pd

from benchmarks import frames
from benchmarks.experiments import plots, results
from benchmarks.experiments.experiment import main
from benchmarks.experiments.paper import plots as paper_plots
from benchmarks.experiments.paper import published
from benchmarks.experiments.paper.experiment import ALEXNETS, Paper, Preset, lars
from benchmarks.experiments.paper.first_update import first_update

COLUMNS = ("weight_norm", "gradient_norm", "ratio")
TITLES = ("norm of the weights", "norm of the gradient", "their ratio")


def norms(found: dict) -> list[dict]:
    """A row for each variable of each run, with what was published of it."""
    table_2 = published.norms_of_table_2()
    lines = []
    for row in found["rows"]:
        recipe = row["settings"]
        for variable, of in row["norms"].items():
            weights, gradient = of["weight_norm"][0], of["gradient_norm"][0]
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


def _text(value: str | float | None) -> str:
    if isinstance(value, str):
        return value
    return (
        ""
        if value is None or pd.isna(value)
        else f"{value:.3g}"
        if value < 1000
        else f"{value:.0f}"
    )


class NormRatios(Paper):
    name = "norm_ratios"
    presets: ClassVar = {"": {ALEXNETS: (Preset(lars(512)), Preset(lars(512), seeds=(0,)))}}
    label = ("batch",)
    updates = 1
    train_recipe = staticmethod(first_update)
    csv_rows = staticmethod(norms)

    @staticmethod
    def table(found: dict) -> str:
        lines = pd.DataFrame(norms(found))
        names = ["variable", "batch", "seed", *COLUMNS, *(f"published_{name}" for name in COLUMNS)]
        cells = {name.replace("_", " "): lines[name].map(_text) for name in names}
        note = f"\n\n{published.NOTE}" if lines["published_ratio"].notna().any() else ""
        return frames.markdown(pd.DataFrame(cells)) + note

    @staticmethod
    def plot(found: dict, path: pathlib.Path) -> None:
        lines = pd.DataFrame(norms(found)).set_index("variable").astype(float)
        by_variable = lines.groupby(level=0, sort=False)
        variables = list(by_variable.groups)
        size = (max(9, 0.55 * len(variables)), 10)
        title = "Norms at the first update"
        figure, axes = paper_plots.panels(results.frame(found), title, 3, 1, sharex=True, size=size)
        colors = [plots.CYCLE[name.endswith("bias")] for name in variables]
        for axis, column, y in zip(axes, COLUMNS, TITLES):
            reached = by_variable[column].agg(["mean", "min", "max"]).loc[variables]
            axis.bar(variables, reached["mean"].fillna(0), color=colors, width=0.7)
            for x, (low, high) in enumerate(zip(reached["min"], reached["max"])):
                if low < high:
                    axis.plot([x, x], [low, high], color="black", linewidth=1.5)
            of_paper = by_variable[f"published_{column}"].first().loc[variables]
            if of_paper.notna().any():
                label = f"published, ImageNet: {published.SOURCE}, with names put right"
                style: dict[str, Any] = {
                    "color": "#444444",
                    "markerfacecolor": "none",
                    "label": label,
                }
                axis.plot(variables, of_paper, "D", **style)
                if axis is axes[0]:
                    axis.legend(fontsize="small", loc="upper right")
            axis.set(yscale="log", ylabel=y)
            axis.grid(axis="x", visible=False)
        # Room for the legend above the highest mark.
        axes[0].set_ylim(top=axes[0].get_ylim()[1] * 6)
        axes[-1].tick_params(axis="x", rotation=90 if len(variables) > 20 else 45)
        plots.save(figure, path)


if __name__ == "__main__":
    main(NormRatios)
