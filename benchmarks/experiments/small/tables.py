"""Markdown tables of training runs at many batch sizes."""

import math
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from benchmarks import frames
from benchmarks.environment import in_words
from benchmarks.experiments import results
from benchmarks.experiments.results import select
from benchmarks.experiments.small.images import CLASSES
from benchmarks.experiments.small.methods import BY_NAME, Method
from benchmarks.experiments.small.training import Training
from benchmarks.recipes import ROWS

# A setting works if its accuracy is at most this far below that of the best trial.
WORKS_WITHIN = 0.02
# A loss from here on is that of guessing: log(CLASSES) less a margin.
_GUESSING_LOSS = 0.99 * math.log(CLASSES)

_ONE_SETTING = (
    "One setting for all batch sizes: the trial setting with the best mean over the batch sizes, "
    "and its test accuracy in %:"
)
_Cell = Callable[[pd.DataFrame], str]


def frame(found: dict) -> pd.DataFrame:
    """Results, with the optimizer and learning rate of each training run, and how it counts.

    `failed` is true if the training diverged or ended at the loss of guessing. `counted_accuracy`
    and `counted_choosing` are its accuracies, or that of guessing if it failed.
    """
    table = results.frame(found)
    guessed = table["measured_loss"].astype(float) >= _GUESSING_LOSS
    table["failed"] |= guessed
    for name, part in (("counted_accuracy", "test"), ("counted_choosing", "choosing")):
        reached = table[f"{part}_accuracy"].astype(float)
        table[name] = reached.mask(table["failed"], 1 / CLASSES)
    methods = table["method"].map(BY_NAME)
    return table.assign(
        rate=table["settings"].str.get("learning_rate"),
        optimizer=[method.optimizer for method in methods],
        line=[method.words for method in methods],
    )


def methods_of(found: dict) -> list[Method]:
    """The methods that are compared."""
    return [BY_NAME[name] for name in found["settings"]["methods"]]


def report(*found: dict) -> str:
    """All tables of one result file, or a table by setting of several with the same methods."""
    first, *others = found
    if others or not first["settings"]["trials"]:
        parts = [by_setting(*found)]
    else:
        parts = _searched(first)
    for each in found:
        parts += ["Training runs that diverged, of all trials and seeds:", divergences(each)]
    return "\n\n".join([*parts, *_origin(*found)])


def _searched(found: dict) -> list[str]:
    seeds = found["settings"]["seeds"]
    network_tables = _seed_tables if seeds else _rate_tables
    parts = []
    for network, table in frame(found).groupby("network", sort=False):
        parts += network_tables(found, network, table)
    for method in () if seeds else methods_of(found):
        words = f"Test accuracy in % by learning rate, {method.words}:"
        parts += [words, by_rate(found, method.name)]
    return parts


def _seed_tables(found: dict, network: str, table: pd.DataFrame) -> list[str]:
    """The tables of a network, each with a caption."""
    seeds, trials = select(table, kind="seed"), select(table, kind="trial")
    every = methods_of(found)
    tuned = [method for method in every if method.tuned]
    parts = [
        f"Network `{network}`, test accuracy in %, mean (and standard deviation) of the seeds:",
        by_batch(found, every, seeds, _reached),
        "Loss on training images at the end:",
        by_batch(found, every, seeds, lambda rows: _reached(rows, "measured_loss", 3)),
        f"Trials within {100 * WORKS_WITHIN:g} points of the best trial of any optimizer at that "
        "batch size:",
        by_batch(found, tuned, trials, lambda ours: works(ours, trials)),
        *([_ONE_SETTING, one_setting(found, network)] if any(m.space for m in every) else []),
        "Chosen learning rate:",
        by_batch(found, every, seeds, lambda rows: f"{rows['rate'].iloc[0]:.3g}"),
    ]
    # Times of training runs that share the cores of a processor say nothing about speed.
    if any(each["device"]["accelerators"] for each in found["environments"]):
        parts += [
            "Images per second in the fastest epoch, median of all training runs:",
            by_batch(found, every, table, throughput),
        ]
    return parts


def _rate_tables(found: dict, network: str, table: pd.DataFrame) -> list[str]:
    """The tables of a network whose learning rates were tried, but not chosen."""
    return [
        f"Network `{network}`, how many of {found['settings']['trials']} learning rates come "
        f"within {100 * WORKS_WITHIN:g} points of the optimizer's best one, and which:",
        by_batch(found, methods_of(found), select(table, kind="trial"), width),
        _ONE_SETTING,
        one_setting(found, network),
    ]


def _origin(*found: dict) -> list[str]:
    """The versions and devices of results, and how many training runs are done."""
    done, planned = sum(len(f["rows"]) for f in found), sum(f["planned"] for f in found)
    origins = [in_words(**environment) for each in found for environment in each["environments"]]
    return [*dict.fromkeys(origins), f"{done} of {planned} training runs are done."]


# --- tables ---------------------------------------------------------------------------------------


def _by_method(
    methods: Iterable[Method],
    table: pd.DataFrame,
    across: str,
    columns: Mapping[Any, str],
    cell: _Cell,
) -> str:
    """One row per method, and one column per value of `across`, with its name in `columns`."""
    cells = {place: cell(chosen) for place, chosen in table.groupby(["method", across])}
    return frames.markdown(
        [
            {"": m.words, **{words: cells.get((m.name, key), "") for key, words in columns.items()}}
            for m in methods
        ]
    )


def by_batch(found: dict, methods: Iterable[Method], table: pd.DataFrame, cell: _Cell) -> str:
    """One row per method, and one column per batch size."""
    batches = {batch: f"{batch:,}" for batch in found["settings"]["batches"]}
    return _by_method(methods, table, "batch", batches, cell)


def accuracies(found: dict) -> str:
    """The test accuracy in % of the only network: mean and standard deviation of the seeds."""
    return by_batch(found, methods_of(found), select(frame(found), kind="seed"), _reached)


def by_network(found: dict) -> str:
    """The test accuracy in %, also of an unfinished study: a table for each batch size."""
    table = select(frame(found), kind="seed")
    # A method without all of its seeds could be judged by its luckiest one.
    groups = table.groupby(["network", "method", "batch"])
    table = groups.filter(lambda rows: len(rows) == found["settings"]["seeds"])
    parts = []
    for batch, rows in table.groupby("batch"):
        methods = [method for method in methods_of(found) if method.name in set(rows["method"])]
        networks = {n: f"`{n}`" for n in found["settings"]["networks"] if n in set(rows["network"])}
        parts += [
            f"Batch size {batch:,}, mean (and standard deviation) of the seeds:",
            _by_method(methods, rows, "network", networks, _reached),
        ]
    return "\n\n".join([*parts, *_origin(found)])


def divergences(found: dict) -> str:
    """One row per method, and one column per network."""
    networks = {name: name for name in found["settings"]["networks"]}
    return _by_method(methods_of(found), frame(found), "network", networks, _failed)


def by_rate(found: dict, method: str = "lars_rates") -> str:
    """One row per learning rate that was tried, and one column per network and batch size."""
    trials = select(frame(found), method=method, kind="trial")
    places = [f"{n}, {batch:,}" for n, batch in zip(trials["network"], trials["batch"])]
    lines = []
    for rate, tried in trials.assign(place=places).groupby("rate"):
        cells = {place: _trial(chosen) for place, chosen in tried.groupby("place")}
        lines.append({"learning rate": f"{rate:.3g}", **cells})
    names = ["learning rate", *dict.fromkeys(places)]
    return frames.markdown(pd.DataFrame(lines, columns=names), texts=0)


def one_setting(found: dict, network: str) -> str:
    """The accuracy of each method's best setting on average, at each batch size.

    A method tries the same settings at every batch size, so any of them could be used for all
    sizes. A training run that diverged counts as guessing.
    """
    trials = select(frame(found), network=network, kind="trial")
    tuned = [method for method in methods_of(found) if method.space]
    planned = len(tuned) * found["settings"]["trials"] * found["settings"]["trial_seeds"]
    complete = [b for b in found["settings"]["batches"] if len(select(trials, batch=b)) == planned]
    lines = []
    for method in tuned if complete else ():
        tried = select(trials, method=method.name)
        tried = tried[tried["batch"].isin(complete)].sort_values("batch")
        # Among equals, `idxmax` returns the lowest number.
        setting = tried["number"] % found["settings"]["trials"]
        best = tried.groupby(setting)["counted_choosing"].sum().idxmax()
        rows = tried[setting == best]
        line = {"": method.words, "learning rate": f"{rows['rate'].iloc[0]:.3g}"}
        lines.append(line | {f"{batch:,}": _trial(select(rows, batch=batch)) for batch in complete})
    names = ["", "learning rate", *(f"{batch:,}" for batch in complete)]
    return frames.markdown(pd.DataFrame(lines, columns=names))


def by_setting(*found: dict) -> str:
    """Test accuracy in % by network and batch size (rows) and setting (columns).

    Cells are means (and standard deviations) of the seeds. The last row is the largest difference
    of each setting from the best in a row. A training run that diverged counts as guessing.
    """
    methods = methods_of(found[0])
    lines, losses = [], []
    for each in found:
        digits = ", digits" if each["settings"]["data"] == "digits" else ""
        for (network, batch), rows in frame(each).groupby(["network", "batch"]):
            columns = {m.words: select(rows, method=m.name) for m in methods}
            if not all(map(len, columns.values())):
                continue
            means = pd.Series({w: c["counted_accuracy"].mean() for w, c in columns.items()})
            losses.append(means.max() - means)
            place = {"network": f"`{network}`{digits}", "batch": f"{batch:,}"}
            lines.append(place | {words: _counted(chosen) for words, chosen in columns.items()})
    worst = pd.DataFrame(losses).max().map(lambda loss: f"{100 * loss:.1f}")
    lines.append({"network": "largest gap to the best in a row", **worst})
    return frames.markdown(lines)


def search_spaces(found: dict) -> str:
    """The search space of each tuned method, and the settings of the others."""
    lines = []
    for method in methods_of(found):
        rule = {0.5: "square root of batch / 128", 1.0: "ratio batch / 128"}.get(method.power)
        rate = method.space.get("learning_rate", f"as at 128, times the {rule}")
        momentum = method.space.get("momentum", f"{Training.momentum:g}")
        warmup = method.space.get("warmup_fraction", f"{Training.warmup_fraction:g}")
        line = {
            "": method.words,
            "learning rate": rate,
            "momentum": "Keras's defaults" if method.optimizer == "lamb" else momentum,
            "warm-up, fraction of the updates": warmup,
        }
        lines.append({name: str(text) for name, text in line.items()})
    return frames.markdown(lines, texts=4)


def published() -> str:
    """Published accuracies by batch size on ImageNet. None of them were measured here."""
    path = pathlib.Path(__file__).with_name("published.csv")
    lines = pd.read_csv(path, comment="#", dtype=str, keep_default_na=False).to_dict("records")
    for line in lines:
        for column, name in list(line.items()):
            if name in ROWS:
                line |= {column: str(ROWS[name].published), "source": ROWS[name].source}
    return frames.markdown(lines)


# --- cells ----------------------------------------------------------------------------------------


def _mean(values: pd.Series, format: str) -> str:
    """The mean, with the standard deviation in brackets if there are several values."""
    spread = f" ({values.std():{format}})" if len(values) > 1 else ""
    return f"{values.mean():{format}}{spread}"


def _reached(seeds: pd.DataFrame, column: str = "percent", digits: int = 1) -> str:
    """The mean of the training runs that did not diverge, and the number of those that did."""
    left = seeds.loc[~seeds["failed"], column].astype(float)
    return _with_diverged(_mean(left, f".{digits}f") if len(left) else "", seeds)


def _counted(seeds: pd.DataFrame) -> str:
    return _with_diverged(_mean(100 * seeds["counted_accuracy"], ".1f"), seeds)


def _failed(trainings: pd.DataFrame) -> str:
    return f"{trainings['failed'].sum()} of {len(trainings)}"


def _with_diverged(text: str, seeds: pd.DataFrame) -> str:
    diverged = f"{_failed(seeds)} diverged" if seeds["failed"].any() else ""
    return ", ".join(filter(None, [text, diverged]))


def _trial(of_setting: pd.DataFrame) -> str:
    """The mean over the seeds of a trial, which often has only one."""
    if of_setting["failed"].all():
        return "diverged"
    left = of_setting[~of_setting["failed"]]
    return _with_diverged(f"{left['percent'].mean():.1f}", of_setting)


def works(ours: pd.DataFrame, trials: pd.DataFrame) -> str:
    """How many trials come close to the best of any method, and how many diverged."""
    at_batch = select(trials, batch=ours["batch"].iloc[0])
    close = ours["counted_choosing"] >= at_batch["counted_choosing"].max() - WORKS_WITHIN
    count = ours["failed"].sum()
    return f"{close.sum()} of {len(ours)}" + (f", {count} diverged" if count else "")


def width(trials: pd.DataFrame) -> str:
    """How many learning rates come close to the best one, and their range."""
    reached = trials.groupby("rate")["counted_accuracy"].mean()
    close = reached.index[reached >= reached.max() - WORKS_WITHIN]
    ends = f"{close.min():.3g} to {close.max():.3g}" if len(close) > 1 else f"{close[0]:.3g}"
    return f"{len(close)}: {ends}"


def throughput(table: pd.DataFrame) -> str:
    speeds = table["images_per_second"].astype(float)
    return f"{speeds.median():,.0f}" if speeds.notna().any() else ""
