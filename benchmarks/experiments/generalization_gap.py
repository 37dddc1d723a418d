"""The loss on training and held-out images, and the gap between them: figure 1 of the paper.

python -m benchmarks.experiments.generalization_gap [--batches=128,2048]

Both are evaluated in the same way at the end of each epoch, without dropout or augmentation. The
loss that training reports has both, and is a mean over the changing weights of the epoch.
"""

import pathlib

import pandas as pd

from benchmarks import frames
from benchmarks.experiments import plots, results
from benchmarks.experiments.paper.experiment import Paper, accuracy

LOSSES = ["loss on training images", "loss on held-out images"]
GAP = "gap: held-out less training"


def losses(found: dict) -> pd.DataFrame:
    """One row per training and epoch, with both losses and their gap."""
    table = results.by_epoch(found)
    table = table.rename(columns=dict(zip(["train_loss", "val_loss"], LOSSES)))
    return table.assign(**{GAP: table[LOSSES[1]] - table[LOSSES[0]]})


class GeneralizationGap(Paper):
    label = ("batch",)

    @staticmethod
    def table(found: dict) -> str:
        lines = []
        for batch, group in losses(found).query("last").groupby("batch", sort=False):
            means = group.loc[~group["failed"], [*LOSSES, GAP]].mean()
            cells = means.map("{:.3f}".format).mask(means.isna(), "")
            line = {"batch": str(batch), "seeds": str(len(group)), **cells}
            lines.append({**line, "accuracy, %": accuracy(group)})
        return frames.markdown(lines, texts=0)

    @staticmethod
    def plot(found: dict, path: pathlib.Path) -> None:
        table = losses(found)
        limits = table[LOSSES].min(axis=None) / 1.2, table[LOSSES].max(axis=None) * 1.2
        names = ["epoch", "line", "failed"]
        table = table.melt(names, [*LOSSES, GAP], "quantity", "nats")
        title = Paper.title("Loss without dropout and augmentation, SGD", found)
        with plots.panels(path, title, table, "quantity") as panels:
            for axis, rows in panels:
                plots.lines(axis, rows, "epoch", "nats")
                axis.set(xlabel="epoch", ylabel="cross-entropy, nats")
                plots.legend(axis, rows)
            for axis, _ in panels[:2]:
                axis.set(yscale="log", ylim=limits)


if __name__ == "__main__":
    GeneralizationGap.main()
