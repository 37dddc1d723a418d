"""The study as pictures: accuracy and loss by batch size, and accuracy by learning rate."""

import itertools
import pathlib
import statistics

from matplotlib import colormaps
from matplotlib.figure import Figure

from benchmarks.studies.batch_size.images import CLASSES
from benchmarks.studies.batch_size.results import accuracy_of, arms_of, failed, select

COLORS = {
    "momentum": "#888888",
    "nesterov": "#1b6fb3",
    "lars": "#d1495b",
    "lamb": "#3c8d5a",
}
QUANTITIES = (("test_accuracy", "accuracy on test images"), ("measured_loss", "training loss"))
# Those whose learning rate alone is searched, or follows from a search.
BY_RATE = ("momentum", "lars", "lamb")


def draw(results: dict, path: pathlib.Path) -> None:
    """Accuracy and training loss by batch size, a line for each arm.

    A cross, at the accuracy of a guess, is a batch size at which at least one seed diverged.

    Raises:
        ValueError: If the results have no seeds, but trials alone.
    """
    if not results["seeds"]:
        raise ValueError(
            "--plot needs results of seeds, --plot_rates does not. Received: results of trials"
        )
    networks = _networks(results)
    figure = Figure(figsize=(11, 4.2 * len(networks)), layout="constrained")
    axes = figure.subplots(len(networks), 2, squeeze=False)
    for network, row in zip(networks, axes):
        for axis, (key, words) in zip(row, QUANTITIES):
            _by_batch(results, network, axis, key)
            if key == "test_accuracy":
                _crosses(results, network, axis)
            axis.set(title=f"{network}: {words}", xlabel="batch size")
        row[1].set_yscale("log")
    axes[0][0].legend(fontsize=8, loc="center left")
    of_seeds = f"mean and range of {results['seeds']} seeds; x: some diverged"
    figure.suptitle(f"{_told(results)}: {of_seeds}")
    figure.savefig(path, dpi=110)


def draw_rates(results: dict, path: pathlib.Path) -> None:
    """Accuracy by learning rate, a line for each batch size: how wide the range is that works."""
    networks = _networks(results)
    figure = Figure(figsize=(11, 3.6 * len(networks)), layout="constrained")
    axes = figure.subplots(len(networks), len(BY_RATE), squeeze=False, sharey="row", sharex="col")
    for network, row in zip(networks, axes):
        for optimizer, axis in zip(BY_RATE, row):
            _by_rate(results, network, optimizer, axis)
            axis.set_title(f"{network}: {optimizer}")
        row[0].set_ylabel("accuracy on test images")
    for axis in axes[-1]:
        axis.set_xlabel("learning rate")
    axes[0][0].legend(title="batch size", fontsize=8)
    figure.suptitle(f"{_told(results)}: one that diverged counts as a guess")
    figure.savefig(path, dpi=110)


def _networks(results: dict) -> list[str]:
    return [name for name in results["networks"] if select(results, network=name)]


def _told(results: dict) -> str:
    size = results["image_size"]
    return f"Fashion-MNIST at {size}x{size}, {results['epochs']} epochs"


def _by_batch(results: dict, network: str, axis, key: str) -> None:
    for arm in arms_of(results):
        points = []
        for batch in results["batches"]:
            rows = select(results, network=network, arm=arm.name, batch=batch, kind="seed")
            values = [row[key] for row in rows if not failed(row)]
            if values:
                points.append((batch, statistics.mean(values), min(values), max(values)))
        if points:
            batches, means, lows, highs = zip(*points)
            style = {"color": COLORS[arm.optimizer], "linestyle": "-" if arm.space else "--"}
            axis.plot(batches, means, marker="o", markersize=3, label=arm.words, **style)
            axis.fill_between(batches, lows, highs, color=COLORS[arm.optimizer], alpha=0.15, lw=0)
    axis.set_xscale("log", base=2)
    axis.set_xticks(results["batches"], [f"{batch:,}" for batch in results["batches"]])
    axis.grid(alpha=0.3)


def _crosses(results: dict, network: str, axis) -> None:
    for arm in arms_of(results):
        rows = filter(failed, select(results, network=network, arm=arm.name, kind="seed"))
        batches = sorted({row["batch"] for row in rows})
        axis.plot(batches, [1 / CLASSES] * len(batches), "x", color=COLORS[arm.optimizer])


def _by_rate(results: dict, network: str, optimizer: str, axis) -> None:
    names = [arm.name for arm in arms_of(results) if arm.optimizer == optimizer]
    colors = colormaps["viridis"].resampled(len(results["batches"]) + 1)
    for number, batch in enumerate(results["batches"]):
        found = (select(results, network=network, arm=name, batch=batch) for name in names)
        by_rate: dict[float, list[float]] = {}
        for row in itertools.chain(*found):
            by_rate.setdefault(row["learning_rate"], []).append(accuracy_of(row))
        rates = sorted(by_rate)
        means = [statistics.mean(by_rate[rate]) for rate in rates]
        axis.plot(rates, means, "o-", markersize=3, color=colors(number), label=f"{batch:,}")
    tried = {row["learning_rate"] for row in select(results, arm=names[0], kind="trial")}
    axis.set_xscale("log")
    axis.set_xticks(sorted(tried), [f"{float(f'{x:.2g}'):g}" for x in sorted(tried)], fontsize=8)
    axis.minorticks_off()
    axis.grid(alpha=0.3)
