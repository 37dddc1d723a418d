"""The command line of a measurement, whose results are saved as JSON and can be shown again."""

import importlib.util
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

from absl import flags

from benchmarks import files
from benchmarks.command_line import (
    UsageError,
    define_flags_of,
    given,
    read_json,
    results_of,
    run,
)
from benchmarks.settings import FlagSettings


def main(
    settings: type[FlagSettings],
    measure: Callable[[Any], Iterable[dict]],
    tables: Callable[[dict], str],
    draw: Callable[[dict, pathlib.Path], None] | None = None,
    output: str | None = None,
) -> None:
    """Runs the command: measures, or shows saved results.

    Args:
        settings: The class of the settings, whose fields become flags.
        measure: Yields the results so far, which are saved each time. It imports frameworks itself,
            so that `--show` needs none.
        tables: Formats results.
        draw: Writes a plot of results.
        output: Default of `--output`; by default results are not saved.
    """
    define_flags_of(settings, with_defaults=True)
    flags.DEFINE_string("output", None, "JSON file for the results.")
    flags.DEFINE_string("show", None, "Result file to show instead of measuring.")
    if draw:
        flags.DEFINE_string("plot", None, "PNG file for the plot.")

    def read(path: str) -> Iterable[dict]:
        results = read_json(path, "--show")
        with results_of(path, "--show"):
            tables(results)
        return [results]

    def work(argv: list[str]) -> None:
        del argv
        plot = flags.FLAGS.plot if draw else None
        if plot and importlib.util.find_spec("matplotlib") is None:
            raise UsageError("--plot needs matplotlib, which is not installed")
        if flags.FLAGS.show:
            found = read(flags.FLAGS.show)
        else:
            found = measure(settings(**given(settings)))
        written = flags.FLAGS.output or (None if flags.FLAGS.show else output)
        for results in found:
            if written:
                files.write_json(written, results)
        print(tables(results))
        if draw and plot:
            with results_of(flags.FLAGS.show, "--show"):
                draw(results, pathlib.Path(plot))

    run(work)
