"""What the study says, as Markdown."""

import statistics
from collections.abc import Callable

from benchmarks.environment import in_words
from benchmarks.studies.batch_size import settings_table
from benchmarks.studies.batch_size.arms import Range
from benchmarks.studies.batch_size.images import CLASSES
from benchmarks.studies.batch_size.results import accuracy_of, arms_of, failed, select

# How far below the best trial of all a setting still counts as one that works.
WORKS_WITHIN = 0.02

_ONE_SETTING = (
    "One setting for all batch sizes: of the trials the one with the best mean over batch sizes, "
    "test accuracy in % of that one seed:"
)


def report(results: dict) -> str:
    """All tables."""
    parts = _searched(results) if results["trials"] else [settings_table.table(results)]
    parts += ["Trainings that diverged, of all trials and seeds:", divergences(results)]
    done, planned = len(results["rows"]), results["planned"]
    parts += [in_words(each["versions"], each["device"]) for each in results["environments"]]
    return "\n\n".join([*parts, f"{done} of {planned} trainings are done."])


def _searched(results: dict) -> list[str]:
    of_network = of_seeds if results["seeds"] else of_rates
    parts = [
        part
        for network in results["networks"]
        if select(results, network=network)
        for part in of_network(results, network)
    ]
    for arm in () if results["seeds"] else arms_of(results):
        parts += [f"Test accuracy in % by learning rate, {arm.words}:", by_rate(results, arm.name)]
    return parts


def of_seeds(results: dict, network: str) -> list[str]:
    """The tables of a network, each after what it is."""
    parts = [
        f"Network `{network}`, test accuracy in %, mean (and standard deviation) of the seeds:",
        table(results, network, lambda *at: accuracy(results, *at)),
        "Loss on training images at the end:",
        table(results, network, lambda *at: training_loss(results, *at)),
        f"Trials within {100 * WORKS_WITHIN:g} points of the best one at that batch size:",
        table(results, network, lambda *at: works(results, *at), tuned_only=True),
        _ONE_SETTING,
        one_setting(results, network),
        "Chosen learning rate:",
        table(results, network, lambda *at: chosen_rate(results, *at)),
    ]
    # Several trainings at once, on the cores of one processor, tell nothing of speed.
    if any(each["device"]["accelerators"] for each in results["environments"]):
        parts += [
            "Images a second in the fastest epoch, median of all trainings:",
            table(results, network, lambda *at: throughput(results, *at)),
        ]
    return parts


def of_rates(results: dict, network: str) -> list[str]:
    """The same where learning rates were tried, and none chosen."""
    return [
        f"Network `{network}`, learning rates within {100 * WORKS_WITHIN:g} points of the best one "
        f"of the same optimizer, of {results['trials']} that were tried:",
        table(results, network, lambda *at: width(results, *at)),
        _ONE_SETTING,
        one_setting(results, network),
    ]


def search_spaces(results: dict) -> str:
    """What is searched for each tuned arm, and what the others take."""
    lines = ["| | learning rate | momentum | warm-up, share of the updates |", "|---|---|---|---|"]
    for arm in arms_of(results):
        momentum, warmup = f"{arm.momentum:g}", f"{arm.warmup_share:g}"
        if arm.space:
            rate = _range(arm.space["learning_rate"])
        else:
            rule = {0.5: "square root of the batch", 1.0: "batch"}[arm.power]
            rate = f"that of 128, by the {rule}"
        if away := arm.space.get("distance_of_momentum_to_1"):
            momentum = f"1 - ({_range(away)})"
        if share := arm.space.get("warmup_share"):
            warmup = _range(share)
        if arm.optimizer == "lamb":
            momentum = "Keras's"
        lines.append(f"| {arm.words} | {rate} | {momentum} | {warmup} |")
    return "\n".join(lines)


def _range(of: Range) -> str:
    return f"{of.low:g} to {of.high:g}" + (", logarithmic" if of.logarithmic else "")


def table(
    results: dict, network: str, cell: Callable[[str, str, int], str], tuned_only: bool = False
) -> str:
    """A row for each arm, and a column for each batch size."""
    batches = results["batches"]
    lines = [
        "| | " + " | ".join(f"{batch:,}" for batch in batches) + " |",
        "|---|" + "---:|" * len(batches),
    ]
    for arm in arms_of(results):
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
    values = [row[key] for row in rows if not failed(row)]
    count = len(rows) - len(values)
    words = f"{count} of {len(rows)} diverged" if count else ""
    if not values:
        return words
    spread = f" ({form(statistics.stdev(values))})" if len(values) > 1 else ""
    return form(statistics.mean(values)) + spread + (f", {words}" if words else "")


def works(results: dict, network: str, arm: str, batch: int) -> str:
    """How many of the trials come close to the best trial of any arm, and how many diverged."""
    rows = select(results, network=network, batch=batch, kind="trial")
    ours = [row for row in rows if row["arm"] == arm]
    if not ours:
        return ""
    best = max(map(_chosen_by, rows))
    close = sum(_chosen_by(row) >= best - WORKS_WITHIN for row in ours)
    count = sum(map(failed, ours))
    return f"{close} of {len(ours)}" + (f", {count} diverged" if count else "")


def width(results: dict, network: str, arm: str, batch: int) -> str:
    """How many learning rates come close to the best one, and from where to where they are."""
    rows = select(results, network=network, arm=arm, batch=batch, kind="trial")
    reached = {row["learning_rate"]: accuracy_of(row) for row in rows}
    if not reached:
        return ""
    close = [rate for rate in reached if reached[rate] >= max(reached.values()) - WORKS_WITHIN]
    ends = f"{min(close):.3g} to {max(close):.3g}" if len(close) > 1 else f"{close[0]:.3g}"
    return f"{len(close)}: {ends}"


def _chosen_by(row: dict) -> float:
    return 1 / CLASSES if failed(row) else row["choosing_accuracy"]


def divergences(results: dict) -> str:
    """A row for each arm, and a column for each network."""
    networks = results["networks"]
    lines = ["| | " + " | ".join(networks) + " |", "|---|" + "---:|" * len(networks)]
    for arm in arms_of(results):
        found = [select(results, network=network, arm=arm.name) for network in networks]
        cells = [f"{sum(map(failed, rows))} of {len(rows)}" for rows in found]
        lines.append(f"| {arm.words} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def one_setting(results: dict, network: str) -> str:
    """What the setting that is best on average reaches at each batch size.

    All arms try the same settings at every batch size, so that each of them is one that might be
    used throughout. A training that diverged counts as a guess.
    """
    batches = [
        batch
        for batch in results["batches"]
        if all(
            len(select(results, network=network, arm=arm.name, batch=batch, kind="trial"))
            == results["trials"]
            for arm in arms_of(results)
            if arm.space
        )
    ]
    header = ["", "learning rate", *(f"{batch:,}" for batch in batches)]
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    for arm in arms_of(results) if batches else ():
        if not arm.space:
            continue
        settings = [
            [
                select(
                    results,
                    network=network,
                    arm=arm.name,
                    batch=batch,
                    kind="trial",
                    number=number,
                )[0]
                for batch in batches
            ]
            for number in range(results["trials"])
        ]
        best = max(settings, key=lambda rows: sum(map(_chosen_by, rows)))
        cells = [_of_trial(row) for row in best]
        rate = f"{best[0]['learning_rate']:.3g}"
        lines.append("| " + " | ".join([arm.words, rate, *cells]) + " |")
    return "\n".join(lines)


def by_rate(results: dict, arm: str) -> str:
    """A row for each learning rate that was tried, and a column for each network and batch size."""
    columns = [
        (network, batch)
        for network in results["networks"]
        for batch in results["batches"]
        if select(results, network=network, arm=arm, batch=batch, kind="trial")
    ]
    header = ["learning rate", *(f"{network}, {batch:,}" for network, batch in columns)]
    lines = ["| " + " | ".join(header) + " |", "|" + "---:|" * len(header)]
    rows = select(results, arm=arm, kind="trial")
    for rate in sorted({row["learning_rate"] for row in rows}):
        cells = [f"{rate:.3g}"]
        for network, batch in columns:
            found = [
                row
                for row in rows
                if (row["network"], row["batch"], row["learning_rate"]) == (network, batch, rate)
            ]
            cells.append(_of_trial(found[0]) if found else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def by_rate_of_lars(results: dict) -> str:
    return by_rate(results, "lars_rates")


def _of_trial(row: dict) -> str:
    return "diverged" if failed(row) else f"{100 * row['test_accuracy']:.1f}"


def chosen_rate(results: dict, network: str, arm: str, batch: int) -> str:
    rows = select(results, network=network, arm=arm, batch=batch, kind="seed")
    return f"{rows[0]['learning_rate']:.3g}" if rows else ""


def throughput(results: dict, network: str, arm: str, batch: int) -> str:
    rows = select(results, network=network, arm=arm, batch=batch)
    found = [row["images_per_second"] for row in rows if row["images_per_second"]]
    return f"{statistics.median(found):,.0f}" if found else ""
