"""Plots of trainings at many batch sizes: accuracy and loss, and accuracy by learning rate."""

import pathlib
from typing import TYPE_CHECKING

import pandas as pd

from benchmarks.experiments import plots
from benchmarks.experiments.results import of
from benchmarks.experiments.small.tables import frame, methods_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = {
    "momentum": "#888888",
    "nesterov": "#1b6fb3",
    "lars": "#d1495b",
    "lamb": "#3c8d5a",
}
QUANTITIES = (("test_accuracy", "accuracy on test images"), ("measured_loss", "training loss"))
# Those whose learning rate alone is searched, or follows from a search.
BY_RATE = ("momentum", "lars", "lamb")


def plot(found: dict, path: pathlib.Path) -> None:
    """Accuracy and training loss by batch size, a line for each method, if there are seeds."""
    table = frame(found)
    seeds = of(table, kind="seed")
    if seeds.empty:
        plot_rates(found, path)
        return
    networks = list(table["network"].unique())
    title = f"{_subject(found)}: mean and range of {found['settings']['seeds']} seeds"
    size = (11, 4.2 * len(networks))
    figure, axes = plots.panels(title, len(networks), 2, size=size)
    for number, network in enumerate(networks):
        for axis, (name, words) in zip(axes[2 * number :], QUANTITIES):
            for method in methods_of(found):
                chosen = of(seeds, network=network, method=method.name)
                style = {
                    "color": COLORS[method.optimizer],
                    "linestyle": "-" if method.space else "--",
                    "markersize": 3,
                }
                plots.reached(axis, chosen, "batch", name, chosen["failed"], method.words, **style)
            axis.set(title=f"{network}: {words}", xlabel="batch size")
            plots.log_axis(axis, found["settings"]["batches"], "{:,}".format)
        axes[2 * number + 1].set_yscale("log")
    plots.legend(axes[0], seeds["failed"].any(), fontsize=8, loc="center left")
    plots.save(figure, path)


def plot_rates(found: dict, path: pathlib.Path) -> None:
    """Accuracy by learning rate, a line for each batch size: how wide the range is that works."""
    table = frame(found)
    table = table.assign(rate=table["settings"].map(lambda settings: settings["learning_rate"]))
    networks = list(table["network"].unique())
    title = f"{_subject(found)}: one that diverged counts as a guess"
    size = (11, 3.6 * len(networks))
    options = {"sharey": "row", "sharex": "col", "size": size}
    figure, axes = plots.panels(title, len(networks), len(BY_RATE), **options)
    places = [(network, optimizer) for network in networks for optimizer in BY_RATE]
    for (network, optimizer), axis in zip(places, axes):
        names = [m.name for m in methods_of(found) if m.optimizer == optimizer]
        chosen = table[(table["network"] == network) & table["method"].isin(names)]
        _by_rate(found, chosen, axis)
        axis.set_title(f"{network}: {optimizer}")
        tried = chosen.loc[chosen["kind"] == "trial", "rate"]
        plots.log_axis(axis, sorted(tried.unique()), lambda rate: f"{float(f'{rate:.2g}'):g}")
    for axis in axes[:: len(BY_RATE)]:
        axis.set_ylabel("accuracy on test images")
    for axis in axes[-len(BY_RATE) :]:
        axis.set_xlabel("learning rate")
    axes[0].legend(title="batch size", fontsize=8)
    plots.save(figure, path)


def _by_rate(found: dict, table: pd.DataFrame, axis: "Axes") -> None:
    from matplotlib import colormaps

    batches = found["settings"]["batches"]
    colors = colormaps["viridis"].resampled(len(batches) + 1)
    for number, batch in enumerate(batches):
        style = {"marker": "o", "markersize": 3, "color": colors(number)}
        at_batch = of(table, batch=batch)
        plots.band(axis, at_batch, "rate", "counted_accuracy", f"{batch:,}", **style)


def _subject(found: dict) -> str:
    size, data = found["settings"]["image_size"], found["settings"]["data"]
    name = {"fashion_mnist": "Fashion-MNIST", "digits": "Digits"}[data]
    return f"{name} at {size}x{size}, {found['settings']['epochs']} epochs"
