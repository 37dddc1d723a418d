"""What the experiments on the paper's rows train by default."""

import collections
import dataclasses
import pathlib

from benchmarks import files


@dataclasses.dataclass(frozen=True)
class Preset:
    """What an experiment trains by default. Batches are those of the paper's rows."""

    sgd: tuple[int, ...] = ()  # batches to train with SGD
    lars: tuple[int, ...] = ()  # batches to train with LARS
    seeds: tuple[int, ...] = (1,)  # to train each variant with
    epochs: int | None = None  # of every training; None for those of the row
    # Learning rates to try at each batch besides those of its rows.
    sgd_rates: tuple[float, ...] = ()
    lars_rates: tuple[float, ...] = ()
    layers: str = ""  # regular expression for the variables to plot
    records_per_epoch: int = 0  # of norms and trust ratios
    training_images: int = 0  # to evaluate in each epoch


# By experiment or ablation and by size, "full" or "scaled down": the presets by network.
PRESETS: dict[tuple[str, str], dict[str, Preset]] = collections.defaultdict(dict)
for _line in files.csv_lines(pathlib.Path(__file__).with_name("presets.csv"), Preset):
    _of_size = PRESETS[_line.pop("name"), _line.pop("size")]
    _of_size |= dict.fromkeys(_line.pop("models").split(), Preset(**_line))
