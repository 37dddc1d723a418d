"""Accuracy by learning rate, and where training diverges: table 1 and figure 4 of the paper.

python -m benchmarks.experiments.accuracy_by_learning_rate [--learning_rates=1,3,10]
"""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import ClassVar

from benchmarks.experiments import plots, results
from benchmarks.experiments.paper import rows
from benchmarks.experiments.paper.experiment import Paper, Preset, both
from benchmarks.settings import setting

SCALED_DOWN = Preset(
    both(8192),
    seeds=(0,),
    epochs=5,
    learning_rates={"sgd": (0.03, 0.1, 0.3, 1.0, 3.0), "lars": (3.0, 10.0, 30.0, 100.0, 300.0)},
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AccuracyByLearningRate(Paper):
    name = "accuracy_by_learning_rate"
    presets: ClassVar = {
        ("alexnet_bn",): (
            Preset(
                {"sgd": (4096, 8192), "lars": (16384, 32768)},
                # The paper's text names plateaus: 13 to 22 at a batch of 16K, 17 to 28 at 32K.
                learning_rates={"lars": (13.0, 17.0, 20.0, 28.0)},
            ),
            SCALED_DOWN,
        ),
        ("alexnet",): (
            Preset(
                {"sgd": (4096, 8192), "lars": (8192,)},
                learning_rates={"lars": (5.0, 14.0, 20.0)},
            ),
            SCALED_DOWN,
        ),
    }

    learning_rates: tuple[float, ...] | None = setting("Peak learning rates to try.", None)

    def variants(self, optimizer: str, batch: int) -> Iterator[rows.Variant]:
        ((label, recipe, _),) = super().variants(optimizer, batch)
        # Scaled down, the learning rates of rows are not comparable.
        known = {
            row.trained.learning_rate: row
            for row in rows.rows_of(self.model, optimizer)
            if row.trained.global_batch_size == batch and not self.scaled_down
        }
        rates = {*known, *self.preset.learning_rates.get(optimizer, ())}
        for rate in sorted(self.learning_rates or rates):
            row = known.get(rate)
            tried = dataclasses.replace(recipe, learning_rate=rate)
            yield {**label, "learning rate": rate}, rows.recipe_of(row, self) if row else tried, row

    @staticmethod
    def plot(found: dict, path: pathlib.Path) -> None:
        table = results.frame(found).rename(columns={"published": "reference"})
        table["line"] = [f"batch {batch}" for batch in table["batch"]]
        title = Paper.title("Accuracy by learning rate, at large batches", found)
        with plots.panels(path, title, table, "optimizer", bottom=0, sharey=True) as panels:
            for axis, of_optimizer in panels:
                plots.lines(axis, of_optimizer, "learning rate", "percent", marker="o")
                axis.set(xlabel="peak learning rate", ylabel=plots.ACCURACY)
                plots.log_axis(axis, sorted(of_optimizer["learning rate"].unique()))
                plots.legend(axis, of_optimizer)


if __name__ == "__main__":
    AccuracyByLearningRate.main()
