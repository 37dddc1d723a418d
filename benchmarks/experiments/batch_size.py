"""Accuracy by batch size at a fixed number of epochs, with equal tuning for every optimizer.

python -m benchmarks.experiments.batch_size [--size=quick|small|rates|resnet50]

The command estimates its time, and trains what is not done yet. It can be stopped at any time and
run again. It also continues the result file that `--output` names. `--show=FILE` prints the tables
of a result file, or one table of several files with the same methods. With `--repeat=NAME`, such as
plain-lars-2048-seed1, it repeats one training run of the file.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from benchmarks import files
from benchmarks.command_line import UsageError
from benchmarks.experiments import results
from benchmarks.experiments.experiment import Experiment
from benchmarks.experiments.small import images, methods, plots, tables
from benchmarks.experiments.small.training import Training
from benchmarks.experiments.sweep import Run, Sweep, share_the_machine
from benchmarks.recipe import RecipeError
from benchmarks.settings import setting

FIRST_ROUND = ("momentum", "momentum_scaled", "nesterov", "lars", "lars_scaled", "lamb")
_FILE = pathlib.Path(__file__).parent / "small" / "sizes.csv"


@dataclasses.dataclass(frozen=True)
class Size:
    """The size of an experiment."""

    networks: tuple[str, ...]  # names in `networks.NETWORKS`
    batches: tuple[int, ...]
    epochs: int
    trials: int  # settings to try for each tuned method at each batch size
    seeds: int  # new seeds to train the chosen setting with; 0 if none is chosen
    image_size: int = 14  # it must divide Fashion-MNIST's 28, CIFAR-10's 32, or the digits' 8
    # Larger batches are accumulated from micro-batches of this size, to save memory. An update may
    # then extend into the next epoch. None for whole batches.
    micro_batch_size: int | None = None
    methods: tuple[str, ...] = FIRST_ROUND  # names in `methods.BY_NAME`
    data: str = "fashion_mnist"  # a name in `images.DATA`
    trial_seeds: int = 1  # seeds to try each setting with


SIZES = {line.pop("name"): Size(**line) for line in files.csv_lines(_FILE, Size)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchSize(Experiment):
    plot_flags: ClassVar[tuple[str, ...]] = ("plot", "plot_rates")
    joins: ClassVar[bool] = True

    size: str = setting("Size of the experiment.", "small", choices=SIZES)
    processes: int = setting(
        "Training runs at the same time. Use 1 on a GPU.", os.cpu_count(), minimum=1
    )
    minutes: float | None = setting(
        "Start no training run after this many minutes. Default: no limit.", None
    )
    repeat: str | None = setting("Name of a training run in the results of --show to repeat.", None)

    @property
    def settings(self) -> dict[str, Any]:
        return {"size": self.size, **dataclasses.asdict(SIZES[self.size])}

    @property
    def folder(self) -> str:
        return f"{super().folder}-{self.size}"

    def runs(self, done: Mapping[str, dict]) -> list[Run]:
        """All training runs, in the best order.

        The largest batches come first, because they tell most and take least time. For each batch,
        the trials come before the seeds.
        """
        if self.repeat:
            raise UsageError("--repeat needs --show with a result file. Received: no --show")
        size = SIZES[self.size]
        numbers = {"trial": range(size.trials * size.trial_seeds), "seed": range(1, size.seeds + 1)}
        labels = [
            Label(network, method, batch, kind, number)
            for batch in sorted(size.batches, reverse=True)
            for network in size.networks
            for kind in numbers
            for method in size.methods
            if methods.BY_NAME[method].tuned or kind == "seed"
            for number in numbers[kind]
        ]
        return [
            Run(name=label.name, label=label._asdict(), settings=_training(size, done, label))
            for label in labels
        ]

    def check(self, run: Run, folder: pathlib.Path) -> int:
        size = SIZES[self.size]
        return size.epochs * images.TRAINING[size.data]

    def train_all(self, progress: Sweep, save: Callable[[dict], None]) -> None:
        progress.train(self.processes, self.minutes, save)

    def measure(self, run: Run) -> float | None:
        """Trains two epochs at the second largest batch, and extrapolates."""
        size = SIZES[self.size]
        short = {"epochs": 2, "global_batch_size": sorted(size.batches)[-2:][0]}
        found = dataclasses.replace(run.settings, **short).train(self.data_dir)
        if not found["images_per_second"]:
            return None
        of_epoch = images.TRAINING[size.data] / found["images_per_second"]
        return found["seconds"] + (size.epochs - 2) * of_epoch

    def show(self, found: Sequence[dict], folder: pathlib.Path) -> None:
        """With --repeat, trains one of the runs again, and prints both results side by side."""
        if not self.repeat:
            super().show(found, folder)
            return
        asked, before = training_of(found[0], self.repeat)
        print(asked, flush=True)
        if self.processes > 1:
            share_the_machine()  # as in the recorded training
        now = asked.train(self.data_dir)
        print(f"{'':17} {'recorded':>8} {'now':>8}")
        for key in ("test_accuracy", "test_loss", "measured_accuracy", "measured_loss"):
            cells = ["-" if row[key] is None else f"{row[key]:.4f}" for row in (before, now)]
            print(f"{key:17} {cells[0]:>8} {cells[1]:>8}")

    table = staticmethod(tables.report)
    plot = staticmethod(plots.plot)
    plot_rates = staticmethod(plots.plot_rates)


class Label(NamedTuple):
    """What distinguishes a training run from the others."""

    network: str
    method: str  # a name in `methods.BY_NAME`
    batch: int
    kind: str  # "trial" to choose a setting, "seed" to train the chosen one
    number: int

    @property
    def name(self) -> str:
        return f"{self.network}-{self.method}-{self.batch}-{self.kind}{self.number}"


def _training(size: Size, done: Mapping[str, dict], label: Label) -> Training | None:
    """The settings of a training run; None if they depend on trials that are not done."""
    method, seed = methods.BY_NAME[label.method], label.number
    setting: dict[str, float] | None
    if label.kind == "trial":
        # All settings are tried with one seed before the next seed.
        seed, number = divmod(label.number, size.trials)
        setting = to_try(size, label)[number]
    else:
        setting = chosen(size, done, label)
    if setting is None:
        return None
    return Training(
        network=label.network,
        optimizer=method.optimizer,
        global_batch_size=label.batch,
        epochs=size.epochs,
        image_size=size.image_size,
        seed=seed,
        micro_batch_size=size.micro_batch_size,
        data=size.data,
        zero_weight_ratio=None if method.weight_norm_floor else method.zero_weight_ratio,
        weight_norm_floor=method.weight_norm_floor,
        constant_rate=method.constant_rate is not None,
        **setting,
    )


def chosen(size: Size, done: Mapping[str, dict], label: Label) -> dict[str, float] | None:
    """The setting to train with; None if it is not known yet.

    It is the best of the trials, or the scaled one of the smallest batch, or follows from no trial.
    """
    method = methods.BY_NAME[label.method]
    if not method.tuned and not method.scaled_from:
        return {"learning_rate": method.constant_rate or methods.square_root_rule(label.batch)}
    if not method.tuned:
        base = min(size.batches)
        setting = chosen(size, done, label._replace(method=method.scaled_from, batch=base))
        return setting and methods.scaled(setting, (label.batch / base) ** method.power)
    settings = to_try(size, label)
    names = [label._replace(kind="trial", number=number).name for number in range(size.trials)]
    if not all(name in done for name in names):
        return None
    found = [done[name]["result"] for name in names]
    # If all diverged, the lowest learning rate is chosen.
    scores = [-1.0 if each["diverged"] else each["choosing_accuracy"] for each in found]
    best = max(range(size.trials), key=lambda i: (scores[i], -settings[i]["learning_rate"]))
    return settings[best]


def to_try(size: Size, label: Label) -> list[dict[str, float]]:
    """The settings of the trials of a tuned method at a batch size."""
    method = methods.BY_NAME[label.method]
    if not (other := method.chosen_in):
        return methods.trials(method, size.trials)
    same = label._replace(method=method.scaled_from)
    setting = chosen(SIZES[other], _committed(other), same)
    assert setting  # committed results are complete
    # Each rate is twice the last, and the chosen one is in the middle.
    powers = [number - (size.trials - 1) / 2 for number in range(size.trials)]
    return [methods.scaled(setting, 2.0**power) for power in powers]


@functools.cache
def _committed(size: str) -> dict[str, dict]:
    """The committed results of a size, by name."""
    path = pathlib.Path(__file__).parents[1] / "results" / "studies" / f"{size}.json"
    return {row["name"]: row for row in results.read(path, "--size", "batch_size")["rows"]}


def training_of(found: dict, name: str) -> tuple[Training, dict]:
    """The settings and the result of a recorded training.

    Raises:
        RecipeError: If there is no training of that name.
    """
    for row in found["rows"]:
        if row["name"] == name:
            return Training(**row["settings"]), row["result"]
    last = found["rows"][-1]["name"] if found["rows"] else "none"
    raise RecipeError(f"--repeat must name a training run, such as {last}. Received: {name}")


if __name__ == "__main__":
    BatchSize.main()
