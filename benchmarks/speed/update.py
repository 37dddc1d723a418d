"""Times one update in isolation: `python -m benchmarks.speed.update --output=FILE --plot=FILE`.

LARS of this package beside SGD and Lamb of Keras, TensorFlow's own momentum kernel, and the LARS of
optax, timm, pytorch_optimizer and open_lars where these are installed, on every backend that is
installed. Each framework has a process of its own; in each round each contender takes one step,
alone on the machine. What computes something wrong is told and not timed.

`--show=FILE` prints the tables of a file of results; with `--plot` it draws them as well.
"""

import json
import pathlib
import re
import shlex
import sys
import time

from absl import app, flags

from benchmarks import files
from benchmarks.command_line import UsageError, fail, parse, read_json, results_of
from benchmarks.speed import estimate, summary, tables
from benchmarks.speed import plots as plot
from benchmarks.speed import rounds as study
from benchmarks.speed import variables as sizes
from benchmarks.speed.contenders import BACKENDS, CONTENDERS, FRAMEWORKS, REPLICAS, installed
from benchmarks.speed.workers import Processes
from benchmarks.words import counted

STUDIES = ("contenders", "sizes", "replicas", "memory")
_REPLICATED_MODEL = "resnet50"
_MEGABYTE = 10**6


def define_flags() -> None:
    flags.DEFINE_list("models", list(sizes.MODELS), "Models of the study of contenders.")
    flags.DEFINE_list("backends", None, "Of tensorflow, jax, torch. Default: what is installed.")
    flags.DEFINE_list("studies", list(STUDIES), "What to measure.")
    flags.DEFINE_string("contenders", "", "Regular expression, searched in `backend/name`.")
    flags.DEFINE_integer("rounds", 30, "Timed steps of each contender.", 1)
    flags.DEFINE_integer("warmup", 3, "Steps after the first call that are not timed.", 1)
    flags.DEFINE_float(
        "memory", 16, "GB of weights and slots; larger: main contenders only.", 0, 1e9
    )
    flags.DEFINE_bool("quick", False, "Tiny shapes: to see whether it works, not how fast.")
    flags.DEFINE_string("output", None, "File for the results, as JSON.")
    flags.DEFINE_string("plot", None, "File for the picture, as PNG.")
    flags.DEFINE_string("show", None, "File of results to show, in place of measuring.")


def chosen(name: str, choices: tuple) -> list[str]:
    values = flags.FLAGS[name].value
    for value in values:
        if value not in choices:
            raise UsageError(f"--{name} must be of {', '.join(choices)}. Received: {value}")
    return values


def backends() -> list[str]:
    if flags.FLAGS.backends is None:
        return [backend for backend in BACKENDS if installed(backend)]
    for backend in chosen("backends", BACKENDS):
        if not installed(backend):
            raise UsageError(f"--backends must be installed. Received: {backend}")
    return flags.FLAGS.backends


def contenders(used: list[str]) -> tuple[list, list]:
    """The contenders of the backends, and those of the replicas, that `--contenders` keeps."""
    try:
        pattern = re.compile(flags.FLAGS.contenders)
    except re.error as error:
        raise UsageError(f"--contenders must be a regular expression: {error}") from error
    rows = [c for c in CONTENDERS if c.framework in used and pattern.search(c.key)]
    replicas = [
        c
        for c in REPLICAS
        if FRAMEWORKS[c.framework].backend in used
        and ("replicas" in chosen("studies", STUDIES))
        and (not flags.FLAGS.contenders or pattern.search(c.key))
    ]
    if not rows and not replicas:
        raise UsageError(f"--contenders must match one of them. Received: {flags.FLAGS.contenders}")
    return rows, replicas


def shapes_of(model: str) -> sizes.Shapes:
    shapes = sizes.MODELS[model]()
    return sizes.quick(shapes) if flags.FLAGS.quick else shapes


def growing() -> dict[str, list[sizes.Shapes]]:
    quick = flags.FLAGS.quick
    elements = sizes.QUICK_ELEMENTS if quick else sizes.ELEMENTS
    variables = sizes.QUICK_VARIABLES if quick else sizes.VARIABLES
    return {
        "elements": [sizes.one_variable(count) for count in elements],
        "variables": [sizes.small_variables(count) for count in variables],
    }


def run(processes: Processes) -> dict:
    """Does the studies that the flags ask for; saves the results after each part."""
    studies, models, used = (
        chosen("studies", STUDIES),
        chosen("models", tuple(sizes.MODELS)),
        backends(),
    )
    rows, replicas = contenders(used)
    plan = study.Plan(
        rounds=flags.FLAGS.rounds,
        warmup_rounds=flags.FLAGS.warmup,
        memory_bytes=round(flags.FLAGS.memory * 1e9),
        copy_bytes=(4 if flags.FLAGS.quick else 256) * _MEGABYTE,
    )
    parts: list[tuple] = []
    if "contenders" in studies and rows:
        parts += [("contenders", None, model, shapes_of(model), rows) for model in models]
    growers = [row for row in rows if row.grows]
    if "sizes" in studies and growers:
        parts += [
            ("sizes", axis, f"{axis} {len(shapes)} x {sizes.parameters(shapes)}", shapes, growers)
            for axis, many in growing().items()
            for shapes in many
        ]
    if replicas:
        parts.append(("replicas", None, _REPLICATED_MODEL, shapes_of(_REPLICATED_MODEL), replicas))
    if "memory" in studies and rows:
        parts.append(("memory", None, "embedding", shapes_of("embedding"), rows))

    count = len({row.key for *_, contestants in parts for row in contestants})
    say(f"{counted(count, 'contender')} on {', '.join(used)}, {counted(plan.rounds, 'round')}:")
    for kind, _, model, shapes, contestants in parts:
        say(estimate.line(kind, model, shapes, contestants, plan))
    minutes = counted(round(estimate.minutes(parts, plan)), "minute")
    say(f"about {minutes} in all, more on a busy machine")

    outcomes, workers = study.check(processes, [*rows, *replicas], say)
    results = {
        "command": f"python -m benchmarks.speed.update {shlex.join(sys.argv[1:])}".strip(),
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
        "rounds": plan.rounds,
        "warmup_rounds": plan.warmup_rounds,
        "quick": flags.FLAGS.quick,
        "workers": workers,
        "outcomes": outcomes,
        "contenders": [],
        "sizes": {},
        "replicas": [],
        "memory": [],
    }
    for kind, axis, model, shapes, contestants in parts:
        say(f"{kind}: {model}")
        if kind == "memory":
            results["memory"] = study.measure_memory(processes, shapes, contestants, outcomes)
        else:
            found = study.measure(processes, model, shapes, contestants, outcomes, plan)
            found = summary.summarize(found)
            target = results[kind] if axis is None else results[kind].setdefault(axis, [])
            target.append(found)
        save(results)
    return results


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def save(results: dict) -> None:
    if flags.FLAGS.output:
        # The rounds of a contender on one line.
        text = re.sub(
            r"\[[\d\s,]+\]", lambda match: "".join(match[0].split()), json.dumps(results, indent=1)
        )
        files.write_text(flags.FLAGS.output, text + "\n")


def check_plot() -> None:
    """Before an hour of measuring, and not after it."""
    if flags.FLAGS.plot and not installed("matplotlib"):
        raise UsageError("--plot needs matplotlib, which is not installed")


def load(path: str) -> dict:
    results = read_json(path, "--show")
    with results_of(path, "--show"):
        tables.report(results)
    return results


def main(argv: list[str]) -> None:
    del argv
    try:
        check_plot()
        if flags.FLAGS.show:
            results = load(flags.FLAGS.show)
        else:
            with Processes() as processes:
                results = run(processes)
        print(tables.report(results))
        if flags.FLAGS.plot:
            with results_of(flags.FLAGS.show or flags.FLAGS.output, "--show"):
                plot.draw(results, pathlib.Path(flags.FLAGS.plot))
    except (UsageError, OSError) as error:
        fail(error)


if __name__ == "__main__":
    define_flags()
    app.run(main, flags_parser=parse)
