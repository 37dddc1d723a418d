"""`Seeds`: an experiment of which only the number of seeds can be chosen."""

import dataclasses
import pathlib
from typing import Any, ClassVar

from benchmarks.experiments.experiment import Experiment
from benchmarks.experiments.sweep import Run
from benchmarks.settings import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seeds(Experiment):
    """An experiment of which only the number of seeds can be chosen.

    Attributes:
        constants: What is the same in all of its trainings, as results keep it.
        images_of_a_run: Those that it trains on, counted in each epoch.
    """

    constants: ClassVar[dict[str, int]]
    images_of_a_run: ClassVar[int]
    plot_flags: ClassVar[tuple[str, ...]] = ()

    seeds: int = setting("Trainings of each kind.", 3, minimum=1)

    @property
    def settings(self) -> dict[str, Any]:
        return {**self.constants, "seeds": self.seeds}

    def check(self, run: Run, folder: pathlib.Path) -> int:
        return self.images_of_a_run
