"""Gathers run folders into one result file, and prints its table.

python -m benchmarks.collect --output=benchmarks/results/NAME.json RUN_FOLDER ...
python -m benchmarks.collect benchmarks/results/NAME.json
"""

import pathlib

import pandas as pd
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
    found = pd.DataFrame([{**run["result"], **run["recipe"]} for run in runs])
    accuracies = ["validation_accuracy_at_half_time", "validation_accuracy"]
    percent = (100 * found[accuracies].astype(float)).map("{:.1f}".format, na_action="ignore")
    cells = {
        "optimizer": found["optimizer"],
        "batch": found["global_batch_size"].map("{:g}".format),
        "learning rate": found["learning_rate"].map("{:g}".format),
        "epochs": found["epochs"].map("{:g}".format),
        "seed": found["seed"].map("{:g}".format),
        "halfway": percent["validation_accuracy_at_half_time"],
        "end": percent["validation_accuracy"].mask(found["diverged"], "diverged"),
        "seconds": found["seconds"].map("{:.0f}".format),
    }
    return frames.markdown(pd.DataFrame(cells))


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
