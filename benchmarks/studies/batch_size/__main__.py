"""Accuracy by batch size, at a fixed number of epochs, with equal tuning for every optimizer.

python -m benchmarks.studies.batch_size [--form=quick|small|rates|resnet50]

prints how long it will take, and trains what is not done yet: it may be stopped at any time and
started again, and also goes on from the file of results that `--output` names. `--show=FILE` prints
the tables of such a file, and draws them with `--plot` and `--plot_rates`; with `--again=NAME` it
trains one of its points again, as plain-lars-2048-seed1.
"""

import json
import os
import pathlib
import sys
from contextlib import nullcontext

from absl import app, flags

from benchmarks.command_line import UsageError, fail, parse, read_json, results_of
from benchmarks.files import write_text
from benchmarks.studies.batch_size import pool, results, tables, training
from benchmarks.studies.batch_size.forms import FORMS
from benchmarks.studies.batch_size.runs import Study
from benchmarks.words import duration


def define_flags() -> None:
    flags.DEFINE_enum("form", "small", list(FORMS), "How large the study is.")
    flags.DEFINE_string("output_dir", None, "Folder; by default runs/batch_size_FORM.")
    flags.DEFINE_string("data_dir", None, "Where Fashion-MNIST is.")
    flags.DEFINE_integer("processes", os.cpu_count(), "Trainings at once, one on a GPU.", 1)
    flags.DEFINE_float("minutes", float("inf"), "Begin nothing more after so many.", 0.0)
    flags.DEFINE_string("output", None, "File for the results so far, as JSON.")
    flags.DEFINE_string("plot", None, "File for the picture by batch size, as PNG.")
    flags.DEFINE_string("plot_rates", None, "File for the picture by learning rate, as PNG.")
    flags.DEFINE_string("show", None, "File of results to show, in place of training.")
    flags.DEFINE_string("again", None, "Training in the file of --show to repeat.")


def run() -> dict:
    asked = flags.FLAGS
    folder = pathlib.Path(asked.output_dir or f"runs/batch_size_{asked.form}")
    form, before = FORMS[asked.form], None
    if asked.output and pathlib.Path(asked.output).exists():
        found = read_json(asked.output, "--output")
        with results_of(asked.output, "--output"):
            before = results.of_earlier_sitting(found, asked.form, form)
    study = Study(form, folder, before)
    waiting = study.waiting()
    if waiting:
        print(f"{len(waiting)} trainings of {study.form.epochs} epochs, ", end="", flush=True)
        seconds = pool.budget(study, asked.processes, asked.data_dir)
        print(f"about {duration(seconds)} with {asked.processes} at once", flush=True)
        pool.run(study, asked.processes, asked.data_dir, asked.minutes)
    return results.gather(asked.form, study)


def again(found: dict, name: str) -> str:
    """A training once more, beside what it reached before."""
    with results_of(flags.FLAGS.show, "--show"):
        asked, before = results.training_of(found, name)
    print(asked, flush=True)
    if flags.FLAGS.processes > 1:
        training.use_one_core()  # as it was
    now = training.train(asked, flags.FLAGS.data_dir)
    lines = [f"{'':17} {'recorded':>8} {'now':>8}"]
    for key in ("test_accuracy", "test_loss", "measured_accuracy", "measured_loss"):
        cells = ["-" if row[key] is None else f"{row[key]:.4f}" for row in (before, now)]
        lines.append(f"{key:17} {cells[0]:>8} {cells[1]:>8}")
    return "\n".join(lines)


def draw(found: dict) -> None:
    asked = flags.FLAGS
    if asked.plot or asked.plot_rates:
        from benchmarks.studies.batch_size import drawing

        for path, picture in ((asked.plot, drawing.draw), (asked.plot_rates, drawing.draw_rates)):
            if path:
                picture(found, pathlib.Path(path))


def main(argv: list[str]) -> None:
    del argv
    try:
        if flags.FLAGS.again and not flags.FLAGS.show:
            raise UsageError("--again needs --show with a file of results. Received: no --show")
        if flags.FLAGS.show:
            found = read_json(flags.FLAGS.show, "--show")
        else:
            found = run()
        wrapped = results_of(flags.FLAGS.show, "--show") if flags.FLAGS.show else nullcontext()
        with wrapped:
            report = "" if flags.FLAGS.again else tables.report(found)
            if flags.FLAGS.output:
                rows = ",\n".join(json.dumps(row) for row in found["rows"])
                head = json.dumps({**found, "rows": []}, indent=1).removesuffix("[]\n}")
                write_text(flags.FLAGS.output, f"{head}[\n{rows}\n]\n}}\n")
            draw(found)
        if flags.FLAGS.again:
            report = again(found, flags.FLAGS.again)
        print(report)
    except (OSError, ValueError) as error:
        fail(error)
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on")


if __name__ == "__main__":
    define_flags()
    app.run(main, flags_parser=parse)
