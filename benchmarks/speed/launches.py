"""Counts the kernels of an update on an H100: `python -m benchmarks.speed.launches --compiler=DIR`.

It needs no GPU: XLA compiles the update for one, and the compiled program is analyzed. It covers
LARS with each option, optax's LARS and Keras's SGD. The time of an update depends on the number of
kernels if variables are small, and on the bytes moved if they are large.

`--show=FILE` prints the table of a result file.
"""

import dataclasses
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks import environment, files, frames
from benchmarks.command_line import UsageError
from benchmarks.settings import FlagSettings, setting
from benchmarks.speed import command, h100, variables
from benchmarks.speed.contenders import arguments_of, installed

MODELS = ("resnet50", "alexnet", "small_variables")
_UPDATES = pathlib.Path(__file__).with_name("launches.csv")
_STEPS = {"update": "", "micro-batch": ", each but the last", "last micro-batch": ", the last"}


@dataclasses.dataclass(frozen=True)
class Settings(FlagSettings):
    """What to compile; the fields are flags."""

    compiler: str = setting(
        "Folder of the compiler. If it is missing, pip installs it there (573 MB).", ""
    )
    models: Sequence[str] = setting("Models to update.", MODELS, choices=MODELS)
    updates: str = setting("Regular expression for the names of updates to compile.", "")


def measure(settings: Settings) -> Iterator[dict]:
    """Yields the results so far, after each update."""
    if not settings.compiler:
        raise UsageError("--compiler must be given")
    pattern = command.pattern_of("--updates", settings.updates)
    wheels = h100.use(settings.compiler)
    from benchmarks.speed.contenders import on_jax, on_keras

    optax, left_out = (["optax"], []) if installed("optax") else ([], ["optax.lars"])
    versions = environment.versions(*on_jax.MODULES, distributions=optax)
    results: dict = {
        "models": list(settings.models),
        "updates": settings.updates,
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
        "versions": {**versions, **wheels},
        "device": "NVIDIA H100, compiled for and not run on",
        "not_installed": left_out,
        "rows": [],
    }
    for model in settings.models:
        shapes = variables.model(model)
        of_model = on_keras.model(shapes, variables.TIMED)
        for line in files.csv_lines(_UPDATES):
            name = line["update"]
            if name in left_out or not pattern.search(name):
                continue
            if model == "resnet50" or "all_models" in line:
                command.say(f"{model}: {name}")
                arguments = arguments_of(line.get("arguments", ""))
                update = getattr(on_jax, line["build"])(of_model, **arguments)
                about = {"model": model, "variables": len(shapes), "update": name}
                for found in _facts(update, variables.parameters(shapes)):
                    results["rows"].append({**about, **found})
                yield results


def _facts(update: Any, parameters: int) -> Iterator[dict]:
    """The counts of an update, or of a micro-batch and the last one if it accumulates several."""
    compiled = h100.compiled(update.function, update.arguments)
    text = compiled.as_text()
    ways = h100.paths(h100.program(text))
    steps = ["update"] if len(ways) == 1 else ["micro-batch", "last micro-batch"]
    for way, step in zip(ways, steps):
        yield {
            "step": step,
            "kernels": way["kernels"],
            "bytes_per_parameter": way["bytes"] / parameters,
            "copies": way["copies"],
            "float64": text.count("f64["),
            "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
        }


def table(results: dict) -> str:
    """A Markdown table of the counts."""
    cells = [
        {
            "update": f"{row['update']}{_STEPS[row['step']]}",
            "variables": f"{row['model']}, {row['variables']:,}",
            "kernels": f"{row['kernels']:,}",
            "bytes per parameter": f"{row['bytes_per_parameter']:.1f}",
            "copies": f"{row['copies']:,}",
            "float64": f"{row['float64']:,}",
            "temporary MB": f"{row['temporary_bytes'] / 1e6:.1f}",
        }
        for row in results["rows"]
    ]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    notes = [f"{name}: not installed" for name in results["not_installed"]]
    about = [f"{results['date']}, {results['device']}; {versions}", *notes]
    return "\n".join([*about, "", frames.markdown(cells, texts=2)])


if __name__ == "__main__":
    command.main(Settings, measure, table)
