"""Accuracy by epoch at small and large batches, without and with LARS: figures 3 and 5.

python -m benchmarks.experiments.accuracy_by_epoch [--model=resnet50] [--data=imagenet2012]
"""

import pathlib
from typing import ClassVar

from benchmarks.experiments import plots, results
from benchmarks.experiments.experiment import main
from benchmarks.experiments.paper import plots as paper_plots
from benchmarks.experiments.paper.experiment import ALEXNETS, RESNET, Paper, Preset, both


class AccuracyByEpoch(Paper):
    name = "accuracy_by_epoch"
    presets: ClassVar = {
        "": {
            ALEXNETS: (
                Preset(both(512, 8192)),
                Preset(both(512, 8192), seeds=(0, 1), epochs=6),
            ),
            RESNET: (
                Preset({"sgd": (256,), "lars": (256, 8192, 16384, 32768)}),
                Preset(both(8192, 32768), seeds=(0, 1)),
            ),
        }
    }

    @staticmethod
    def plot(found: dict, path: pathlib.Path) -> None:
        table = results.frame(found)
        optimizers, batches = list(table["optimizer"].unique()), sorted(table["batch"].unique())
        title = "Accuracy by epoch, at small and large batches"
        figure, axes = paper_plots.panels(table, title, 1, len(optimizers), sharey=True)
        for optimizer, axis in zip(optimizers, axes):
            chosen = results.of(table, optimizer=optimizer)
            for group in results.by_seed(chosen):
                color = plots.color(batches.index(group["batch"].iloc[0]))
                label = paper_plots.words(group["label"].iloc[0], "batch")
                recipe = group["settings"].iloc[0]
                label = f"{label}, rate {recipe['learning_rate']:g}"
                paper_plots.accuracy_by_epoch(axis, group, label, color)
                # The end of the published training; scaled down it says nothing.
                if recipe["data"] == "imagenet2012":
                    paper_plots.published(axis, group.assign(end=recipe["epochs"]), "end", color)
            axis.set(title=optimizer, xlabel="epoch")
            plots.legend(axis, chosen["diverged"].any())
        # Last: it ends the search for limits, and they are those of all panels.
        axes[0].set(ylabel=paper_plots.ACCURACY, ylim=(0, None))
        plots.save(figure, path)


if __name__ == "__main__":
    main(AccuracyByEpoch)
