"""`Seeds`: an experiment with a flag for the number of seeds."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from benchmarks.experiments.experiment import Experiment
from benchmarks.experiments.sweep import Run, Sweep
from benchmarks.settings import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seeds(Experiment):
    """An experiment with a flag for the number of seeds."""

    constants: ClassVar[dict[str, Any]]  # settings of all its training runs, for result files
    images_per_run: ClassVar[int]  # over all epochs
    plot_flags: ClassVar[tuple[str, ...]] = ()

    seeds: int = setting("Number of seeds to train each setting with.", 3, minimum=1)
    processes: int = setting(
        "Training runs at the same time, each in its own process.", 1, minimum=1
    )

    @property
    def settings(self) -> dict[str, Any]:
        return {**self.constants, "seeds": self.seeds}

    def train_all(self, progress: Sweep, save: Callable[[dict], None]) -> None:
        progress.train(self.processes if self.processes > 1 else 0, save=save)

    def check(self, run: Run, folder: pathlib.Path) -> int:
        return self.images_per_run

    def runs_at(
        self,
        rates: Mapping[str, Sequence[float]],
        make: Callable[[str, float, int], Any],
        shown: Callable[[float], float] = lambda rate: rate,
    ) -> list[Run]:
        """One training of each optimizer at each of its learning rates, with each seed.

        Args:
            rates: The learning rates by optimizer.
            make: Makes the settings of a training run from its optimizer, learning rate and seed.
            shown: Returns the learning rate that results record.
        """
        return [
            Run(
                name=f"{optimizer.split(',')[0].lower()}-rate_{rate:g}-seed{seed}",
                label={"optimizer": optimizer, "learning_rate": shown(rate), "seed": seed},
                settings=make(optimizer, rate, seed),
            )
            for seed in range(1, self.seeds + 1)
            for optimizer, several in rates.items()
            for rate in several
        ]
