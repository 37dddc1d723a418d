"""Loss on training and on held-out images, both seen alike, and their gap: figure 1 of the paper.

python -m benchmarks.experiments.generalization_gap [--batches=128,2048]

Training images are evaluated at the end of each epoch without dropout and augmentation: the loss
that training itself reports is with both, and of the weights as they were on the way.
"""

import pathlib
from typing import ClassVar

import pandas as pd

from benchmarks import frames
from benchmarks.experiments import plots, results, tables
from benchmarks.experiments.experiment import main
from benchmarks.experiments.paper import plots as paper_plots
from benchmarks.experiments.paper.experiment import ALEXNETS, Paper, Preset

BATCHES = {"sgd": (512, 8192)}


def gap(history: dict) -> list[float | None]:
    """Loss on held-out images less that on training images, by epoch."""
    return [
        None if train is None or held_out is None else held_out - train
        for train, held_out in zip(history["train_loss"], history["val_loss"])
    ]


QUANTITIES = {
    "loss on training images": lambda history: history["train_loss"],
    "loss on held-out images": lambda history: history["val_loss"],
    "gap: held-out less training": gap,
}


class GeneralizationGap(Paper):
    name = "generalization_gap"
    presets: ClassVar = {
        "": {
            ALEXNETS: (
                Preset(BATCHES, training_images=50_000),
                Preset(BATCHES, training_images=10_000, seeds=(0, 1), epochs=6),
            )
        }
    }
    label = ("batch",)

    @staticmethod
    def table(found: dict) -> str:
        lines = []
        for group in results.by_seed(results.frame(found)):
            ended = group[~group["diverged"].astype(bool)]
            line = {"batch": tables.cell(group["batch"].iloc[0]), "seeds": str(len(group))}
            for name, quantity in QUANTITIES.items():
                ends = ended["history"].map(lambda history, of=quantity: of(history)[-1]).dropna()
                line[name] = f"{ends.mean():.3f}" if len(ends) else ""
            lines.append({**line, "accuracy, %": tables.accuracy(group)})
        return frames.markdown(pd.DataFrame(lines), texts=0)

    @staticmethod
    def plot(found: dict, path: pathlib.Path) -> None:
        rows = results.frame(found)
        title = "Loss without dropout and augmentation, SGD"
        figure, axes = paper_plots.panels(rows, title, 1, len(QUANTITIES))
        for axis, (name, quantity) in zip(axes, QUANTITIES.items()):
            for index, group in enumerate(results.by_seed(rows)):
                label = paper_plots.words(group["label"].iloc[0])
                plots.curves(axis, group, quantity, label, color=plots.color(index))
            axis.set(title=name, xlabel="epoch", ylabel="cross-entropy, nats")
            plots.legend(axis, rows["diverged"].any())
        both = axes[:2]
        for axis in both:
            axis.set_yscale("log")
        limits = [limit for axis in both for limit in axis.get_ylim()]
        for axis in both:
            axis.set_ylim(min(limits), max(limits))
        plots.save(figure, path)


if __name__ == "__main__":
    main(GeneralizationGap)
