"""The command line of a measurement: it is saved as JSON, and can be shown again."""

import dataclasses
import importlib.util
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from absl import flags

from benchmarks import files
from benchmarks.command_line import UsageError, read_json, results_of, run


def setting(
    help: str,
    default: Any,
    *,
    choices: Sequence[str] = (),
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    """A field of settings, of which there is a flag by the same name."""
    limits = {"lower_bound": minimum, "upper_bound": maximum}
    metadata = {"help": help, "choices": choices, "limits": limits}
    return dataclasses.field(default=default, metadata=metadata)


def _define_flag(field: dataclasses.Field) -> None:
    name, metadata = field.name, field.metadata
    default: Any = field.default
    if metadata["choices"]:
        flags.DEFINE_enum(name, default, metadata["choices"], metadata["help"])
    elif isinstance(default, tuple):
        flags.DEFINE_list(name, list(default), metadata["help"])
    elif isinstance(default, bool):
        flags.DEFINE_boolean(name, default, metadata["help"])
    elif isinstance(default, (int, float)):
        define: Any = flags.DEFINE_integer if isinstance(default, int) else flags.DEFINE_float
        define(name, default, metadata["help"], **metadata["limits"])
    else:
        flags.DEFINE_string(name, default, metadata["help"])


def main(
    settings: type,
    measure: Callable[[Any], Iterable[dict]],
    tables: Callable[[dict], str],
    draw: Callable[[dict, pathlib.Path], None] | None = None,
) -> None:
    """Measures, or shows.

    Args:
        settings: A dataclass of fields that are made by `setting`.
        measure: Yields the results, each time with more in them, and each time they are saved.
            Imports its frameworks itself, so that `--show` does without.
        tables: Formats results.
        draw: Writes a plot of results.
    """
    fields = dataclasses.fields(settings)
    for field in fields:
        _define_flag(field)
    flags.DEFINE_string("output", None, "File for the results, as JSON.")
    flags.DEFINE_string("show", None, "File of results to show, in place of measuring.")
    if draw:
        flags.DEFINE_string("plot", None, "File for the plot, as PNG.")

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
            found = measure(
                settings(**{field.name: flags.FLAGS[field.name].value for field in fields})
            )
        for results in found:
            if flags.FLAGS.output:
                files.write_json(flags.FLAGS.output, results)
        print(tables(results))
        if draw and plot:
            with results_of(flags.FLAGS.show, "--show"):
                draw(results, pathlib.Path(plot))

    run(work)
