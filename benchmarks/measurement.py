"""The command line of what is measured once, kept as JSON, and shown again without measuring."""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags

from benchmarks.command_line import parse


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
                results = json.loads(pathlib.Path(flags.FLAGS.show).read_text(encoding="utf-8"))
            else:
                names = [field.name for field in dataclasses.fields(settings)]
                results = measure(settings(**{name: flags.FLAGS[name].value for name in names}))
            if flags.FLAGS.output:
                text = json.dumps(results, indent=1) + "\n"
                pathlib.Path(flags.FLAGS.output).write_text(text, encoding="utf-8")
            print(table(results))
        except (OSError, ValueError) as error:
            sys.exit(f"error: {error}")

    app.run(run, flags_parser=parse)
