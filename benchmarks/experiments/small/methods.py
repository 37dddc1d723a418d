"""The methods that are compared, and their search spaces, which were fixed beforehand."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Range:
    """The range in which a setting is searched, on a logarithmic or linear scale.

    With `from_1`, it is the range of 1 minus the setting: 0.1 is a momentum of 0.9.
    """

    low: float
    high: float
    logarithmic: bool = True
    from_1: bool = False

    def at(self, fraction: float) -> float:
        """The setting at a fraction of the range, from 0 to 1."""
        if self.logarithmic:
            found = self.low * (self.high / self.low) ** fraction
        else:
            found = self.low + (self.high - self.low) * fraction
        return 1 - found if self.from_1 else found

    def __str__(self) -> str:
        text = f"{self.low:g} to {self.high:g}" + ", logarithmic" * self.logarithmic
        return f"1 - ({text})" if self.from_1 else text


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to train."""

    name: str  # in results
    words: str  # in tables and plots
    optimizer: str  # "momentum", "nesterov", "lars", "lars_nesterov" or "lamb"
    # What is tuned, separately for each batch size; empty if nothing is tuned.
    space: Mapping[str, Range] = dataclasses.field(default_factory=dict)
    # Settings that are not tuned and differ from the defaults of `Training`.
    fixed: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    rate: Callable[[int], float] | None = None  # the learning rate of a batch size, if not tuned
    scaled_from: str = ""  # the method whose setting for the smallest batch is scaled
    power: float = 0.0  # its learning rate is multiplied by the ratio of batch sizes to this power


def square_root_rule(batch: int) -> float:
    """The learning rate that the documentation suggests as a first guess, without tuning."""
    return min(4.0 * (batch / 128) ** 0.5, 30.0)


def _rates(low: float, high: float) -> dict[str, Range]:
    return {"learning_rate": Range(low, high)}


def _scaled(method: Method) -> Method:
    """A method with the setting of the smallest batch, scaled as is usual for the optimizer."""
    power, rule = (1.0, "linear") if method.optimizer == "momentum" else (0.5, "square-root")
    return dataclasses.replace(
        method,
        name=f"{method.name}_scaled",
        words=method.words.replace("tuned", f"{rule} scaling"),
        space={},
        scaled_from=method.name,
        power=power,
    )


def _floor(floor: float) -> dict[str, Any]:
    return {"zero_weight_ratio": None, "weight_norm_floor": floor}


_OF_NESTEROV = {
    **_rates(0.01, 1.0),
    "momentum": Range(0.02, 0.2, from_1=True),
    "warmup_fraction": Range(0.05, 0.5, logarithmic=False),
}
_MOMENTUM = Method("momentum", "momentum, tuned", "momentum", _rates(0.01, 1.0))
_LARS = Method("lars", "LARS, tuned", "lars", _rates(1.0, 50.0))
METHODS = (
    _MOMENTUM,
    _scaled(_MOMENTUM),
    Method("nesterov", "Nesterov, all tuned", "nesterov", _OF_NESTEROV),
    _LARS,
    _scaled(_LARS),
    Method("lamb", "Lamb of Keras, tuned", "lamb", _rates(1e-3, 0.1)),
)
# To see how wide the range of working learning rates is. With 8 trials, each is twice the last.
_MOMENTUM_RATES, _LARS_RATES = _rates(0.02, 5.12), _rates(1.0, 256.0)
RATES = (
    Method("momentum_rates", "momentum", "momentum", _MOMENTUM_RATES),
    Method("lars_rates", "LARS", "lars", _LARS_RATES),
    Method("lamb_rates", "Lamb of Keras", "lamb", _rates(0.001, 0.256)),
)
# The second round: wider ranges, LARS with its defaults, and LARS with Nesterov momentum.
_DEFAULTS = _floor(0.05)
_ALL_OF_NESTEROV = {**_OF_NESTEROV, **_MOMENTUM_RATES}
_WORDS = "LARS with Nesterov, tuned"
_MOMENTUM_WIDE = Method("momentum_wide", "momentum, tuned", "momentum", _MOMENTUM_RATES)
_LARS_WIDE = Method("lars_wide", "LARS, tuned", "lars", _LARS_RATES, _DEFAULTS)
_LARS_NESTEROV = Method("lars_nesterov", _WORDS, "lars_nesterov", _LARS_RATES, _DEFAULTS)
SECOND_ROUND = (
    _MOMENTUM_WIDE,
    _scaled(_MOMENTUM_WIDE),
    Method("nesterov_wide", "Nesterov, all tuned", "nesterov", _ALL_OF_NESTEROV),
    _LARS_WIDE,
    _scaled(_LARS_WIDE),
    _LARS_NESTEROV,
    _scaled(_LARS_NESTEROV),
    Method("lamb_wide", "Lamb of Keras, tuned", "lamb", _rates(0.002, 0.512)),
)


def _other_rates(name: str, low: float, high: float) -> tuple[Method, Method]:
    """Momentum and Nesterov momentum at other rates, where the best one was at an end."""
    rates, words = _rates(low, high), f"tuned at {name} rates"
    return (
        Method(f"momentum_{name}", f"momentum, {words}", "momentum", rates),
        Method(f"nesterov_{name}", f"Nesterov, all {words}", "nesterov", _OF_NESTEROV | rates),
    )


LOWER_RATES = _other_rates("lower", 0.00125, 0.32)
HIGHER_RATES = _other_rates("higher", 0.32, 81.92)
# What to do if the norm of a weight is 0, as for most biases at first.
_OF_ZERO_WEIGHTS = {
    **{("zero", "zero_weight_ratio", x): {"zero_weight_ratio": x} for x in (1.0, 1e-2, 1e-3)},
    **{("floor", "weight_norm_floor", x): _floor(x) for x in (0.1, 0.05)},
}
ZERO_WEIGHTS = tuple(
    Method(f"lars_{name}_{x:g}", f"`{option}={x:g}`", "lars", {}, fixed, square_root_rule)
    for (name, option, x), fixed in _OF_ZERO_WEIGHTS.items()
)


def _always(rate: float) -> Callable[[int], float]:
    return lambda batch: rate


# The results of `LARS(rate)` without a schedule.
_CONSTANT = {**_DEFAULTS, "constant_rate": True}
CONSTANT_RATES = tuple(
    Method(f"lars_constant_{rate:g}", f"`LARS({rate:g})`", "lars", {}, _CONSTANT, _always(rate))
    for rate in (1.0, 4.0, 10.0, 20.0)
)
BY_NAME = {
    method.name: method
    for method in (
        *METHODS,
        *RATES,
        *SECOND_ROUND,
        *LOWER_RATES,
        *HIGHER_RATES,
        *ZERO_WEIGHTS,
        *CONSTANT_RATES,
    )
}


def trials(method: Method, count: int) -> list[dict[str, float]]:
    """The settings to try: points of a Sobol sequence, the same at each batch size."""
    if not method.space:
        return []
    return [
        {name: span.at(fraction) for (name, span), fraction in zip(method.space.items(), point)}
        for point in _fractions(len(method.space), count)
    ]


@functools.cache
def _fractions(settings: int, count: int) -> list[list[float]]:
    from scipy.stats import qmc

    # Sobol points are at the lower edges of cells; this moves them to the centres.
    return (qmc.Sobol(settings, scramble=False).random(count) + 0.5 / count).tolist()


def scaled(method: Method, setting: dict[str, float], times_the_batch: float) -> dict[str, float]:
    """The setting of a smaller batch, scaled to a batch `times_the_batch` as large."""
    rate = setting["learning_rate"] * times_the_batch**method.power
    return {**setting, "learning_rate": rate}
