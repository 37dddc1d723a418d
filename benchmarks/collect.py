"""Gathers run folders into one file of results, and prints them as a table.

python -m benchmarks.collect --output=benchmarks/results/NAME.json RUN_FOLDER ...
python -m benchmarks.collect benchmarks/results/NAME.json
"""

import json
import pathlib
import sys

from absl import app, flags


def collect(folders: list[pathlib.Path]) -> list[dict]:
    """What each run was, and what it reached: its `config.json` and `result.json` in one."""
    return [
        {
            **json.loads((folder / "config.json").read_text(encoding="utf-8")),
            "result": json.loads((folder / "result.json").read_text(encoding="utf-8")),
        }
        for folder in folders
    ]


def table(runs: list[dict]) -> str:
    """A Markdown table with a row for each run."""
    rows = [
        ["optimizer", "batch", "learning rate", "epochs", "seed", "half time", "end", "seconds"],
        ["---", *["---:"] * 7],
    ]
    for run in runs:
        recipe, result = run["recipe"], run["result"]
        names = ("optimizer", "global_batch_size", "learning_rate", "epochs", "seed")
        rows.append(
            [
                *(_text(recipe[name]) for name in names),
                _percent(result["validation_accuracy_at_half_time"]),
                "diverged" if result["diverged"] else _percent(result["validation_accuracy"]),
                f"{result['seconds']:.0f}",
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def main(argv: list[str]) -> None:
    paths = [pathlib.Path(argument) for argument in argv[1:]]
    try:
        if flags.FLAGS.output:
            runs = collect(paths)
            text = json.dumps(runs, indent=1) + "\n"
            pathlib.Path(flags.FLAGS.output).write_text(text, encoding="utf-8")
        else:
            runs = [run for path in paths for run in json.loads(path.read_text(encoding="utf-8"))]
    except OSError as error:
        sys.exit(f"error: {error}")
    print(table(runs))


if __name__ == "__main__":
    flags.DEFINE_string("output", None, "Where to write the results of the run folders.")
    app.run(main)
