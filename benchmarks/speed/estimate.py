"""Roughly how long the studies take, told before they start; from a machine of two cores."""

from collections.abc import Iterable

from benchmarks.speed import variables as sizes
from benchmarks.speed.contenders import Contender
from benchmarks.speed.rounds import Plan
from benchmarks.speed.variables import Shapes
from benchmarks.words import counted

_START_SECONDS = 15  # of a worker, with its checks
_BYTES_PER_SECOND = 5e9
_UPDATE_BYTES = 40  # a parameter, between the best and the worst
_VARIABLE_SECONDS = 5e-5  # of a step
_COMPILE_SECONDS = 0.03  # a variable


def seconds(kind: str, shapes: Shapes, contenders: Iterable[Contender], plan: Plan) -> float:
    contenders = list(contenders)
    step = sizes.parameters(shapes) * _UPDATE_BYTES / _BYTES_PER_SECOND
    step += len(shapes) * _VARIABLE_SECONDS
    first = len(shapes) * _COMPILE_SECONDS
    if kind == "memory":
        return len(contenders) * (_START_SECONDS + first + 4 * step)
    starts = _START_SECONDS * len({c.framework for c in contenders})
    steps = plan.warmup_rounds + plan.rounds
    return starts + len(contenders) * (first + steps * step)


def minutes(parts: Iterable[tuple], plan: Plan) -> float:
    return sum(seconds(kind, shapes, rows, plan) for kind, _, _, shapes, rows in parts) / 60


def line(kind: str, model: str, shapes: Shapes, contenders: Iterable[Contender], plan: Plan) -> str:
    """What will be done in one part."""
    contenders = list(contenders)
    return (
        f"  {kind:<11}{model:<28}{sizes.parameters(shapes):>12,} parameters in "
        f"{counted(len(shapes), 'variable', spec='>5,')}, "
        f"{counted(len(contenders), 'contender')}, "
        f"about {seconds(kind, shapes, contenders, plan):.0f} s"
    )
