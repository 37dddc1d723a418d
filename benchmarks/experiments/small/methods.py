"""The methods that are compared, and their search spaces, which were fixed beforehand."""

import dataclasses
import functools
import pathlib

from benchmarks import files


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


# What is tuned for Nesterov momentum, besides the learning rate.
_MORE = {
    "momentum": Range(0.02, 0.2, from_1=True),
    "warmup_fraction": Range(0.05, 0.5, logarithmic=False),
}


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to train. What is not tuned is as `Training` has it."""

    name: str  # in results
    words: str  # in tables and plots
    optimizer: str  # "momentum", "nesterov", "lars", "lars_nesterov" or "lamb"
    rates: tuple[float, ...] = ()  # the ends of the range in which each batch size is tuned
    all_tuned: bool = False  # whether `_MORE` is tuned as well
    zero_weight_ratio: float = 1.0  # of LARS, if it has no floor
    weight_norm_floor: float = 0.0  # of LARS
    constant_rate: float | None = None  # instead of a schedule
    scaled_from: str = ""  # the method whose setting for the smallest batch is scaled
    power: float = 0.0  # its learning rate is multiplied by the ratio of batch sizes to this power
    # Or the size in whose committed results the setting of that method was chosen for each batch.
    # Only the learning rate is tuned then, around the one of that setting.
    chosen_in: str = ""

    @property
    def space(self) -> dict[str, Range]:
        """What is tuned by trials, separately for each batch size."""
        if not self.rates:
            return {}
        low, high = self.rates
        return {"learning_rate": Range(low, high), **(_MORE if self.all_tuned else {})}

    @property
    def tuned(self) -> bool:
        return bool(self.rates or self.chosen_in)


def square_root_rule(batch: int) -> float:
    """The learning rate that the documentation suggests as a first guess, without tuning."""
    return min(4.0 * (batch / 128) ** 0.5, 30.0)


_FILE = pathlib.Path(__file__).with_name("methods.csv")
BY_NAME = {line["name"]: Method(**line) for line in files.csv_lines(_FILE, Method)}


@functools.cache
def trials(method: Method, count: int) -> list[dict[str, float]]:
    """The settings to try: points of a Sobol sequence, the same at each batch size."""
    from scipy.stats import qmc

    # Sobol points are at the lower edges of cells; this moves them to the centers.
    points = qmc.Sobol(len(method.space), scramble=False).random(count) + 0.5 / count
    return [
        {name: span.at(fraction) for (name, span), fraction in zip(method.space.items(), point)}
        for point in points.tolist()
    ]


def scaled(setting: dict[str, float], factor: float) -> dict[str, float]:
    """The setting with its learning rate multiplied by a factor."""
    return {**setting, "learning_rate": setting["learning_rate"] * factor}
