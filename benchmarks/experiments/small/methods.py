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
    # Or the size in whose committed results the setting of that method was chosen for each batch.
    # Only the learning rate is tuned then, around the one of that setting.
    chosen_in: str = ""
    power: float = 0.0  # its learning rate is multiplied by the ratio of batch sizes to this power

    @property
    def tuned(self) -> bool:
        return bool(self.space or self.chosen_in)


def square_root_rule(batch: int) -> float:
    """The learning rate that the documentation suggests as a first guess, without tuning."""
    return min(4.0 * (batch / 128) ** 0.5, 30.0)


# --- the methods ----------------------------------------------------------------------------------


def _rates(low: float, high: float) -> dict[str, Range]:
    return {"learning_rate": Range(low, high)}


def _all(low: float, high: float) -> dict[str, Range]:
    """What is tuned for Nesterov momentum."""
    momentum, warmup = Range(0.02, 0.2, from_1=True), Range(0.05, 0.5, logarithmic=False)
    return {**_rates(low, high), "momentum": momentum, "warmup_fraction": warmup}


def _near(size: str, method: Method) -> Method:
    """A method whose rate is tuned around the one that was chosen for another size, if at all."""
    name, words = f"{method.name}_near_{size}", f"{method.words} from `{size}`"
    return dataclasses.replace(
        method, name=name, words=words, space={}, scaled_from=method.name, chosen_in=size
    )


def _floor(floor: float) -> dict[str, Any]:
    return {"zero_weight_ratio": None, "weight_norm_floor": floor}


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


# What to do if the norm of a weight is 0, as for most biases at first.


def _with_ratio(ratio: float) -> Method:
    name, words = f"lars_zero_{ratio:g}", f"`zero_weight_ratio={ratio:g}`"
    return Method(name, words, "lars", {}, {"zero_weight_ratio": ratio}, square_root_rule)


def _with_floor(floor: float) -> Method:
    name, words = f"lars_floor_{floor:g}", f"`weight_norm_floor={floor:g}`"
    return Method(name, words, "lars", {}, _floor(floor), square_root_rule)


def _constant(rate: float) -> Method:
    """`LARS(rate)` without a schedule."""
    name, fixed = f"lars_constant_{rate:g}", {**_DEFAULTS, "constant_rate": True}
    return Method(name, f"`LARS({rate:g})`", "lars", {}, fixed, lambda batch: rate)


_DEFAULTS = _floor(0.05)
_WIDE = _rates(1.0, 256.0)
_METHODS = (
    Method("momentum", "momentum, tuned", "momentum", _rates(0.01, 1.0)),
    Method("nesterov", "Nesterov, all tuned", "nesterov", _all(0.01, 1.0)),
    Method("lars", "LARS, tuned", "lars", _rates(1.0, 50.0)),
    Method("lamb", "Lamb of Keras, tuned", "lamb", _rates(1e-3, 0.1)),
    # To see how wide the range of working learning rates is. With 8 trials, each is twice the last.
    Method("momentum_rates", "momentum", "momentum", _rates(0.02, 5.12)),
    Method("lars_rates", "LARS", "lars", _WIDE),
    Method("lamb_rates", "Lamb of Keras", "lamb", _rates(0.001, 0.256)),
    # The second round: wider ranges, LARS with its defaults, and LARS with Nesterov momentum.
    Method("momentum_wide", "momentum, tuned", "momentum", _rates(0.02, 5.12)),
    Method("nesterov_wide", "Nesterov, all tuned", "nesterov", _all(0.02, 5.12)),
    Method("lars_wide", "LARS, tuned", "lars", _WIDE, _DEFAULTS),
    Method("lars_nesterov", "LARS with Nesterov, tuned", "lars_nesterov", _WIDE, _DEFAULTS),
    Method("lamb_wide", "Lamb of Keras, tuned", "lamb", _rates(0.002, 0.512)),
    # Momentum and Nesterov momentum at other rates, where the best one was at an end.
    Method("momentum_lower", "momentum, tuned at lower rates", "momentum", _rates(0.00125, 0.32)),
    Method("nesterov_lower", "Nesterov, all tuned at lower rates", "nesterov", _all(0.00125, 0.32)),
    Method("momentum_higher", "momentum, tuned at higher rates", "momentum", _rates(0.32, 81.92)),
    Method("nesterov_higher", "Nesterov, all tuned at higher rates", "nesterov", _all(0.32, 81.92)),
    *map(_with_ratio, (1.0, 1e-2, 1e-3)),
    *map(_with_floor, (0.1, 0.05)),
    *map(_constant, (1.0, 4.0, 10.0, 20.0)),
)
BY_NAME = {method.name: method for method in _METHODS}
for _name in ("momentum", "lars", "momentum_wide", "lars_wide", "lars_nesterov"):
    BY_NAME[f"{_name}_scaled"] = _scaled(BY_NAME[_name])
for _name in ("nesterov_wide", "lars_nesterov", "lamb_wide"):
    _method = _near("twice_as_long", BY_NAME[_name])
    BY_NAME[_method.name] = _method


# --- their settings -------------------------------------------------------------------------------


def trials(method: Method, count: int) -> list[dict[str, float]]:
    """The settings to try: points of a Sobol sequence, the same at each batch size."""
    return [
        {name: span.at(fraction) for (name, span), fraction in zip(method.space.items(), point)}
        for point in _fractions(len(method.space), count)
    ]


def rates_near(setting: dict[str, float], count: int) -> list[dict[str, float]]:
    """The setting at `count` learning rates around its own, each twice the last."""
    middle = (count - 1) / 2
    return [
        {**setting, "learning_rate": setting["learning_rate"] * 2.0 ** (number - middle)}
        for number in range(count)
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
