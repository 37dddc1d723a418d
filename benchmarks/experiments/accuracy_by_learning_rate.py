"""Accuracy by learning rate, and where training diverges: table 1 and figure 4 of the paper.

python -m benchmarks.experiments.accuracy_by_learning_rate [--learning_rates=1,3,10]
"""

import dataclasses
import pathlib
from collections.abc import Iterator

from benchmarks.experiments import plots, results
from benchmarks.experiments.paper import rows
from benchmarks.experiments.paper.experiment import Paper
from benchmarks.settings import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class AccuracyByLearningRate(Paper):
    learning_rates: tuple[float, ...] | None = setting("Peak learning rates to try.", None)

    def variants(self, optimizer: str, batch: int) -> Iterator[rows.Variant]:
        ((label, recipe, _),) = super().variants(optimizer, batch)
        # Scaled down, the learning rates of rows are not comparable.
        known = {
            row.trained.learning_rate: row
            for row in rows.rows_of(self.model, optimizer)
            if row.trained.global_batch_size == batch and not self.scaled_down
        }
        more = self.preset.sgd_rates if optimizer == "sgd" else self.preset.lars_rates
        for rate in sorted(self.learning_rates or {*known, *more}):
            row = known.get(rate)
            of_row = rows.recipe_of(row.trained, self) if row else recipe
            tried = dataclasses.replace(of_row, learning_rate=rate)
            yield {**label, "learning rate": rate}, tried, row

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
