"""Local learning rates, which are LARS's ratios, by layer and batch: figure 2 of the paper.

python -m benchmarks.experiments.local_learning_rate [--layers=REGEX] [--batches=128,1024]
"""

import math
import pathlib
from typing import ClassVar

from absl import flags

from benchmarks import frames
from benchmarks.experiments import plots, results, tables
from benchmarks.experiments.experiment import main
from benchmarks.experiments.paper import plots as paper_plots
from benchmarks.experiments.paper.experiment import ALEXNETS, RESNET, Paper, Preset, lars

COLUMNS = 2
LAYERS = "^(conv1|conv5|fc6)/"
LAYERS_OF_RESNET = "^(stem|stage1_block1_conv2|stage4_block1_conv2|logits)/kernel"


class LocalLearningRate(Paper):
    name = "local_learning_rate"
    presets: ClassVar = {
        "": {
            ALEXNETS: (
                Preset(lars(512, 4096, 8192), layers=LAYERS, records_per_epoch=4),
                Preset(lars(512, 4096, 16384), (0,), layers=LAYERS, records_per_epoch=20),
            ),
            RESNET: (
                Preset(lars(256, 8192, 32768), layers=LAYERS_OF_RESNET, records_per_epoch=4),
                Preset(
                    lars(8192, 16384, 32768), (0,), layers=LAYERS_OF_RESNET, records_per_epoch=4
                ),
            ),
        }
    }
    label = ("batch",)

    @classmethod
    def define_flags(cls) -> None:
        super().define_flags()
        flags.DEFINE_string("layers", None, "Regular expression for names of variables.")

    @staticmethod
    def csv_rows(found: dict) -> list[dict]:
        """A row for each record that is kept."""
        return [
            {
                "point": row["name"],
                "batch": row["settings"]["global_batch_size"],
                "seed": row["settings"]["seed"],
                "variable": variable,
                "epoch": epoch,
                "local_learning_rate": ratio,
            }
            for row in found["rows"]
            for variable, norms in row["norms"].items()
            for epoch, ratio in zip(norms["epoch"], norms["trust_ratio"])
        ]

    @staticmethod
    def table(found: dict) -> str:
        """The local learning rate at the first update, halfway and at the last record."""
        lines = []
        for row in found["rows"]:
            for variable, norms in row["norms"].items():
                ratios = norms["trust_ratio"]
                line = {
                    "variable": variable,
                    "batch": str(row["settings"]["global_batch_size"]),
                    "seed": str(row["settings"]["seed"]),
                }
                chosen = {"first update": 0, "half time": len(ratios) // 2, "end": -1}
                for name, place in chosen.items():
                    line[name] = "" if ratios[place] is None else f"{ratios[place]:.3g}"
                lines.append(line)
        return f"{tables.by_seed(found)}\n\n{frames.markdown(lines)}"

    @staticmethod
    def plot(found: dict, path: pathlib.Path) -> None:
        rows = results.frame(found)
        variables = list(dict.fromkeys(name for norms in rows["norms"] for name in norms))
        title = "Local learning rate of LARS, trust coefficient included"
        height = math.ceil(len(variables) / COLUMNS)
        figure, axes = paper_plots.panels(rows, title, height, COLUMNS, sharex=True, sharey=True)
        for variable, axis in zip(variables, axes):
            for index, group in enumerate(results.by_seed(rows)):
                words = paper_plots.words(group["label"].iloc[0])
                for number, norms in enumerate(group["norms"]):
                    axis.plot(
                        norms[variable]["epoch"],
                        norms[variable]["trust_ratio"],
                        color=plots.color(index),
                        linewidth=1.4,
                        label=words if number == 0 else None,  # once for all seeds
                    )
            axis.set(yscale="log", title=variable, ylabel="local learning rate", xlabel="epoch")
            axis.tick_params(labelbottom=True, labelleft=True)
        plots.legend(axes[0], rows["diverged"].any())
        for axis in axes[len(variables) :]:
            axis.set_axis_off()
        plots.save(figure, path)


if __name__ == "__main__":
    main(LocalLearningRate)
