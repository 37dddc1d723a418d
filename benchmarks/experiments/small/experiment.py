"""`Small`: an experiment that trains small networks, and keeps a row of numbers of each."""

import dataclasses
import pathlib
from typing import Any, ClassVar

from absl import flags

from benchmarks.experiments.experiment import Experiment
from benchmarks.experiments.sweep import Run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Small(Experiment):
    """An experiment on small networks.

    Attributes:
        images_of_a_run: Those that it trains on, counted in each epoch.
    """

    images_of_a_run: ClassVar[int]

    def check(self, run: Run, folder: pathlib.Path) -> int:
        del run, folder
        return self.images_of_a_run

    def train(self, run: Run, folder: pathlib.Path) -> dict:
        import keras

        from benchmarks import environment

        return {
            "settings": dataclasses.asdict(run.settings),
            "result": self.train_settings(run.settings),
            "versions": environment.versions(keras.backend.backend()),
            "device": environment.device(),
        }

    def train_settings(self, settings: Any) -> dict:
        """Trains a run, and returns what it reached."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seeds(Small):
    """One of which only the number of seeds can be chosen.

    Attributes:
        constants: What is the same in all of its trainings, as results keep it.
    """

    constants: ClassVar[dict[str, int]]

    seeds: int = 3

    @classmethod
    def define_flags(cls) -> None:
        flags.DEFINE_integer("seeds", 3, "Trainings of each kind.", 1)

    @property
    def settings(self) -> dict[str, Any]:
        return {**self.constants, "seeds": self.seeds}
