"""`results.json` and `results.csv` of a figure: what was trained, and what it reached."""

import csv
import dataclasses
import io
import json
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from benchmarks import files, run_folder
from benchmarks.command_line import read_json
from benchmarks.figures.sweep import Run
from benchmarks.recipe import RecipeError

DIGITS = 5  # of the numbers that are kept
RECORDS = 200  # of norms and ratios that are kept, of a variable in a run
NORMS = ("weight_norm", "gradient_norm", "trust_ratio")


def gather(
    figure: str, settings: dict, planned: int, finished: Sequence[Run], layers: str = ""
) -> dict:
    """The results of the runs that are finished.

    Args:
        figure: Its name.
        settings: What was asked for.
        planned: How many points there will be.
        finished: Runs.
        layers: Regular expression, searched in names of variables; their norms are kept.

    Raises:
        RecipeError: If no variable has such a name.
    """
    environments: list[dict] = []
    points = []
    for run in finished:
        config = read_json(run.folder / "config.json", "--output_dir")
        environment = {name: config[name] for name in ("versions", "device")}
        if environment not in environments:
            environments.append(environment)
        points.append(
            {
                **{name: getattr(run.point, name) for name in ("name", "row", "source")},
                "published": run.point.published,
                "label": dict(run.point.label),
                "recipe": dataclasses.asdict(run.point.recipe),
                "environment": environments.index(environment),
                "result": run.result,
                "history": _rounded(read_json(run.folder / "history.json", "--output_dir")),
                "norms": _norms(run, layers),
            }
        )
    return {
        "figure": figure,
        "settings": settings,
        "environments": environments,
        "planned": planned,
        "points": points,
    }


def _norms(run: Run, layers: str) -> dict[str, dict[str, list]]:
    """By variable, its norms and ratio by epoch, thinned."""
    rows = run_folder.read_table(run.folder / "trust_ratios.csv")
    names = dict.fromkeys(row["variable"] for row in rows)
    chosen = [name for name in names if re.search(layers, name)]
    if names and not chosen:
        raise RecipeError(f"--layers must match one of {', '.join(names)}. Received: {layers}")
    columns = {}
    for name in chosen:
        of_variable = [row for row in rows if row["variable"] == name]
        kept = of_variable[:: -(-len(of_variable) // RECORDS)]
        columns[name] = {
            column: [_rounded(row[column]) for row in kept] for column in ("epoch", *NORMS)
        }
    return columns


def write(results: dict, rows: list[dict], folder: pathlib.Path) -> None:
    """Writes `results.json`, and rows to `results.csv`. Each file is whole at any time."""
    files.write_json(folder / "results.json", results)
    if not rows:
        return
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    files.write_text(folder / "results.csv", text.getvalue())


def read(path: pathlib.Path, figure: str) -> dict:
    """The results in a file.

    Raises:
        RecipeError: If it cannot be read, or holds those of another figure.
    """
    results = read_json(path, "--show")
    if not isinstance(results, dict) or "figure" not in results:
        raise RecipeError(f"--show must be a results.json. Received: {path}")
    found = results["figure"]
    complete = all(name in results for name in ("settings", "points", "planned"))
    if found != figure or not complete:
        raise RecipeError(f"--show must be a results.json of {figure}. Received: one of {found}")
    return results


def rows(results: dict) -> list[dict]:
    """A row for each point, for the CSV file."""
    fields = ("data", "model", "width", "image_size", "optimizer", "global_batch_size")
    fields += ("learning_rate", "epochs", "warmup_epochs", "seed")
    reached = ("validation_accuracy", "diverged", "diverged_at_update", "updates", "seconds")
    return [
        {
            "point": point["name"],
            **{name: point["recipe"][name] for name in fields},
            **{name: point["result"][name] for name in reached},
            **{name: point[name] for name in ("published", "row", "source")},
        }
        for point in results["points"]
    ]


def groups(points: list[dict]) -> list[list[dict]]:
    """The points that differ in the seed alone, together."""
    by_label: dict[str, list[dict]] = {}
    for point in points:
        by_label.setdefault(json.dumps(point["label"]), []).append(point)
    return list(by_label.values())


def accuracies(points: list[dict]) -> list[float]:
    """In percent, of the points that did not diverge."""
    return [100 * p["result"]["validation_accuracy"] for p in points if not p["result"]["diverged"]]


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
