"""Accuracy by batch size, at a fixed number of epochs, with equal tuning for every optimizer.

python -m benchmarks.studies.batch_size [--form=quick|small|resnet50]

prints how long it will take, and trains what is not done yet: it may be stopped at any time and
started again, and also goes on from the file of results that `--output` names. `--show=FILE` prints
the tables of such a file, and draws them with `--plot`.
"""

import json
import os
import pathlib
import sys

from absl import app, flags

from benchmarks.command_line import parse
from benchmarks.durations import in_words
from benchmarks.recipe import RecipeError
from benchmarks.studies.batch_size import pool, results, tables
from benchmarks.studies.batch_size.forms import FORMS
from benchmarks.studies.batch_size.runs import Study


def define_flags() -> None:
    flags.DEFINE_enum("form", "small", list(FORMS), "How large the study is.")
    flags.DEFINE_string("output_dir", None, "Folder; by default runs/batch_size_FORM.")
    flags.DEFINE_string("data_dir", None, "Where Fashion-MNIST is.")
    flags.DEFINE_integer("processes", os.cpu_count(), "Trainings at once, one on a GPU.", 1)
    flags.DEFINE_float("minutes", float("inf"), "Begin nothing more after so many.", 0.0)
    flags.DEFINE_string("output", None, "File for the results so far, as JSON.")
    flags.DEFINE_string("plot", None, "File for the picture, as PNG.")
    flags.DEFINE_string("show", None, "File of results to show, in place of training.")


def run() -> dict:
    asked = flags.FLAGS
    folder = pathlib.Path(asked.output_dir or f"runs/batch_size_{asked.form}")
    form, before = FORMS[asked.form], None
    if asked.output and pathlib.Path(asked.output).exists():
        found = json.loads(pathlib.Path(asked.output).read_text(encoding="utf-8"))
        before = results.of_earlier_sitting(found, asked.form, form)
    study = Study(form, folder, before)
    waiting = study.waiting()
    if waiting:
        print(f"{len(waiting)} trainings of {study.form.epochs} epochs, ", end="", flush=True)
        seconds = pool.budget(study, asked.processes, asked.data_dir)
        print(f"about {in_words(seconds)} with {asked.processes} at once", flush=True)
        pool.run(study, asked.processes, asked.data_dir, asked.minutes)
    return results.gather(asked.form, study)


def main(argv: list[str]) -> None:
    del argv
    try:
        if flags.FLAGS.show:
            found = json.loads(pathlib.Path(flags.FLAGS.show).read_text(encoding="utf-8"))
        else:
            found = run()
        if flags.FLAGS.output:
            rows = ",\n".join(json.dumps(row) for row in found["rows"])
            head = json.dumps({**found, "rows": []}, indent=1).removesuffix("[]\n}")
            text = f"{head}[\n{rows}\n]\n}}\n"
            pathlib.Path(flags.FLAGS.output).write_text(text, encoding="utf-8")
        if flags.FLAGS.plot:
            from benchmarks.studies.batch_size import drawing

            drawing.draw(found, pathlib.Path(flags.FLAGS.plot))
        print(tables.report(found))
    except (OSError, ValueError, RecipeError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on")


if __name__ == "__main__":
    define_flags()
    app.run(main, flags_parser=parse)
