"""The study as a picture: accuracy and loss by batch size, and trials by learning rate."""

import pathlib
import statistics

from matplotlib.figure import Figure

from benchmarks.studies.batch_size.arms import ARMS
from benchmarks.studies.batch_size.results import select

COLORS = {
    "momentum": "#888888",
    "nesterov": "#1b6fb3",
    "lars": "#d1495b",
    "lamb": "#3c8d5a",
}
QUANTITIES = (("test_accuracy", "accuracy on test images"), ("measured_loss", "training loss"))


def draw(results: dict, path: pathlib.Path) -> None:
    """Writes the picture."""
    networks = [name for name in results["networks"] if select(results, network=name)]
    figure = Figure(figsize=(12, 4.2 * len(networks)), layout="constrained")
    axes = figure.subplots(len(networks), 3, squeeze=False)
    for network, (accuracy, loss, trials) in zip(networks, axes):
        for axis, (key, words) in zip((accuracy, loss), QUANTITIES):
            _by_batch(results, network, axis, key)
            axis.set(title=f"{network}: {words}", xlabel="batch size")
        loss.set_yscale("log")
        _trials(results, network, trials)
    axes[0][0].legend(fontsize=8, loc="lower left")
    figure.suptitle(
        f"Fashion-MNIST at {results['image_size']}x{results['image_size']}, {results['epochs']} "
        f"epochs: mean and range of {results['seeds']} seeds"
    )
    figure.savefig(path, dpi=110)


def _by_batch(results: dict, network: str, axis, key: str) -> None:
    for arm in ARMS:
        points = []
        for batch in results["batches"]:
            rows = select(results, network=network, arm=arm.name, batch=batch, kind="seed")
            values = [row[key] for row in rows if not row["diverged"]]
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


def _trials(results: dict, network: str, axis) -> None:
    """The trials at the largest batch that has any, by learning rate over the best one's."""
    batches = [r["batch"] for r in select(results, network=network, kind="trial")]
    if not batches:
        return
    for arm in ARMS:
        rows = select(results, network=network, arm=arm.name, batch=max(batches), kind="trial")
        rows = sorted(rows, key=lambda row: row["learning_rate"])
        if rows:
            best = max(rows, key=lambda row: row["choosing_accuracy"] or 0.0)["learning_rate"]
            axis.plot(
                [row["learning_rate"] / best for row in rows],
                [row["choosing_accuracy"] or float("nan") for row in rows],
                marker="o",
                markersize=3,
                color=COLORS[arm.optimizer],
                linestyle="-" if len(arm.space) == 1 else "none",
            )
    axis.set_xscale("log")
    axis.grid(alpha=0.3)
    axis.set(
        title=f"{network}: trials at {max(batches):,}",
        xlabel="learning rate, relative to the best trial's",
    )
