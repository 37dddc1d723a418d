"""The results as Markdown tables, in columns that also line up on a screen."""

from typing import Any

from benchmarks.environment import in_words
from benchmarks.speed.summary import summarize
from benchmarks.words import counted


def report(results: dict) -> str:
    """All tables of a file of results, each under a line that says what it is."""
    parts = [_head(results)]
    for model in results["contenders"]:
        parts.append(f"{_title(model)}\n\n{_times(model)}")
    for study, unit in (("elements", "elements"), ("variables", "variables")):
        if models := results["sizes"].get(study):
            parts.append(f"Milliseconds by {unit}\n\n{_grid(models, unit, 'median_ms')}")
    if models := results["sizes"].get("variables"):
        grid = _grid(models, "variables", "first_call_seconds")
        parts.append(f"Seconds of the first call by variables\n\n{grid}")
    for model in results["replicas"]:
        parts.append(f"Replicas: {_title(model)}\n\n{_times(model)}")
    if results["memory"]:
        parts.append(f"Memory of one step: {_memory_title(results)}\n\n{_memory(results)}")
    return "\n\n".join(parts)


def brief(model: dict) -> str:
    """LARS as it comes, the other LARS, and SGD: who takes how long, and no more."""
    rows = [
        (row["summary"]["median_ms"], row["contender"], row["framework"])
        for row in summarize(model)["results"]
        if row["summary"] and (row["contender"] in _BRIEF or _is_rival(row))
    ]
    rows = [[name, backend, _number(milliseconds)] for milliseconds, name, backend in sorted(rows)]
    return _table(["update", "backend", "ms"], rows)


_BRIEF = ("keras_lars", "Keras SGD, XLA", "Keras SGD, jit", "Keras SGD", "torch SGD, fused")


def _is_rival(row: dict) -> bool:
    return row["role"] == "lars" and not row["ours"]


def _head(results: dict) -> str:
    lines = [f"{results['date']}  {results['command']}"]
    for framework, worker in results["workers"].items():
        lines.append(f"{framework}: {in_words(worker['versions'], worker['device'])}")
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
    header = ["contender", "backend", "median ms", "quartiles ms", "min ms", "GB/s"]
    header += ["ratio", "to fastest LARS", "first call s", "ratio of it"]
    rows, notes = [], []
    for row in summarize(model)["results"]:
        names = [row["contender"], row["framework"]]
        if (summary := row["summary"]) is None:
            notes.append(f"{row['contender']} ({row['framework']}): {row['status']}")
            continue
        quartiles = (summary["lower_quartile_ms"], summary["upper_quartile_ms"])
        cells = [
            _number(summary["median_ms"]),
            " to ".join(map(_number, quartiles)),
            _number(summary["min_ms"]),
            *map(
                _number,
                (
                    summary["gigabytes_per_second"],
                    summary["ratio"],
                    summary["ratio_to_fastest_lars"],
                    row["first_call_seconds"],
                    summary["first_call_ratio"],
                ),
            ),
        ]
        rows.append((summary["median_ms"], [*names, *cells]))
    rows = [cells for _, cells in sorted(rows, key=lambda row: row[0])]
    baselines = sorted({row["compared_to"] for row in model["results"]} - {""})
    notes.append(f"ratio: median of the ratios in a round to {'; '.join(baselines)}")
    notes = "\n".join(notes)
    return f"{_table(header, rows)}\n\n{notes}"


def _grid(models: list[dict], unit: str, quantity: str) -> str:
    """A row for each contender, a column for each size."""
    header = ["contender", "backend", *(f"{model[_SIZE[unit]]:,}" for model in models)]
    rows: dict[tuple, list[str]] = {}
    for model in models:
        for row in summarize(model)["results"]:
            cells = rows.setdefault((row["contender"], row["framework"]), [])
            values = {**(row["summary"] or {}), "first_call_seconds": row["first_call_seconds"]}
            cells.append(_number(values.get(quantity)) or row["status"])
    return _table(header, [[*names, *cells] for names, cells in rows.items()])


_SIZE = {"elements": "parameters", "variables": "variables"}


def _memory_title(results: dict) -> str:
    return "weights, gradients and slots against the most that is held, without what was before"


def _memory(results: dict) -> str:
    header = [
        "contender",
        "backend",
        "state MB",
        "held between steps MB",
        "held at most MB",
        "ratio",
    ]
    names = ("state_bytes", "settled_bytes", "high_water_bytes")
    return _table(
        header,
        [
            [
                row["contender"],
                row["framework"],
                *(
                    [f"{row[name] / 1e6:,.0f}" for name in names]
                    + [f"{row['high_water_to_state']:.3f}"]
                    if row["status"] == "measured"
                    else [row["status"], "", "", ""]
                ),
            ]
            for row in results["memory"]
        ],
    )


def _number(value: float | None) -> str:
    """Three digits, or two of a small number."""
    if value is None:
        return ""
    if value < 0.01:
        return f"{value:.2g}"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _table(header: list[str], rows: list[list[Any]]) -> str:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: list[str]) -> str:
        names = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2])]
        numbers = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:])]
        return f"| {' | '.join([*names, *numbers])} |"

    rule = ["-" * width for width in widths[:2]] + ["-" * (w - 1) + ":" for w in widths[2:]]
    return "\n".join([line(header), line(rule), *map(line, rows)])
