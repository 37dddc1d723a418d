"""Plots of training runs at many batch sizes: accuracy and loss, and accuracy by learning rate."""

import pathlib
from typing import Any

from benchmarks import files
from benchmarks.experiments import plots
from benchmarks.experiments.results import select
from benchmarks.experiments.small.tables import frame, methods_of
from benchmarks.recipe import RecipeError

_OPTIMIZERS = files.csv_lines(pathlib.Path(__file__).with_name("optimizers.csv"))
STYLES = {o["optimizer"]: {"color": o["color"], "marker": o["marker"]} for o in _OPTIMIZERS}
BY_RATE = {o["optimizer"]: o["name_by_rate"] for o in _OPTIMIZERS if "name_by_rate" in o}
SCALED = {"linestyle": "--", "markerfacecolor": "white"}
ACCURACY, LOSS = "accuracy on test images, %", "training loss"
_MARKERS = "osD^v"


def plot(found: dict, path: pathlib.Path) -> None:
    """Plots accuracy and training loss by batch size, one line per method.

    If there are only trials, plots accuracy by learning rate.
    """
    seeds = select(frame(found), kind="seed")
    if seeds.empty:
        plot_rates(found, path)
        return
    styles = {
        method.words: {**STYLES[method.optimizer], **({} if method.tuned else SCALED)}
        for method in methods_of(found)
    }
    seeds = seeds.rename(columns={"percent": ACCURACY, "measured_loss": LOSS})
    names = ["network", "batch", "line", "failed"]
    points = seeds.melt(names, [ACCURACY, LOSS], "quantity", ignore_index=False)
    points = points.sort_index(kind="stable")  # one row of panels per network
    points["panel"] = points["network"] + ": " + points["quantity"]
    title = f"{_subject(found)}: mean and range of {found['settings']['seeds']} seeds"
    with plots.panels(path, title, points, "panel", 2, (5.5, 4.2)) as panels:
        for axis, rows in panels:
            plots.lines(axis, rows, "batch", "value", styles, markersize=5)
            axis.set(xlabel="batch size", ylabel=rows["quantity"].iloc[0])
            plots.log_axis(axis, found["settings"]["batches"], "{:,}".format)
        for axis, _ in panels[1::2]:
            plots.log_values(axis)
        plots.legend(panels[0][0], seeds, fontsize=8, loc="center left")


def plot_rates(found: dict, path: pathlib.Path) -> None:
    """Plots accuracy by learning rate, one line per batch size: how wide is the working range?"""
    from matplotlib import colormaps

    table = frame(found)
    table = table[table["optimizer"].isin(BY_RATE)].assign(failed=False)
    if table.empty:
        raise RecipeError(
            "--plot_rates needs results of an optimizer of which only the learning rate is "
            f"searched. Received: {', '.join(found['settings']['methods'])}"
        )
    table[ACCURACY] = 100 * table["counted_accuracy"]
    table["panel"] = table["network"] + ": " + table["optimizer"].map(BY_RATE)
    table["line"] = table["batch"].map("{:,}".format)
    batches = found["settings"]["batches"]
    colors = colormaps["viridis"].resampled(len(batches) + 1)
    styles = {
        f"{batch:,}": {"color": colors(number), "marker": _MARKERS[number % len(_MARKERS)]}
        for number, batch in enumerate(batches)
    }
    # One row of panels per network, or a single row if there is one optimizer.
    columns = table["optimizer"].nunique()
    if columns == 1:
        columns = table["network"].nunique()
    title = f"{_subject(found)}: diverged runs count as guessing"
    options: dict[str, Any] = {"size": (3.7, 3.6), "sharey": "row", "sharex": "col"}
    with plots.panels(path, title, table, "panel", columns, **options) as panels:
        for axis, rows in panels:
            axis.set(xlabel="learning rate", ylabel=ACCURACY)
            axis.label_outer()
            plots.lines(axis, rows, "rate", ACCURACY, styles, markersize=4)
            tried = select(rows, kind="trial")["rate"]
            plots.log_axis(axis, sorted(tried.unique()), lambda rate: f"{float(f'{rate:.2g}'):g}")
        panels[0][0].legend(title="batch size", fontsize=8)


def _subject(found: dict) -> str:
    size, data = found["settings"]["image_size"], found["settings"]["data"]
    name = {"fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "digits": "Digits"}[data]
    return f"{name} at {size}x{size}, {found['settings']['epochs']} epochs"
