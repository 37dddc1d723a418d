"""Gathers run folders into one result file, and prints its table.

python -m benchmarks.collect --output=benchmarks/results/NAME.json RUN_FOLDER ...
python -m benchmarks.collect benchmarks/results/NAME.json
"""

import pathlib

from absl import flags

from benchmarks import command_line, files, frames
from benchmarks.command_line import UsageError, read_json, results_of


def collect(folders: list[pathlib.Path]) -> list[dict]:
    """The `config.json` of each run, with its `result.json` as `result`."""
    return [
        {
            **read_json(folder / "config.json", str(folder)),
            "result": read_json(folder / "result.json", str(folder)),
        }
        for folder in folders
    ]


def table(runs: list[dict]) -> str:
    """A Markdown table with one row per run."""
    lines = []
    for run in runs:
        recipe, result = run["recipe"], run["result"]
        half, end = (
            "" if result[name] is None else f"{100 * result[name]:.1f}"
            for name in ("validation_accuracy_at_half_time", "validation_accuracy")
        )
        lines.append(
            {
                "optimizer": recipe["optimizer"],
                "batch": f"{recipe['global_batch_size']:g}",
                "learning rate": f"{recipe['learning_rate']:g}",
                "epochs": f"{recipe['epochs']:g}",
                "seed": f"{recipe['seed']:g}",
                "halfway": half,
                "end": "diverged" if result["diverged"] else end,
                "seconds": f"{result['seconds']:.0f}",
            }
        )
    return frames.markdown(lines)


def main(argv: list[str]) -> None:
    paths = [pathlib.Path(argument) for argument in argv[1:]]
    if not paths:
        raise UsageError("the arguments must be run folders or result files. Received: none")
    with results_of(", ".join(map(str, paths)), "each argument"):
        if flags.FLAGS.output:
            runs = collect(paths)
        else:
            runs = [run for path in paths for run in read_json(path, "each argument")]
        if not runs:
            raise ValueError("no runs")
        text = table(runs)
    if flags.FLAGS.output:
        files.write_json(flags.FLAGS.output, runs)
    print(text)


if __name__ == "__main__":
    flags.DEFINE_string("output", None, "File to write the results of the run folders to.")
    command_line.run(main, arguments="any")
