"""What the study says, as Markdown."""

import statistics
from collections.abc import Callable

from benchmarks.studies.batch_size.arms import ARMS
from benchmarks.studies.batch_size.results import select

# How far below the best of its trials a learning rate still counts as one that works.
WORKS_WITHIN = 0.02


def report(results: dict) -> str:
    """All tables."""
    parts = []
    for network in results["networks"]:
        if not select(results, network=network):
            continue
        parts += [
            f"Network `{network}`, test accuracy in %, mean (and standard deviation) of seeds:",
            table(results, network, lambda *at: accuracy(results, *at)),
            "Loss on training images at the end:",
            table(results, network, lambda *at: training_loss(results, *at)),
            f"Trials within {100 * WORKS_WITHIN:g} points of the best of all at that batch:",
            table(results, network, lambda *at: works(results, *at), tuned_only=True),
            "Chosen learning rate:",
            table(results, network, lambda *at: chosen_rate(results, *at)),
        ]
    done, planned = len(results["rows"]), results["planned"]
    parts.append(f"{done} of {planned} trainings are done.")
    return "\n\n".join(parts)


def table(
    results: dict, network: str, cell: Callable[[str, str, int], str], tuned_only: bool = False
) -> str:
    """A row for each arm, and a column for each batch size."""
    batches = results["batches"]
    lines = [
        "| | " + " | ".join(f"{batch:,}" for batch in batches) + " |",
        "|---|" + "---:|" * len(batches),
    ]
    for arm in ARMS:
        if arm.space or not tuned_only:
            cells = [cell(network, arm.name, batch) for batch in batches]
            lines.append(f"| {arm.words} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def accuracy(results: dict, network: str, arm: str, batch: int) -> str:
    """Of the seeds that did not diverge, and how many did."""
    return _of_seeds(results, network, arm, batch, "test_accuracy", lambda x: f"{100 * x:.1f}")


def training_loss(results: dict, network: str, arm: str, batch: int) -> str:
    """As `accuracy`."""
    return _of_seeds(results, network, arm, batch, "measured_loss", lambda x: f"{x:.3f}")


def _of_seeds(
    results: dict, network: str, arm: str, batch: int, key: str, form: Callable[[float], str]
) -> str:
    rows = select(results, network=network, arm=arm, batch=batch, kind="seed")
    values = [row[key] for row in rows if not row["diverged"]]
    diverged = len(rows) - len(values)
    words = f"{diverged} of {len(rows)} diverged" if diverged else ""
    if not values:
        return words
    spread = f" ({form(statistics.stdev(values))})" if len(values) > 1 else ""
    return form(statistics.mean(values)) + spread + (f", {words}" if words else "")


def works(results: dict, network: str, arm: str, batch: int) -> str:
    """How many of the trials come close to the best trial of any arm at this batch size."""
    rows = select(results, network=network, batch=batch, kind="trial")
    ours = [row for row in rows if row["arm"] == arm]
    if not ours:
        return ""
    best = max((row["choosing_accuracy"] for row in rows if not row["diverged"]), default=0.0)
    close = [
        row
        for row in ours
        if not row["diverged"] and row["choosing_accuracy"] >= best - WORKS_WITHIN
    ]
    return f"{len(close)} of {len(ours)}"


def chosen_rate(results: dict, network: str, arm: str, batch: int) -> str:
    rows = select(results, network=network, arm=arm, batch=batch, kind="seed")
    return f"{rows[0]['learning_rate']:.3g}" if rows else ""
