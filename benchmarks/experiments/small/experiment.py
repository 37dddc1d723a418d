"""`Seeds`: an experiment of which the number of seeds can be chosen."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from benchmarks.experiments.experiment import Experiment
from benchmarks.experiments.sweep import Run, Sweep
from benchmarks.settings import setting


def runs_at_rates(
    rates: Mapping[str, Sequence[float]],
    seeds: int,
    make: Callable[[str, float, int], Any],
    shown: Callable[[float], float] = lambda rate: rate,
) -> list[Run]:
    """A training of each optimizer at each of its rates, with each seed.

    Args:
        rates: By optimizer.
        seeds: How many.
        make: The settings of a training, from its optimizer, its rate and its seed.
        shown: The rate as results have it.
    """
    return [
        Run(
            name=f"{optimizer.split(',')[0].lower()}-rate_{rate:g}-seed{seed}",
            label={"optimizer": optimizer, "learning_rate": shown(rate), "seed": seed},
            settings=make(optimizer, rate, seed),
        )
        for seed in range(1, seeds + 1)
        for optimizer, of_optimizer in rates.items()
        for rate in of_optimizer
    ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seeds(Experiment):
    """An experiment of which the number of seeds can be chosen.

    Attributes:
        constants: What is the same in all of its trainings, as results keep it.
        images_of_a_run: Those that it trains on, counted in each epoch.
    """

    constants: ClassVar[dict[str, Any]]
    images_of_a_run: ClassVar[int]
    plot_flags: ClassVar[tuple[str, ...]] = ()

    seeds: int = setting("Trainings of each kind.", 3, minimum=1)
    processes: int = setting("Trainings at once, each in a process of its own.", 1, minimum=1)

    @property
    def settings(self) -> dict[str, Any]:
        return {**self.constants, "seeds": self.seeds}

    def train_all(self, progress: Sweep, save: Callable[[list[dict]], None]) -> None:
        progress.train(self.processes if self.processes > 1 else 0, save=save)

    def check(self, run: Run, folder: pathlib.Path) -> int:
        return self.images_of_a_run
