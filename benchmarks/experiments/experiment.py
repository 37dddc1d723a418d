"""`Experiment`: a question that needs many training runs, and its command; `Seeds`, with seeds."""

import concurrent.futures
import dataclasses
import functools
import pathlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from absl import flags

from benchmarks import environment, files, frames
from benchmarks.command_line import define_flags_of, given, interrupt_at_sigterm, results_of
from benchmarks.command_line import run as run_command
from benchmarks.experiments import results, sweep
from benchmarks.experiments.sweep import Run
from benchmarks.lazy import keras
from benchmarks.recipe import RecipeError
from benchmarks.settings import FlagSettings, setting
from benchmarks.words import counted

INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h, as in `benchmarks.train`


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment(FlagSettings):
    """A question that needs many training runs. The class is the question, an object its settings.

    Its fields are the flags of its command.
    """

    table: ClassVar[Callable[..., str]]  # formats results as Markdown
    # Names of methods that plot results to a PNG file, and of the flags for the file.
    plot_flags: ClassVar[tuple[str, ...]] = ("plot",)
    figure: ClassVar[str] = ""  # a file beside the results that `plot` writes by default
    joins: ClassVar[bool] = False  # whether several result files can be shown together
    # Whether the result file is all that it keeps, and what it continues from.
    keeps_results: ClassVar[bool] = True

    data_dir: str | None = setting("Folder of the data set.", None)

    @classmethod
    def main(cls) -> None:
        """Runs the command, and exits: 0 if all is done, 1 after an error, 75 if interrupted."""
        define_flags_of(cls, with_defaults=True)
        flags.DEFINE_string(
            "output_dir", None, "Folder for all files. Default: a folder in runs/experiments/."
        )
        flags.DEFINE_boolean("dry_run", False, "Print what would be trained, and exit.")
        if cls.keeps_results:
            default = "Default: results.json in --output_dir."
            help = f"Result file to write and to continue from. {default}"
            flags.DEFINE_string("output", None, help)
        define_show = flags.DEFINE_list if cls.joins else flags.DEFINE_string
        define_show("show", None, "Result file to show instead of training.")
        for name in cls.plot_flags:
            default = f"{cls.figure} beside the results" if cls.figure else "no plot"
            what = name.replace("_", " of learning ")
            flags.DEFINE_string(name, None, f"PNG file for the {what}. Default: {default}.")
        interrupt_at_sigterm()
        run_command(lambda argv: _run(cls))

    @property
    def name(self) -> str:
        """The name of its module, such as `batch_size` for `BatchSize`."""
        return re.sub("(?<=[a-z])(?=[A-Z])", "_", type(self).__name__).lower()

    @classmethod
    def from_flags(cls) -> "Experiment":
        return cls(**given(cls))

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as result files record them, without those that all experiments share."""
        shared = [field.name for field in dataclasses.fields(Experiment)]
        asked = dataclasses.asdict(self)
        return {name: value for name, value in asked.items() if name not in shared}

    @property
    def folder(self) -> str:
        return f"runs/experiments/{self.name}"

    def runs(self, done: Mapping[str, dict]) -> list[Run]:
        """All training runs in order, given the results so far by name."""
        raise NotImplementedError

    def check(self, run: Run, folder: pathlib.Path) -> int:
        """The images that a run processes over all epochs. Raises RecipeError if it cannot run."""
        raise NotImplementedError

    def train(self, run: Run, folder: pathlib.Path) -> dict:
        """Calls `train` of the run's settings. It may run in another process."""
        return {
            "settings": dataclasses.asdict(run.settings),
            "result": run.settings.train(self.data_dir),
            **environment.record(keras.backend.backend()),
        }

    def find(self, run: Run, folder: pathlib.Path) -> dict | None:
        """The result of an earlier `train`, if the folder holds it."""

    def measure(self, run: Run) -> float | None:
        """The seconds that a run will take, extrapolated from a short one; None if not measured."""

    def train_all(self, progress: sweep.Sweep, save: Callable[[dict], None]) -> None:
        """Trains all runs that are not done, and saves the results so far after each one."""
        progress.train(save=save)

    def show(self, found: Sequence[dict], folder: pathlib.Path) -> None:
        """Prints the tables, and writes the plots."""
        if not all(each["rows"] for each in found):
            raise RecipeError(f"there are no results yet. Received: {folder}")
        print(type(self).table(*found))
        missing = sum(each["planned"] - len(each["rows"]) for each in found)
        for name in self.plot_flags:
            path = flags.FLAGS[name].value or (self.figure and folder / self.figure)
            if path:
                getattr(self, name)(found[0], pathlib.Path(path))
                without = f", without {counted(missing, 'unfinished training run')}" * (missing > 0)
                print(f"\n{path}{without}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seeds(Experiment):
    """An experiment on small networks, with a flag for the number of seeds."""

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

    def train_all(self, progress: sweep.Sweep, save: Callable[[dict], None]) -> None:
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


def _run(kind: type[Experiment]) -> int:
    asked, shown = kind.from_flags(), flags.FLAGS.show
    try:
        if shown:
            paths = [shown] if isinstance(shown, str) else shown
            found = [results.read(path, "--show", asked.name) for path in paths]
            with results_of(", ".join(paths), "--show"):
                asked.show(found, pathlib.Path(paths[0]).parent)
        elif flags.FLAGS.dry_run:
            print(_listed(asked.runs({})))
        else:
            _train(asked)
    except KeyboardInterrupt as interruption:
        reason = str(interruption) or "interrupted"
        print(f"{reason}; run the same command again to continue", file=sys.stderr)
        return INTERRUPTED
    except concurrent.futures.BrokenExecutor as error:
        raise RecipeError("a training run was killed; try again with fewer --processes") from error
    return 0


def _train(experiment: Experiment) -> None:
    folder = pathlib.Path(flags.FLAGS.output_dir or experiment.folder)
    output = flags.FLAGS.output if experiment.keeps_results else None
    path = pathlib.Path(output or folder / "results.json")
    with files.reserved(path):
        continues = experiment.keeps_results and path.exists()
        before = done_before(experiment, path) if continues else {}
        progress = sweep.Sweep(experiment, folder, before)
        experiment.train_all(progress, functools.partial(results.write, path))
        experiment.show([progress.found()], path.parent)


def done_before(experiment: Experiment, path: pathlib.Path) -> dict[str, dict]:
    """The rows of a result file, by name. Raises RecipeError if its settings are others."""
    found = results.read(path, "--output", experiment.name)
    if found["settings"] != results.as_json(experiment.settings):
        raise RecipeError(
            f"--output must be new or hold results of the same settings. Received: {path}"
        )
    with results_of(path, "--output"):
        environments = found["environments"]
        return {row["name"]: {**row, **environments[row["environment"]]} for row in found["rows"]}


def _listed(runs: list[Run]) -> str:
    """The runs as a Markdown table."""
    shown = ("optimizer", "global_batch_size", "learning_rate", "warmup_epochs", "epochs")
    lines = []
    for run in runs:
        settings = {} if run.settings is None else dataclasses.asdict(run.settings)
        values = {name: results.cell(settings[name]) for name in shown if name in settings}
        published = {"published, ImageNet, %": results.cell(run.published)}
        lines.append({"training": run.name, "row": run.row, **values, **published})
    return frames.markdown(lines, texts=3)
