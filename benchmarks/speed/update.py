"""Times one update in isolation: `python -m benchmarks.speed.update --output=FILE --plot=FILE`.

It times LARS of this package, SGD and Lamb of Keras, TensorFlow's own momentum kernel, and the LARS
of optax, timm, pytorch_optimizer and open_lars if these are installed, on every installed backend.
Each framework has its own process. In each round, each contender takes one step while the others
wait. Contenders with wrong results are reported and not timed.

`--show=FILE` prints the tables of a result file. With `--plot`, it also plots them.
"""

import dataclasses
from collections.abc import Iterator, Sequence

from benchmarks.command_line import UsageError
from benchmarks.settings import FlagSettings, setting
from benchmarks.speed import command, plots, rounds, tables, variables
from benchmarks.speed.contenders import (
    BACKENDS,
    CONTENDERS,
    OPTIONS,
    REPLICAS,
    Contender,
    installed,
)
from benchmarks.speed.variables import MODELS, Shapes
from benchmarks.speed.workers import processes
from benchmarks.words import counted

PARTS = ("options", "large", "contenders", "sizes", "replicas", "memory")

# Rough times for estimates, from a machine with two cores.
_START_SECONDS = 15  # to start a framework and check its contenders
_PARAMETER_SECONDS = 8e-9  # per parameter in a step, between the best and the worst
_VARIABLE_SECONDS = 5e-5  # per variable in a step
_COMPILE_SECONDS = 0.03  # per variable


@dataclasses.dataclass(frozen=True)
class Settings(FlagSettings):
    """What to measure, and how thoroughly; the fields are flags.

    Raises:
        RecipeError: If there is no such model, part or backend.
    """

    models: Sequence[str] = setting("Models whose updates are timed.", MODELS, choices=MODELS)
    backends: Sequence[str] = setting(
        "Backends: tensorflow, jax, torch. Default: all that are installed.", (), choices=BACKENDS
    )
    parts: Sequence[str] = setting("Parts to measure.", PARTS, choices=PARTS)
    contenders: str = setting(
        "Regular expression for the contenders to measure, searched in `backend/name`.", ""
    )
    rounds: int = setting("Timed steps of each contender.", 30, minimum=1)
    warmup: int = setting("Untimed steps after the first call.", 3, minimum=1)
    memory: float = setting(
        "Limit for weights and slots in GB. Beyond it, only the main contenders are timed.",
        16.0,
        below=1e9,
    )
    memory_model: str = setting("Model to measure memory with.", "embedding", choices=MODELS)
    copied: int = setting("MB to copy when measuring the speed of memory.", 256, minimum=1)
    quick: bool = setting("Use tiny shapes, to test the benchmark itself.", False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for backend in self.backends:
            if not installed(backend):
                raise UsageError(f"--backends must be installed. Received: {backend}")

    @property
    def used_backends(self) -> list[str]:
        return list(self.backends or filter(installed, BACKENDS))


@dataclasses.dataclass(frozen=True)
class Part:
    kind: str  # one of `PARTS`
    model: str
    shapes: Shapes
    contenders: list[Contender]
    axis: str = ""  # what grows, for "sizes"

    def seconds(self, settings: Settings) -> float:
        """The approximate time that it takes."""
        step = variables.parameters(self.shapes) * _PARAMETER_SECONDS
        step += len(self.shapes) * _VARIABLE_SECONDS
        first = len(self.shapes) * _COMPILE_SECONDS
        starts = len({contender.framework for contender in self.contenders})
        steps = settings.warmup + settings.rounds
        if self.kind in ("large", "memory"):  # each contender in a new worker
            starts, steps = len(self.contenders), 4
        return starts * _START_SECONDS + len(self.contenders) * (first + steps * step)

    def describe(self, settings: Settings) -> str:
        parameters = variables.parameters(self.shapes)
        return (
            f"  {self.kind:<11}{self.model:<28}{parameters:>12,} parameters in "
            f"{counted(len(self.shapes), 'variable', spec='>5,')}, "
            f"{counted(len(self.contenders), 'contender')}, "
            f"about {self.seconds(settings):.0f} s"
        )


def parts_of(settings: Settings) -> list[Part]:
    """The requested parts that have contenders.

    Raises:
        UsageError: If `--contenders` is not a regular expression, or matches nothing.
    """
    pattern = command.pattern_of("--contenders", settings.contenders)

    def chosen(contenders: list[Contender]) -> list[Contender]:
        found = filter(lambda contender: pattern.search(contender.key), contenders)
        return [c for c in found if c.backend in settings.used_backends]

    def of_model(kind: str, name: str, contenders: list[Contender]) -> Part:
        return Part(kind, name, variables.model(name, settings.quick), contenders)

    alone = chosen(CONTENDERS)
    lars = [contender for contender in alone if contender.main and contender.role == "lars"]
    growing = [c for c in alone if c.name in ("keras_lars", c.compared_to)]
    parts = [
        Part("options", "", {}, chosen(OPTIONS)),
        of_model("large", "embedding", lars),
        *(of_model("contenders", name, alone) for name in settings.models),
    ]
    for axis, shapes in variables.growing(settings.quick):
        name = f"{axis} {len(shapes)} x {variables.parameters(shapes)}"
        parts.append(Part("sizes", name, shapes, growing, axis))
    parts.append(of_model("replicas", "resnet50", chosen(REPLICAS)))
    parts.append(of_model("memory", settings.memory_model, alone))
    parts = [part for part in parts if part.kind in settings.parts and part.contenders]
    if not parts:
        raise UsageError(f"--contenders must match a contender. Received: {settings.contenders}")
    return parts


def measure(settings: Settings) -> Iterator[dict]:
    """Yields the results so far, after each part."""
    planned = parts_of(settings)
    contenders = {row.key: row for part in planned for row in part.contenders}
    command.say(
        f"{counted(len(contenders), 'contender')} on {', '.join(settings.used_backends)}, "
        f"{counted(settings.rounds, 'round')}:"
    )
    for part in planned:
        command.say(part.describe(settings))
    minutes = round(sum(part.seconds(settings) for part in planned) / 60)
    command.say(f"about {counted(minutes, 'minute')} in total, more on a busy machine")

    with processes() as process_of:
        outcomes, workers = rounds.check(process_of, contenders.values())
        results: dict = {
            **command.about("update"),
            "rounds": settings.rounds,
            "warmup_rounds": settings.warmup,
            "quick": settings.quick,
            "workers": workers,
            "outcomes": outcomes,
            "large": {},
            "contenders": [],
            "sizes": {},
            "replicas": [],
            "memory_model": settings.memory_model,
            "memory": [],
        }
        for part in planned:
            command.say(f"{part.kind}: {part.model}")
            if part.kind == "memory":
                results["memory"] = rounds.measure_memory(process_of, part, outcomes)
            elif part.kind == "large":
                results["large"] = rounds.check_large(process_of, part, outcomes)
            elif part.kind != "options":  # `rounds.check` has checked the options
                found = rounds.measure(process_of, part, outcomes, settings)
                of_kind = results[part.kind]
                (of_kind.setdefault(part.axis, []) if part.axis else of_kind).append(found)
            yield results


if __name__ == "__main__":
    command.main(Settings, measure, tables.of_updates, plots.draw)
