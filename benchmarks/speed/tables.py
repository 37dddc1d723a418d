"""The times of updates as data frames and Markdown tables."""

import math
import pathlib
import statistics
from collections.abc import Mapping, Sequence

import pandas as pd

from benchmarks import files, frames
from benchmarks.environment import in_words
from benchmarks.words import counted

# Contenders in the short table, besides the LARS of other packages.
_SHORT = ("keras_lars", "Keras SGD, XLA", "Keras SGD, jit", "Keras SGD", "torch SGD, fused")
GROWTH = files.csv_lines(pathlib.Path(__file__).with_name("growth.csv"))


def times(model: dict) -> pd.DataFrame:
    """One row per contender on a model, with statistics of its rounds if it was measured."""
    found = pd.DataFrame(model["results"])
    found.index = found["framework"] + "/" + found["contender"]
    for name in ("model", "parameters", "variables"):
        found[name] = model[name]
    is_measured = found["status"] == "measured"
    # A column for each contender.
    rounds = pd.DataFrame(found.loc[is_measured, "rounds_us"].to_dict(), dtype=float)
    for quantile, name in ((0.25, "lower_quartile"), (0.5, "median"), (0.75, "upper_quartile")):
        found[f"{name}_ms"] = rounds.quantile(quantile) / 1000
    found["min_ms"] = rounds.min() / 1000
    sizes = found["bytes_per_parameter"].astype(float) * found["parameters"]
    found["gigabytes_per_second"] = sizes / found["median_ms"] / 1e6
    baselines = found["framework"] + "/" + found["compared_to"]
    to_baselines = rounds / rounds.reindex(columns=baselines.reindex(rounds.columns)).to_numpy()
    found["ratio"] = to_baselines.median()
    found["is_other_lars"] = (found["role"] == "lars") & ~found["ours"].astype(bool)
    is_other = is_measured & found["is_other_lars"]
    fastest = rounds[found.loc[is_other, "median_ms"].idxmin()] if is_other.any() else math.nan
    found["ratio_to_fastest_lars"] = rounds.div(fastest, axis=0).median()
    first_calls = found["first_call_seconds"].where(is_measured).astype(float)
    found["first_call_ratio"] = first_calls / first_calls.reindex(baselines).to_numpy()
    return found


def images_per_second(trained: dict, optimizer: str) -> float:
    """Images per second in a result of `step.py`, from the median of the rounds."""
    median_us = statistics.median(trained["rounds_us"][optimizer])
    return 1e6 * trained["settings"]["global_batch_size"] / median_us


def ratio(rounds_us: Sequence[int], others_us: Sequence[int]) -> float:
    """The median over the rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(rounds_us, others_us))


def of_updates(results: dict) -> str:
    """All tables of a result file, each with a caption."""
    parts = [head(results, results["workers"])]
    for model in results["contenders"]:
        parts += [_title(model), _times(model)]
    for shown in GROWTH:
        if models := results["sizes"].get(shown["axis"]):
            parts += [shown["caption"], _grid(models, shown["size"], shown["measured"])]
    for model in results["replicas"]:
        parts += [f"Replicas: {_title(model)}", _times(model)]
    if results.get("large"):
        parts += [
            "Error of an update of one variable of 100,000,000 elements, relative to the step",
            _large(results["large"]),
        ]
    if results["memory"]:
        parts += [
            "Memory of one step: the state (weights, gradients and slots), what is held between "
            "steps, and the peak, without what the process held before",
            _memory(results["memory"]),
        ]
    return "\n\n".join(parts)


def short(results: dict) -> str:
    """The times of LARS, the LARS of other packages and SGD on the first model."""
    found = times(results["contenders"][0])
    is_shown = found["contender"].isin(_SHORT) | found["is_other_lars"]
    found = found[is_shown].dropna(subset="median_ms")
    found = found.sort_values(["median_ms", "contender"])
    cells = pd.DataFrame({"update": found["contender"], "backend": found["framework"]})
    return frames.markdown(cells.assign(ms=found["median_ms"].map(_number)), texts=2)


def clusters(results: dict) -> str:
    """Launches, compile time and time of each update, and its memory on one of the models."""
    memory = {row["contender"]: row["high_water_bytes"] for row in results["memory"]}
    found = pd.concat(map(times, results["contenders"]))
    held = found["contender"].map(memory).where(found["model"] == results["memory_model"])
    cells = {
        "model": found["model"],
        "update": found["contender"],
        "launches": found["launches"].map("{:,}".format),
        "first call s": found["first_call_seconds"].map(_number),
        "median ms": found["median_ms"].map(_number),
        "peak MB": held.map(_megabytes),
    }
    return frames.markdown(pd.DataFrame(cells), texts=2)


def head(results: dict, frameworks: Mapping[str, dict]) -> str:
    """The date and the command as a list item, and each framework, or why it failed, below it."""
    lines = [f"- {results['date']}: `{results['command']}`"]
    for name, found in frameworks.items():
        words = found.get("failed") or in_words(found["versions"], found["device"])
        lines.append(f"  - {name}: {words}")
    return "\n".join(lines)


def _title(model: dict) -> str:
    speeds = "; ".join(
        f"{framework}: copy {speed['numpy_copy']:.1f}, x += 1 {speed['framework_add']:.1f} GB/s"
        for framework, speed in model["memory_speed"].items()
    )
    return (
        f"{model['model']}: {counted(model['parameters'], 'parameter', spec=',')} in "
        f"{counted(model['variables'], 'variable', spec=',')} of "
        f"{counted(model['shapes'], 'shape', spec=',')} ({speeds})"
    )


def _times(model: dict) -> str:
    found = times(model)
    is_measured = found["status"] == "measured"
    measured = found[is_measured].sort_values("median_ms", kind="stable")
    quartiles = zip(measured["lower_quartile_ms"], measured["upper_quartile_ms"])
    cells = {
        "contender": measured["contender"],
        "backend": measured["framework"],
        "median ms": measured["median_ms"].map(_number),
        "quartiles ms": [f"{_number(lower)} to {_number(upper)}" for lower, upper in quartiles],
        "min ms": measured["min_ms"].map(_number),
        "GB/s": measured["gigabytes_per_second"].map(_number),
        "ratio": measured["ratio"].map(_number),
        "to fastest other LARS": measured["ratio_to_fastest_lars"].map(_number),
        "first call s": measured["first_call_seconds"].map(_number),
        "first-call ratio": measured["first_call_ratio"].map(_number),
    }
    notes = [
        f"{row['contender']} ({row['framework']}): {row['status']}"
        for _, row in found[~is_measured].iterrows()
    ]
    baselines = sorted({*found["compared_to"]} - {""})
    notes.append(f"ratio: to the baseline ({'; '.join(baselines)}), median over the rounds")
    return frames.markdown(pd.DataFrame(cells), texts=2) + "\n\n" + "\n".join(notes)


def _grid(models: list[dict], size: str, measured: str) -> str:
    """One row per contender, one column per size."""
    rows: dict[tuple, dict] = {}
    for row in pd.concat(map(times, models)).to_dict("records"):
        names = {"contender": row["contender"], "backend": row["framework"]}
        cells = rows.setdefault(tuple(names.values()), names)
        is_measured = row["status"] == "measured"
        cells[f"{row[size]:,}"] = _number(row[measured]) if is_measured else row["status"]
    return frames.markdown(list(rows.values()), texts=2)


def _memory(rows: list[dict]) -> str:
    measured = ["state_bytes", "settled_bytes", "high_water_bytes", "high_water_to_state"]
    found = pd.DataFrame(rows).reindex(columns=["contender", "framework", "status", *measured])
    state, settled, high_water = (found[name].map(_megabytes) for name in measured[:3])
    cells = {
        "contender": found["contender"],
        "backend": found["framework"],
        "state MB": state.where(found["status"] == "measured", found["status"]),
        "held between steps MB": settled,
        "peak MB": high_water,
        "ratio": found["high_water_to_state"].map("{:.3f}".format, na_action="ignore"),
    }
    return frames.markdown(pd.DataFrame(cells), texts=2)


def _large(found: dict[str, dict]) -> str:
    cells = []
    for key, checked in found.items():
        framework, _, name = key.partition("/")
        error = checked.get("failed") or f"{checked['error']:.1e}"
        cells.append({"contender": name, "backend": framework, "error": error})
    return frames.markdown(cells, texts=3)


def _megabytes(size: float) -> str:
    return "" if pd.isna(size) else f"{size / 1e6:,.0f}"


def _number(value: float) -> str:
    """A number with three digits, or two if it is small."""
    if pd.isna(value):
        return ""
    if value < 0.01:
        return f"{value:.2g}"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"
