"""All trainings of the study, in order: what is ready, what is done, and what was chosen."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator

from benchmarks.command_line import UsageError, read_json
from benchmarks.studies.batch_size import arms
from benchmarks.studies.batch_size.arms import Arm
from benchmarks.studies.batch_size.forms import Form
from benchmarks.studies.batch_size.training import Training

TRIAL_SEED = 0


@dataclasses.dataclass(frozen=True)
class Run:
    """One training, by what it is for."""

    network: str
    arm: str
    batch: int
    kind: str  # "trial" or "seed"
    number: int

    @property
    def name(self) -> str:
        return f"{self.network}-{self.arm}-{self.batch}-{self.kind}{self.number}"

    @property
    def seed(self) -> int:
        return TRIAL_SEED if self.kind == "trial" else self.number


def _read(path: pathlib.Path) -> dict:
    found = read_json(path, "--output_dir")
    if not isinstance(found, dict) or {"run", "training", "diverged"} - {*found}:
        raise UsageError(f"--output_dir must hold results of this study. Received: {path}")
    return found


class Study:
    """The trainings of a form, and the files of those that are done.

    Args:
        form: How large the study is.
        folder: Where the results are, a file each: made whole, so that whatever is there is done.
        before: Results of an earlier sitting, which are done as well.
    """

    def __init__(self, form: Form, folder: pathlib.Path, before: dict[Run, dict] | None = None):
        self.form, self.folder = form, folder
        self.results: dict[Run, dict] = {}
        for run in self.runs():
            path = self._path(run)
            if path.is_file():
                self.results[run] = _read(path)
            elif before and run in before:
                self.results[run] = before[run]

    def runs(self) -> Iterator[Run]:
        """In the order in which they are best done: of each network the small batches first."""
        of_form = [arms.BY_NAME[name] for name in self.form.arms]
        for network in self.form.networks:
            for batch in self.form.batches:
                for arm in of_form:
                    trials = self.form.trials if arm.space else 0
                    for number in range(trials):
                        yield Run(network, arm.name, batch, "trial", number)
                for arm in of_form:
                    for number in range(1, self.form.seeds + 1):
                        yield Run(network, arm.name, batch, "seed", number)

    def training(self, run: Run) -> Training | None:
        """What is to be trained; None where it is not known yet."""
        arm = arms.BY_NAME[run.arm]
        if arm.rate is not None:
            setting = {"learning_rate": arm.rate(run.batch)}
        elif run.kind == "trial":
            setting = arms.trials(arm, self.form.trials)[run.number]
        else:
            setting = self.chosen(run.network, arm, run.batch)
        if setting is None:
            return None
        return Training(
            network=run.network,
            optimizer=arm.optimizer,
            batch=run.batch,
            epochs=self.form.epochs,
            image_size=self.form.image_size,
            seed=run.seed,
            learning_rate=setting["learning_rate"],
            momentum=1 - setting.get("distance_of_momentum_to_1", 1 - arm.momentum),
            warmup_share=setting.get("warmup_share", arm.warmup_share),
            micro_batch=self.form.micro_batch,
            constant_rate=arm.constant_rate,
            zero_weight_ratio=arm.zero_weight_ratio,
            weight_norm_floor=arm.weight_norm_floor,
            data=self.form.data,
        )

    def chosen(self, network: str, arm: Arm, batch: int) -> dict[str, float] | None:
        """The best setting of the trials, or that of the base batch, scaled; None if not known."""
        if arm.scaled_from:
            base = min(self.form.batches)
            setting = self.chosen(network, arms.BY_NAME[arm.scaled_from], base)
            return setting and arms.scaled(arm, setting, batch / base)
        settings = arms.trials(arm, self.form.trials)
        found = [
            self.results.get(Run(network, arm.name, batch, "trial", number))
            for number in range(len(settings))
        ]
        if None in found:
            return None
        # Of those that diverged none is better than another: the lowest rate stands for them.
        scores = [-1.0 if each["diverged"] else each["choosing_accuracy"] for each in found]
        best = max(range(len(scores)), key=lambda i: (scores[i], -settings[i]["learning_rate"]))
        return settings[best]

    def waiting(self) -> list[Run]:
        return [run for run in self.runs() if run not in self.results]

    def keep(self, run: Run, training: Training, result: dict) -> None:
        """Write a result."""
        self.results[run] = {
            "run": dataclasses.asdict(run),
            "training": dataclasses.asdict(training),
            **result,
        }
        path = self._path(run)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".temporary")
        temporary.write_text(json.dumps(self.results[run], indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, path)

    def _path(self, run: Run) -> pathlib.Path:
        return self.folder / "runs" / f"{run.name}.json"
