"""What plots of the paper's experiments have in common: words, colors, and what they are of."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmarks.experiments import plots
from benchmarks.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NETWORKS = {"alexnet": "AlexNet", "alexnet_bn": "AlexNet-BN", "resnet50": "ResNet-50"}
DATA = {
    "imagenet2012": "ImageNet",
    "fashion_mnist": "Fashion-MNIST",
    "digits": "digits",
    "image_folder": "a folder of images",
    "synthetic": "noise",
}
OPTIMIZERS = {"sgd": "SGD", "lars": "LARS"}
COLORS = {"sgd": "#d1620a", "lars": "#1f5fa8"}
ACCURACY = "accuracy on held-out images, %"


def panels(
    table: pd.DataFrame, title: str, rows: int, columns: int, **options: Any
) -> tuple["Figure", list["Axes"]]:
    """A figure whose title says what was trained, and its axes in a list."""
    return plots.panels(f"{title}\n{subject(table)}", rows, columns, **options)


def subject(table: pd.DataFrame) -> str:
    """The network, the data set and how long, in words."""
    first = table["settings"].iloc[0]
    width = "" if first["width"] == 1 else f" (width {first['width']:g})"
    size = first["image_size"]
    lengths = sorted({recipe["epochs"] for recipe in table["settings"]})
    span = f"{lengths[0]} to " if len(lengths) > 1 else ""
    return (
        f"{NETWORKS.get(first['model'], first['model'])}{width} on {DATA[first['data']]}, "
        f"{size}x{size} pixels"
        + ("" if set(table["updates"]) == {1} else f", {span}{counted(lengths[-1], 'epoch')}")
    )


def words(label: dict, *names: str) -> str:
    """Parts of a label, for a legend."""
    chosen = {name: label[name] for name in names or label}
    return ", ".join(
        value if isinstance(value, str) else f"{name} {value:g}" for name, value in chosen.items()
    )


def accuracy_by(axis: "Axes", table: pd.DataFrame, x: str, label: str, color: str) -> None:
    """The accuracy reached by something: mean and range of the seeds, a cross if one diverged."""
    percent = table.assign(percent=100 * table["validation_accuracy"].astype(float))
    plots.reached(axis, percent, x, "percent", table["diverged"].astype(bool), label, color=color)


def accuracy_by_epoch(axis: "Axes", group: pd.DataFrame, label: str, color: str) -> None:
    def percent(history: dict) -> list:
        return [None if x is None else 100 * x for x in history["val_accuracy"]]

    plots.curves(axis, group, percent, label, color=color)


def published(axis: "Axes", table: pd.DataFrame, x: str, color: str) -> None:
    """What was published of the rows that trainings stand for, by something."""
    known = table[table["published"].notna()].drop_duplicates(x)
    if len(known):
        label = f"published: {known['source'].iloc[0].split(';')[0]}"
        plots.published(axis, list(known[x]), list(known["published"]), label, color)
