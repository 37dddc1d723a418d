"""The methods that are compared, and what is searched for each: written down beforehand."""

import dataclasses
import functools
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Range:
    """What a setting is searched in, by its logarithm or by itself."""

    low: float
    high: float
    logarithmic: bool = True

    def at(self, fraction: float) -> float:
        """The setting at a fraction of the range, from 0 to 1."""
        if self.logarithmic:
            return self.low * (self.high / self.low) ** fraction
        return self.low + (self.high - self.low) * fraction


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to train.

    Attributes:
        name: As in results.
        words: As in tables and plots.
        optimizer: "momentum", "nesterov", "lars" or "lamb".
        space: What is tuned, at each batch size by itself; empty if nothing is.
        scaled_from: Name of the method whose setting for the smallest batch is taken.
        power: Of the ratio of batch sizes, by which the learning rate is then multiplied.
        momentum: Where it is not tuned.
        warmup_fraction: Of the training, where it is not tuned.
        rate: The learning rate by batch size, where it is given and nothing is tuned.
        constant_rate: Whether that rate neither rises nor decays.
        zero_weight_ratio: Of LARS.
        weight_norm_floor: Of LARS.
    """

    name: str
    words: str
    optimizer: str
    space: dict[str, Range] = dataclasses.field(default_factory=dict)
    scaled_from: str = ""
    power: float = 0.0
    momentum: float = 0.9
    warmup_fraction: float = 0.2
    rate: Callable[[int], float] | None = None
    constant_rate: bool = False
    zero_weight_ratio: float | None = 1.0
    weight_norm_floor: float = 0.0


def square_root_rule(batch: int) -> float:
    """The learning rate that the documentation begins with, without tuning."""
    return min(4.0 * (batch / 128) ** 0.5, 30.0)


def _constant(rate: float, batch: int) -> float:
    del batch
    return rate


_SGD_RATES = Range(0.01, 1.0)

METHODS = (
    Method("momentum", "momentum, tuned", "momentum", {"learning_rate": _SGD_RATES}),
    Method(
        "momentum_scaled",
        "momentum, linear scaling",
        "momentum",
        scaled_from="momentum",
        power=1.0,
    ),
    Method(
        "nesterov",
        "Nesterov, all tuned",
        "nesterov",
        {
            "learning_rate": _SGD_RATES,
            "distance_of_momentum_to_1": Range(0.02, 0.2),
            "warmup_fraction": Range(0.05, 0.5, logarithmic=False),
        },
    ),
    Method("lars", "LARS, tuned", "lars", {"learning_rate": Range(1.0, 50.0)}),
    Method("lars_scaled", "LARS, square-root scaling", "lars", scaled_from="lars", power=0.5),
    Method("lamb", "Lamb of Keras, tuned", "lamb", {"learning_rate": Range(1e-3, 0.1)}),
)
# How wide a range of learning rates works: each rate twice the one before, in as many cells.
RATES = (
    Method("momentum_rates", "momentum", "momentum", {"learning_rate": Range(0.02, 5.12)}),
    Method("lars_rates", "LARS", "lars", {"learning_rate": Range(1.0, 256.0)}),
    Method("lamb_rates", "Lamb of Keras", "lamb", {"learning_rate": Range(0.001, 0.256)}),
)
# What is done where the norm of a weight is 0, as that of most biases is at first.
ZERO_WEIGHTS = (
    *(
        Method(
            f"lars_zero_{ratio:g}",
            f"`zero_weight_ratio={ratio:g}`",
            "lars",
            rate=square_root_rule,
            zero_weight_ratio=ratio,
        )
        for ratio in (1.0, 1e-2, 1e-3)
    ),
    *(
        Method(
            f"lars_floor_{floor:g}",
            f"`weight_norm_floor={floor:g}`",
            "lars",
            rate=square_root_rule,
            zero_weight_ratio=None,
            weight_norm_floor=floor,
        )
        for floor in (0.1, 0.05)
    ),
)
# What somebody gets who writes `LARS(rate)` and no schedule.
CONSTANT_RATES = tuple(
    Method(
        f"lars_constant_{rate:g}",
        f"`LARS({rate:g})`",
        "lars",
        rate=functools.partial(_constant, rate),
        constant_rate=True,
        zero_weight_ratio=None,
        weight_norm_floor=0.05,
    )
    for rate in (1.0, 4.0, 10.0, 20.0)
)
BY_NAME = {method.name: method for method in (*METHODS, *RATES, *ZERO_WEIGHTS, *CONSTANT_RATES)}


def trials(method: Method, count: int) -> list[dict[str, float]]:
    """The settings that are tried: points of a Sobol sequence, the same at each batch size."""
    if not method.space:
        return []
    return [
        {name: of.at(fraction) for (name, of), fraction in zip(method.space.items(), point)}
        for point in _fractions(len(method.space), count)
    ]


@functools.cache
def _fractions(settings: int, count: int) -> list[list[float]]:
    from scipy.stats import qmc

    # From the lower edge of each cell to its middle.
    return (qmc.Sobol(settings, scramble=False).random(count) + 0.5 / count).tolist()


def scaled(method: Method, setting: dict[str, float], times_the_batch: float) -> dict[str, float]:
    """The setting of a smaller batch, for one so many times as large."""
    rate = setting["learning_rate"] * times_the_batch**method.power
    return {**setting, "learning_rate": rate}
