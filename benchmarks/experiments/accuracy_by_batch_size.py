"""Accuracy by batch size of LARS, and of SGD with linear scaling and warm-up: tables 1, 3 and 4.

python -m benchmarks.experiments.accuracy_by_batch_size [--model=resnet50] [--data=imagenet2012]
"""

import pathlib
from collections.abc import Iterator

from benchmarks.experiments import plots, results
from benchmarks.experiments.paper import rows
from benchmarks.experiments.paper.experiment import COLORS, Paper


class AccuracyByBatchSize(Paper):
    def variants(self, optimizer: str, batch: int) -> Iterator[rows.Variant]:
        for label, recipe, row in super().variants(optimizer, batch):
            if optimizer == "sgd" and batch != next(iter(rows.best_rows(self.model, "sgd"))):
                # The rows of SGD were tuned at each batch. Here the rate of the smallest is scaled.
                recipe, row = rows.scaled(batch, self), None
            yield label, recipe, row

    @staticmethod
    def plot(found: dict, path: pathlib.Path) -> None:
        model = found["rows"][0]["settings"]["model"]
        lines = {"SGD": "SGD, linear scaling and warm-up", "LARS": "LARS"}
        styles = {line: {"color": COLORS[optimizer]} for optimizer, line in lines.items()}
        table = results.frame(found)
        table["line"] = table["optimizer"].map(lines)
        title = Paper.title("Accuracy by global batch", found)
        with plots.panels(path, title, table, size=(9, 5.6), bottom=0) as ((axis, _),):
            plots.lines(axis, table, "batch", "percent", styles, marker="o")
            ticks = set(table["batch"])
            for optimizer, color in COLORS.items():
                best = rows.best_rows(model, optimizer.lower())
                of_paper = [row.published or 0 for row in best.values()]
                sources = dict.fromkeys(row.source.split(";")[0] for row in best.values())
                label = f"published, ImageNet, {optimizer}, tuned: {', '.join(sources)}"
                plots.published(axis, list(best), of_paper, label, color)
                ticks |= set(best)
            plots.log_axis(axis, sorted(ticks))
            axis.set(xlabel="global batch, images", ylabel=plots.ACCURACY)
            plots.legend(axis, table)


if __name__ == "__main__":
    AccuracyByBatchSize.main()
