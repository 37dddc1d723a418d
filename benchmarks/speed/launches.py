"""Counts the kernels of an update on an H100: `python -m benchmarks.speed.launches --compiler=DIR`.

It needs no GPU: XLA compiles the update for one, and the compiled program is analysed. It covers
LARS with each option, optax's LARS and Keras's SGD. The time of an update depends on the number of
kernels if variables are small, and on the bytes moved if they are large.

`--show=FILE` prints the table of a result file.
"""

import dataclasses
import importlib.metadata
import importlib.util
import re
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from benchmarks import environment, frames
from benchmarks.command_line import UsageError
from benchmarks.settings import FlagSettings, setting
from benchmarks.speed import command, h100, variables

MODELS = ("resnet50", "alexnet", "small_variables")
_STEPS = {"update": "", "micro-batch": ", each but the last", "last micro-batch": ", the last"}


@dataclasses.dataclass(frozen=True)
class Settings(FlagSettings):
    """What to compile; the fields are flags."""

    compiler: str = setting(
        "Folder of the compiler. If it is missing, pip installs it there (573 MB).", ""
    )
    models: Sequence[str] = setting("Models to update.", MODELS, choices=MODELS)
    updates: str = setting("Regular expression for the names of updates to compile.", "")


class Row(NamedTuple):
    """An update to compile: a function of `contenders.on_jax`, and its arguments."""

    name: str
    build: str
    arguments: dict[str, Any]
    models: Sequence[str] = ("resnet50",)


def _lars(form: str = "", **arguments: Any) -> Row:
    name = f"keras_lars, {form}" if form else "keras_lars"
    return Row(name, "keras", {"optimizer": "LARS", **arguments}, ("resnet50",) if form else MODELS)


def rows() -> list[Row]:
    import keras_lars

    excluded = {"exclude_from_layer_adaptation": keras_lars.rank_at_most(1)}
    return [
        _lars(),
        _lars("nesterov", nesterov=True),
        _lars("learning_rate_outside", momentum_form="learning_rate_outside"),
        _lars("ratio_outside", momentum_form="ratio_outside"),
        _lars("ratio_of_update", momentum_form="ratio_of_update", decay_in_norm=True),
        _lars("rank 1 not adapted", **excluded),
        _lars("trust ratios recorded", record_trust_ratios=True),
        _lars("averages", use_ema=True),
        _lars("clipvalue", clipvalue=0.5),
        _lars("clipnorm", clipnorm=0.5),
        _lars("global_clipnorm", global_clipnorm=0.5),
        _lars("4 micro-batches", gradient_accumulation_steps=4),
        Row("optax.lars", "optax", {}, MODELS),
        Row("Keras SGD", "keras", {"optimizer": "SGD"}, MODELS),
    ]


def measure(settings: Settings) -> Iterator[dict]:
    """Yields the results so far, after each update."""
    if not settings.compiler:
        raise UsageError("--compiler must be given")
    try:
        pattern = re.compile(settings.updates)
    except re.error as error:
        raise UsageError(f"--updates must be a regular expression: {error}") from error
    wheels = h100.use(settings.compiler)
    from benchmarks.speed.contenders import on_jax, on_keras

    versions = {**environment.versions(*on_jax.MODULES), **wheels}
    left_out = []
    if importlib.util.find_spec("optax"):
        versions["optax"] = importlib.metadata.version("optax")
    else:
        left_out.append("optax.lars")
    results: dict = {
        "models": list(settings.models),
        "updates": settings.updates,
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
        "versions": versions,
        "device": "NVIDIA H100, compiled for and not run on",
        "not_installed": left_out,
        "rows": [],
    }
    for model in settings.models:
        shapes = variables.model(model)
        gradients = on_keras.gradients(shapes, variables.TIMED)
        for row in rows():
            if model in row.models and row.name not in left_out and pattern.search(row.name):
                print(f"{model}: {row.name}", file=sys.stderr, flush=True)
                build = getattr(on_jax, row.build)
                update = build(shapes, gradients, variables.TIMED, **row.arguments)
                about = {"model": model, "variables": len(shapes), "update": row.name}
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
