"""Accuracy by epoch at small and large batches, with and without LARS: figures 3 and 5.

python -m benchmarks.experiments.accuracy_by_epoch [--model=resnet50] [--data=imagenet2012]
"""

import pathlib

from benchmarks.experiments import plots, results
from benchmarks.experiments.paper.experiment import Paper


class AccuracyByEpoch(Paper):
    @staticmethod
    def plot(found: dict, path: pathlib.Path) -> None:
        table = results.by_epoch(found)
        recipe = table["settings"].str
        rates = recipe["learning_rate"].map("{:g}".format)
        table["line"] = "batch " + table["batch"].map("{:g}".format) + ", rate " + rates
        # The published accuracy, at the last epoch and only at full size.
        at_the_end = (recipe["data"] == "imagenet2012") & (table["epoch"] == recipe["epochs"])
        table["reference"] = table["published"].where(at_the_end)
        title = Paper.title("Accuracy by epoch, at small and large batches", found)
        with plots.panels(path, title, table, "optimizer", bottom=0, sharey=True) as panels:
            for axis, rows in panels:
                plots.lines(axis, rows, "epoch", "percent")
                axis.set(xlabel="epoch", ylabel=plots.ACCURACY)
                plots.legend(axis, rows)


if __name__ == "__main__":
    AccuracyByEpoch.main()
