"""What is measured of an update: parts, each of which times some contenders on one model."""

import dataclasses
import re
from collections.abc import Sequence

from benchmarks.command_line import UsageError
from benchmarks.settings import FlagSettings, setting
from benchmarks.speed import variables
from benchmarks.speed.contenders import (
    BACKENDS,
    CONTENDERS,
    FRAMEWORKS,
    OPTIONS,
    REPLICAS,
    Contender,
    installed,
)
from benchmarks.speed.variables import Shapes
from benchmarks.words import counted

PARTS = ("options", "large", "contenders", "sizes", "replicas", "memory")
_LARGE_MODEL = "embedding"
_REPLICATED_MODEL = "resnet50"

# Roughly, from a machine of two cores.
_START_SECONDS = 15  # of a framework, with its checks
_BYTES_PER_SECOND = 5e9
_UPDATE_BYTES = 40  # a parameter, between the best and the worst
_VARIABLE_SECONDS = 5e-5  # of a step
_COMPILE_SECONDS = 0.03  # a variable
_LARGE_SECONDS = 20  # of the float64 that a large variable is compared with


@dataclasses.dataclass(frozen=True)
class Settings(FlagSettings):
    """What is measured of whom, and how thoroughly, as flags.

    Raises:
        RecipeError: If there is no such model, part or backend.
    """

    models: Sequence[str] = setting(
        "Models that contenders are timed on.",
        tuple(variables.MODELS),
        choices=tuple(variables.MODELS),
    )
    backends: Sequence[str] = setting(
        "Of tensorflow, jax, torch. Default: what is installed.", (), choices=BACKENDS
    )
    parts: Sequence[str] = setting("What to measure.", PARTS, choices=PARTS)
    contenders: str = setting("Regular expression, searched in `backend/name`.", "")
    rounds: int = setting("Timed steps of each contender.", 30, minimum=1)
    warmup: int = setting("Steps after the first call that are not timed.", 3, minimum=1)
    memory: float = setting(
        "GB of weights and slots; larger: main contenders only.", 16.0, below=1e9
    )
    memory_model: str = setting(
        "Model whose memory is measured.", "embedding", choices=tuple(variables.MODELS)
    )
    copied: int = setting("MB that are copied to see how fast memory is.", 256, minimum=1)
    quick: bool = setting("Tiny shapes: to see whether it works, not how fast.", False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for backend in self.backends:
            if not installed(backend):
                raise UsageError(f"--backends must be installed. Received: {backend}")

    @property
    def used_backends(self) -> list[str]:
        return list(self.backends or filter(installed, BACKENDS))

    @property
    def copy_bytes(self) -> int:
        """Size of the array that tells how fast memory is."""
        return 4_000_000 if self.quick else 1_000_000 * self.copied


@dataclasses.dataclass(frozen=True)
class Part:
    kind: str  # of `PARTS`
    model: str
    shapes: Shapes
    contenders: list[Contender]
    axis: str = ""  # of sizes: what grows

    def seconds(self, settings: Settings) -> float:
        """Roughly how long it takes."""
        if self.kind == "large":
            return len(self.contenders) * _LARGE_SECONDS
        step = variables.parameters(self.shapes) * _UPDATE_BYTES / _BYTES_PER_SECOND
        step += len(self.shapes) * _VARIABLE_SECONDS
        first = len(self.shapes) * _COMPILE_SECONDS
        if self.kind == "memory":
            starts, steps = len(self.contenders), 4
        else:
            starts = len({contender.framework for contender in self.contenders})
            steps = settings.warmup + settings.rounds
        return starts * _START_SECONDS + len(self.contenders) * (first + steps * step)

    def describe(self, settings: Settings) -> str:
        parameters = variables.parameters(self.shapes)
        return (
            f"  {self.kind:<11}{self.model:<28}{parameters:>12,} parameters in "
            f"{counted(len(self.shapes), 'variable', spec='>5,')}, "
            f"{counted(len(self.contenders), 'contender')}, "
            f"about {self.seconds(settings):.0f} s"
        )


def make(settings: Settings) -> list[Part]:
    """The parts that are asked for and have somebody to time.

    Raises:
        UsageError: If `--contenders` is no regular expression, or matches nobody.
    """
    try:
        pattern = re.compile(settings.contenders)
    except re.error as error:
        raise UsageError(f"--contenders must be a regular expression: {error}") from error
    chosen = [
        contender
        for contender in [*CONTENDERS, *REPLICAS, *OPTIONS]
        if FRAMEWORKS[contender.framework].backend in settings.used_backends
        and pattern.search(contender.key)
    ]
    options = [contender for contender in chosen if contender in OPTIONS]
    chosen = [contender for contender in chosen if contender not in options]
    alone = [contender for contender in chosen if contender.framework in BACKENDS]
    growing = [contender for contender in alone if contender.grows]
    replicas = [contender for contender in chosen if contender.framework not in BACKENDS]

    def of_model(kind: str, name: str, contenders: list[Contender]) -> Part:
        return Part(kind, name, variables.model(name, settings.quick), contenders)

    parts = [Part("options", "", {}, options)]
    lars = [contender for contender in alone if contender.main and contender.role == "lars"]
    parts.append(of_model("large", _LARGE_MODEL, lars))
    parts += [of_model("contenders", name, alone) for name in settings.models]
    for axis, models in variables.growing(settings.quick).items():
        for shapes in models:
            name = f"{axis} {len(shapes)} x {variables.parameters(shapes)}"
            parts.append(Part("sizes", name, shapes, growing, axis))
    parts.append(of_model("replicas", _REPLICATED_MODEL, replicas))
    parts.append(of_model("memory", settings.memory_model, alone))
    parts = [part for part in parts if part.kind in settings.parts and part.contenders]
    if not parts:
        raise UsageError(f"--contenders must match one of them. Received: {settings.contenders}")
    return parts
