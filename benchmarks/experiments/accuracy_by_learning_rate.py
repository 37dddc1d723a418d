"""Accuracy by learning rate at a batch, and where it diverges: table 1 and figure 4 of the paper.

python -m benchmarks.experiments.accuracy_by_learning_rate [--learning_rates=1,3,10]
"""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import ClassVar

from benchmarks.experiments import plots, results
from benchmarks.experiments.experiment import define_numbers, main
from benchmarks.experiments.paper import plots as paper_plots
from benchmarks.experiments.paper import rows
from benchmarks.experiments.paper.experiment import ALEXNETS, Paper, Preset, both

SCALED_DOWN = Preset(
    both(8192),
    seeds=(0,),
    epochs=5,
    learning_rates={"sgd": (0.03, 0.1, 0.3, 1.0, 3.0), "lars": (3.0, 10.0, 30.0, 100.0, 300.0)},
)


class AccuracyByLearningRate(Paper):
    name = "accuracy_by_learning_rate"
    presets: ClassVar = {
        "": {
            ALEXNETS[:1]: (
                Preset(
                    {"sgd": (4096, 8192), "lars": (16384, 32768)},
                    # The plateaus of the text: 13 to 22 at a batch of 16K, 17 to 28 at one of 32K.
                    learning_rates={"lars": (13.0, 17.0, 20.0, 28.0)},
                ),
                SCALED_DOWN,
            ),
            ALEXNETS[1:]: (
                Preset(
                    {"sgd": (4096, 8192), "lars": (8192,)},
                    learning_rates={"lars": (5.0, 14.0, 20.0)},
                ),
                SCALED_DOWN,
            ),
        }
    }

    @classmethod
    def define_flags(cls) -> None:
        super().define_flags()
        define_numbers("learning_rates", float, 0, "Peak learning rates.")

    def variants(self, optimizer: str, batch: int) -> Iterator[rows.Variant]:
        ((label, recipe, _),) = super().variants(optimizer, batch)
        # Scaled down, rates of rows say nothing.
        of_batch = [] if self.scaled_down else rows.rows_at(self.model, optimizer, batch)
        known = {row.trained.learning_rate: row for row in of_batch}
        rates = {*known, *self.preset.learning_rates.get(optimizer, ())}
        for rate in sorted(self.learning_rates or rates):
            row = known.get(rate)
            tried = dataclasses.replace(recipe, learning_rate=rate)
            yield {**label, "learning rate": rate}, rows.recipe_of(row, self) if row else tried, row

    @staticmethod
    def plot(found: dict, path: pathlib.Path) -> None:
        table = results.frame(found)
        optimizers = list(table["optimizer"].unique())
        title = "Accuracy by learning rate, at large batches"
        figure, axes = paper_plots.panels(table, title, 1, len(optimizers), sharey=True)
        for optimizer, axis in zip(optimizers, axes):
            chosen = results.of(table, optimizer=optimizer)
            for index, batch in enumerate(chosen["batch"].unique()):
                of_batch, color = results.of(chosen, batch=batch), plots.color(index)
                paper_plots.accuracy_by(axis, of_batch, "learning rate", f"batch {batch}", color)
                paper_plots.published(axis, of_batch, "learning rate", color)
            axis.set(title=optimizer, xlabel="peak learning rate")
            plots.log_axis(axis, sorted(chosen["learning rate"].unique()))
            plots.legend(axis, chosen["diverged"].any())
        # Last: it ends the search for limits, and they are those of all panels.
        axes[0].set(ylabel=paper_plots.ACCURACY, ylim=(0, None))
        plots.save(figure, path)


if __name__ == "__main__":
    main(AccuracyByLearningRate)
