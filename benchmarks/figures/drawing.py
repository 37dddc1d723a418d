"""What the pictures have in common: titles, colors, seeds as a band, crosses for divergence."""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.figures import results
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
# For values that no optimizer is told from: batches, variants.
CYCLE = ("#1f5fa8", "#d1620a", "#2a8a4a", "#8b3fa8", "#7a7a7a")
FAINT = {"alpha": 0.45, "linewidth": 1.2, "linestyle": "--", "markerfacecolor": "white"}
ACCURACY = "accuracy on held-out images, %"


def panels(found: dict, title: str, rows: int, columns: int, **sharing) -> tuple["Figure", list]:
    """A figure with its title, and its axes in a list."""
    from matplotlib.figure import Figure

    size = (max(7.5, 5.2 * columns), 4.3 * rows + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(f"{title}\n{subject(found)}")
    axes = list(figure.subplots(rows, columns, squeeze=False, **sharing).flat)
    for axis in axes:
        axis.grid(alpha=0.3, which="major")
    return figure, axes


def save(figure: "Figure", path: pathlib.Path) -> None:
    figure.savefig(path, dpi=110)


def subject(found: dict) -> str:
    """The network, the data set and how long, in words."""
    recipes = [point["recipe"] for point in found["points"]]
    first = recipes[0]
    width = "" if first["width"] == 1 else f" (width {first['width']:g})"
    size = first["image_size"]
    updates = {point["result"]["updates"] for point in found["points"]}
    lengths = sorted({recipe["epochs"] for recipe in recipes})
    span = f"{lengths[0]} to " if len(lengths) > 1 else ""
    return (
        f"{NETWORKS.get(first['model'], first['model'])}{width} on {DATA[first['data']]}, "
        f"{size}x{size} pixels"
        + ("" if updates == {1} else f", {span}{counted(lengths[-1], 'epoch')}")
    )


def color(index: int) -> str:
    return CYCLE[index % len(CYCLE)]


def words(label: dict, *names: str) -> str:
    """Parts of a label, for a legend."""
    chosen = {name: label[name] for name in names or label}
    return ", ".join(
        value if isinstance(value, str) else f"{name} {value:g}" for name, value in chosen.items()
    )


def curves(axis: "Axes", group: list[dict], quantity, label: str, **style) -> None:
    """A quantity by epoch: the mean over the seeds, their range, and crosses where they diverged.

    Args:
        axis: Where to draw.
        group: The points, which differ in the seed.
        quantity: Of a history, gives a list with a number or None for each epoch.
        label: For the legend.
        **style: Of the line.
    """
    by_epoch: dict[int, list[float]] = {}
    for point in group:
        for epoch, value in enumerate(quantity(point["history"]), 1):
            if value is not None:
                by_epoch.setdefault(epoch, []).append(value)
    axis.xaxis.get_major_locator().set_params(integer=True)
    epochs = sorted(by_epoch)
    means = [sum(by_epoch[epoch]) / len(by_epoch[epoch]) for epoch in epochs]
    (line,) = axis.plot(epochs, means, label=label, **style)
    _band(axis, epochs, [by_epoch[epoch] for epoch in epochs], line.get_color())
    for point in group:
        if point["result"]["diverged"]:
            cross(axis, point["result"]["epochs"], line.get_color())


def summary(axis: "Axes", by_x: dict[float, list[dict]], label: str, **style) -> None:
    """The accuracy reached by something: mean and range of the seeds, a cross if one diverged."""
    xs = [x for x in sorted(by_x) if results.accuracies(by_x[x])]
    values = [results.accuracies(by_x[x]) for x in xs]
    means = [sum(of_x) / len(of_x) for of_x in values]
    (line,) = axis.plot(xs, means, marker="o", label=label, **style)
    _band(axis, xs, values, line.get_color())
    for x, group in by_x.items():
        if any(point["result"]["diverged"] for point in group):
            cross(axis, x, line.get_color())


def _band(axis: "Axes", xs: Sequence[float], values: list[list[float]], color: str) -> None:
    if any(len(of_x) > 1 for of_x in values):
        low, high = [min(of_x) for of_x in values], [max(of_x) for of_x in values]
        axis.fill_between(xs, low, high, color=color, alpha=0.18, linewidth=0)


def cross(axis: "Axes", x: float, color: str) -> None:
    """Marks a divergence at the bottom, whatever the scale."""
    axis.plot(
        [x],
        [0.025],
        transform=axis.get_xaxis_transform(),
        marker="x",
        color=color,
        markersize=9,
        markeredgewidth=2.5,
        linestyle="none",
        clip_on=False,
        zorder=5,
    )


def published(axis: "Axes", xs: Sequence[float], ys: Sequence[float], label: str, color: str):
    """Numbers of others, faintly behind. The legend has each label once."""
    if label in axis.get_legend_handles_labels()[1]:
        label = "_" + label
    axis.plot(xs, ys, marker="D", markersize=5, color=color, label=label, zorder=1, **FAINT)


def legend(axis: "Axes", points: list[dict]) -> None:
    """The legend, which explains the crosses if any of the points diverged."""
    handles, labels = axis.get_legend_handles_labels()
    if any(point["result"]["diverged"] for point in points):
        from matplotlib.lines import Line2D

        handles.append(Line2D([], [], marker="x", color="#444444", linestyle="none"))
        labels.append("diverged")
    axis.legend(handles, labels, fontsize="small")


def log_axis(axis: "Axes", ticks: Sequence[float]) -> None:
    """A logarithmic x axis with the values themselves at the ticks."""
    axis.set_xscale("log")
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks], rotation=60)
    axis.minorticks_off()


def percent(values: list) -> list:
    return [None if value is None else 100 * value for value in values]
