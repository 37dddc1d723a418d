"""The command line of what is measured once, kept as JSON, and shown again without measuring."""

import dataclasses
from collections.abc import Callable
from typing import Any

from absl import app, flags

from benchmarks import files
from benchmarks.command_line import fail, parse, read_json, results_of


def main(settings: type, measure: Callable[[Any], dict], table: Callable[[dict], str]) -> None:
    """Measures, or shows.

    Args:
        settings: A dataclass, of whose fields there are flags by the same names.
        measure: Makes results from settings. Imports its frameworks itself, so that `--show` does
            without.
        table: Results in words.
    """
    flags.DEFINE_string("output", None, "File for the results, as JSON.")
    flags.DEFINE_string("show", None, "File of results to print, in place of measuring.")

    def run(argv: list[str]) -> None:
        del argv
        try:
            if flags.FLAGS.show:
                results = read_json(flags.FLAGS.show, "--show")
                with results_of(flags.FLAGS.show, "--show"):
                    table(results)
            else:
                names = [field.name for field in dataclasses.fields(settings)]
                results = measure(settings(**{name: flags.FLAGS[name].value for name in names}))
            if flags.FLAGS.output:
                files.write_json(flags.FLAGS.output, results)
            print(table(results))
        except (OSError, ValueError) as error:
            fail(error)

    app.run(run, flags_parser=parse)
