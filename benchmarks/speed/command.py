"""The command line of what is measured, kept as JSON, and shown again without measuring."""

import dataclasses
import importlib.util
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

from absl import app, flags

from benchmarks import files
from benchmarks.command_line import UsageError, fail, parse, read_json, results_of


def main(
    settings: type,
    measure: Callable[[Any], Iterable[dict]],
    tables: Callable[[dict], str],
    draw: Callable[[dict, pathlib.Path], None] | None = None,
) -> None:
    """Measures, or shows.

    Args:
        settings: A dataclass, of whose fields there are flags by the same names.
        measure: Makes results from settings, again and again with more in them, and each time they
            are saved. Imports its frameworks itself, so that `--show` does without.
        tables: Results in words.
        draw: Writes a plot of results.
    """
    flags.DEFINE_string("output", None, "File for the results, as JSON.")
    flags.DEFINE_string("show", None, "File of results to show, in place of measuring.")
    if draw:
        flags.DEFINE_string("plot", None, "File for the plot, as PNG.")

    def read(path: str) -> Iterable[dict]:
        results = read_json(path, "--show")
        with results_of(path, "--show"):
            tables(results)
        return [results]

    def run(argv: list[str]) -> None:
        del argv
        plot = flags.FLAGS.plot if draw else None
        try:
            if plot and importlib.util.find_spec("matplotlib") is None:
                raise UsageError("--plot needs matplotlib, which is not installed")
            if flags.FLAGS.show:
                found = read(flags.FLAGS.show)
            else:
                names = [field.name for field in dataclasses.fields(settings)]
                found = measure(settings(**{name: flags.FLAGS[name].value for name in names}))
            for results in found:
                if flags.FLAGS.output:
                    files.write_json(flags.FLAGS.output, results)
            print(tables(results))
            if draw and plot:
                with results_of(flags.FLAGS.show, "--show"):
                    draw(results, pathlib.Path(plot))
        except (OSError, ValueError) as error:
            fail(error)

    app.run(run, flags_parser=parse)
