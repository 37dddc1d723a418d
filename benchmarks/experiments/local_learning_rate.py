"""Local learning rates, the paper's name for trust ratios, by layer and batch: its figure 2.

python -m benchmarks.experiments.local_learning_rate [--layers=REGEX] [--batches=128,1024]
"""

import dataclasses
import pathlib
import re

from benchmarks import frames
from benchmarks.experiments import plots, results
from benchmarks.experiments.paper.experiment import Paper, Preset
from benchmarks.recipe import RecipeError
from benchmarks.settings import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalLearningRate(Paper):
    label = ("batch",)

    layers: str | None = setting("Regular expression for the variables to show.", None)

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            re.compile(self.preset.layers)
        except (re.error, OverflowError, RecursionError) as error:
            raise RecipeError(
                f"--layers must be a regular expression: {error}. Received: {self.layers}"
            ) from error

    @property
    def preset(self) -> Preset:
        known = super().preset
        return dataclasses.replace(known, layers=self.layers or known.layers)

    @staticmethod
    def table(found: dict) -> str:
        """Tables of accuracy, and of local learning rates at the start, halfway and at the end."""
        lines = []
        names = ["batch", "seed", "variable"]
        for (batch, seed, variable), rows in results.by_record(found).groupby(names, sort=False):
            ratios = rows["trust_ratio"].map("{:.3g}".format, na_action="ignore")
            places = {"first update": 0, "halfway": len(ratios) // 2, "end": -1}
            chosen = {name: ratios.iloc[place] for name, place in places.items()}
            place = {"variable": variable, "batch": str(batch), "seed": str(seed)}
            lines.append({**place, **chosen})
        return f"{Paper.table(found)}\n\n{frames.markdown(lines)}"

    @staticmethod
    def plot(found: dict, path: pathlib.Path) -> None:
        table = results.by_record(found)
        title = Paper.title("Local learning rate of LARS, trust coefficient included", found)
        panels_of = plots.panels(path, title, table, "variable", 2, sharex=True, sharey=True)
        with panels_of as panels:
            for axis, rows in panels:
                plots.lines(axis, rows, "epoch", "trust_ratio", linewidth=1.4)
                axis.set(yscale="log", ylabel="local learning rate", xlabel="epoch")
                axis.tick_params(labelbottom=True, labelleft=True)
            plots.legend(panels[0][0], table)


if __name__ == "__main__":
    LocalLearningRate.main()
