"""What the experiments on the paper's rows train by default."""

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


# By experiment or ablation, by networks, and by "full" size or "scaled down".
PRESETS = {
    (line.pop("name"), line.pop("models"), line.pop("size")): Preset(**line)
    for line in files.csv_lines(pathlib.Path(__file__).with_name("presets.csv"), Preset)
}


def by_network(name: str, scaled_down: bool) -> dict[str, Preset]:
    """The presets of an experiment or ablation."""
    asked = (name, "scaled down" if scaled_down else "full")
    return {
        model: preset
        for (known, models, size), preset in PRESETS.items()
        if (known, size) == asked
        for model in models.split()
    }
