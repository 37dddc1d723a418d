"""The command line of a measurement, whose results are saved as JSON and can be shown again."""

import importlib.util
import pathlib
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from absl import flags

from benchmarks import files
from benchmarks.command_line import UsageError, define_flags_of, given, read_json, results_of, run
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

    def work(argv: list[str]) -> None:
        del argv
        plot, shown, written = draw and flags.FLAGS.plot, flags.FLAGS.show, flags.FLAGS.output
        if plot and importlib.util.find_spec("matplotlib") is None:
            raise UsageError("--plot needs matplotlib, which is not installed")

        def show(results: dict) -> None:
            print(tables(results))
            if draw and plot:
                draw(results, pathlib.Path(plot))

        if shown:
            results = read_json(shown, "--show")
            with results_of(shown, "--show"):
                show(results)
            if written:
                files.write_json(written, results)
        else:
            for results in measure(settings(**given(settings))):
                if path := written or output:
                    files.write_json(path, results)
            show(results)

    run(work)


def say(line: str) -> None:
    """Reports progress."""
    print(line, file=sys.stderr, flush=True)


def about(name: str) -> dict[str, str]:
    """What the results of a measurement begin with."""
    command = f"python -m benchmarks.speed.{name} {shlex.join(sys.argv[1:])}".strip()
    return {"command": command, "date": time.strftime("%Y-%m-%d %H:%M:%S")}


def pattern_of(flag: str, text: str) -> re.Pattern:
    """Compiles the regular expression of a flag.

    Raises:
        UsageError: If it is none.
    """
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"{flag} must be a regular expression: {error}") from error
