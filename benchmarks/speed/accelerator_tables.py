"""The results of `accelerator.py` as one table, with the goals."""

from collections.abc import Iterator, Sequence

import pandas as pd

from benchmarks import frames
from benchmarks.speed import tables
from benchmarks.speed.worker import TOLERANCE
from benchmarks.words import counted

# The goals: the longest time that an update of this package may take, relative to something else.
GOALS = {
    "the floor": 1.3,  # copying its bytes; for large variables, where launches hardly matter
    "Keras SGD": 2.0,  # for small variables, where launches matter
    "a step with SGD": 1.01,
    "another LARS": 1.0,
}
_LARGE_VARIABLES = "alexnet"
_OURS = "keras_lars"


def table(*results: dict) -> str:
    """Versions and devices, and a table with one row per number.

    If several results have the same part, the last one is used.
    """
    heads = [tables.head(each, each["backends"]) for each in results]
    rows = []
    for part in _parts(results):
        rows_of = _ROWS.get(part["part"], _training)
        of_part = [] if part["results"] is None else list(rows_of(part["results"]))
        if part["status"] != "done":
            of_part.append(_row(part["part"], part["status"]))
        rows += [{"backend": part["backend"], **row} for row in of_part]
    return "\n".join(heads) + "\n\n" + frames.markdown(rows, texts=5)


_SPEED, _RELATIVE = "LARS, images per second", "a step relative to SGD's"


def trainings(*results: dict) -> str:
    """Images per second with SGD and LARS, one row per backend and precision."""
    return frames.markdown(_trainings(results), texts=2)


def trainings_in_short(*results: dict) -> str:
    """One row per backend, and two columns per precision."""
    rows: dict[str, dict[str, str]] = {}
    for cell in _trainings(results):
        row = rows.setdefault(cell["backend"], {"backend": cell["backend"]})
        row[f"images per second, {cell['precision']}"] = cell[_SPEED]
        row[f"step / SGD's step, {cell['precision']}"] = cell[_RELATIVE]
    return frames.markdown([*rows.values()], texts=1)


def _trainings(results: Sequence[dict]) -> list[dict[str, str]]:
    cells = []
    for part in _parts(results):
        if part["part"] in _ROWS or part["results"] is None:
            continue
        trained = part["results"]
        ratio = tables.ratio(trained["rounds_us"]["lars"], trained["rounds_us"]["sgd"])
        cells.append(
            {
                "backend": part["backend"],
                "precision": trained["settings"]["precision"],
                "SGD, images per second": f"{tables.images_per_second(trained, 'sgd'):,.0f}",
                _SPEED: f"{tables.images_per_second(trained, 'lars'):,.0f}",
                _RELATIVE: f"{ratio:.3f}",
            }
        )
    return cells


def _parts(results: Sequence[dict]) -> list[dict]:
    found = [part for each in results for part in each["parts"]]
    return [*{(part["part"], part["backend"]): part for part in found}.values()]


def _row(what: str, measured: str, goal: str = "", is_met: bool | None = None) -> dict[str, str]:
    met = {None: "", True: "yes", False: "no"}[is_met]
    return {"what": what, "measured": measured, "goal": goal, "met": met}


def _relative(what: str, ratio: float, to: str) -> Iterator[dict[str, str]]:
    """A ratio with its goal, if it was measured."""
    if not pd.isna(ratio):
        yield _row(what, f"{ratio:.3f}", f"at most {GOALS[to]:g}", ratio <= GOALS[to])


def _options(results: dict) -> Iterator[dict[str, str]]:
    outcomes = results["outcomes"]
    wrong = {name: outcome for name, outcome in outcomes.items() if outcome != "right"}
    count = f"{len(outcomes) - len(wrong)} of {len(outcomes)}"
    yield _row("options that match float64", count, "all", not wrong)
    for name, outcome in wrong.items():
        yield _row(name, outcome, "right", False)


def _large(results: dict) -> Iterator[dict[str, str]]:
    for key, checked in results["large"].items():
        name = key.partition("/")[2]
        what = f"error of a step, 100,000,000 elements: {name}"
        measured = checked.get("failed") or f"{checked['error']:.1e}"
        goal = (f"at most {TOLERANCE:g}", checked.get("right", False)) if name == _OURS else ()
        yield _row(what, measured, *goal)


def _updates(results: dict) -> Iterator[dict[str, str]]:
    for model in results["contenders"]:
        name, found = model["model"], tables.times(model).set_index("contender")
        speeds = [each["framework_add"] for each in model["memory_speed"].values()]
        for speed in speeds:
            yield _row(f"{name}: GB/s of a copy, read and written", f"{speed:,.0f}")
        for contender, row in found.iterrows():
            measured = row["status"]
            if measured == "measured":
                measured = f"{row['median_ms']:.3f} ms"
                if not pd.isna(row["launches"]) and row["launches"]:
                    measured += f" in {counted(int(row['launches']), 'cluster')}"
            yield _row(f"{name}: {contender}", measured)
        found = found[found["status"] == "measured"]
        if _OURS in found.index:
            yield from _comparisons(name, found, speeds[-1])


def _comparisons(model: str, found: pd.DataFrame, speed: float) -> Iterator[dict[str, str]]:
    """The update of this package relative to others, and to a copy at the speed in GB/s."""
    ours = found.loc[_OURS]
    floors = speed / ours["gigabytes_per_second"]
    if model == _LARGE_VARIABLES:
        yield from _relative(f"{model}: relative to copying its bytes", floors, "the floor")
    else:
        yield _row(f"{model}: relative to copying its bytes", f"{floors:.3f}")
        relative = f"{model}: relative to {ours['compared_to']}"
        yield from _relative(relative, ours["ratio"], "Keras SGD")
    for other, row in found[found["is_other_lars"]].iterrows():
        ratio = tables.ratio(ours["rounds_us"], row["rounds_us"])
        yield from _relative(f"{model}: relative to {other}", ratio, "another LARS")


def _training(results: dict) -> Iterator[dict[str, str]]:
    settings, rounds_us = results["settings"], results["rounds_us"]
    what = f"{settings['model']}, {settings['precision']}"
    for name in rounds_us:
        images = tables.images_per_second(results, name)
        yield _row(f"{what}, {name}: images per second", f"{images:,.0f}")
    ratio = tables.ratio(rounds_us["lars"], rounds_us["sgd"])
    yield from _relative(f"{what}: a step relative to SGD's", ratio, "a step with SGD")


def _memory(results: dict) -> Iterator[dict[str, str]]:
    for row in results["memory"]:
        measured = row["status"]
        if measured == "measured":
            held, state = row["high_water_bytes"], row["state_bytes"]
            measured = f"{held / 1e6:,.0f} MB for {state / 1e6:,.0f} MB of state"
        yield _row(f"memory of a step: {row['contender']}", measured)


# By part. The others are trainings, in a precision each.
_ROWS = {"options": _options, "large": _large, "update": _updates, "memory": _memory}
