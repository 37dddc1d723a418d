"""`Experiment`: a question that many trainings answer, and its command."""

import dataclasses
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from absl import flags

from benchmarks import frames
from benchmarks.command_line import UsageError, results_of
from benchmarks.command_line import run as run_command
from benchmarks.experiments import results, sweep, tables
from benchmarks.experiments.sweep import Run
from benchmarks.recipe import RecipeError
from benchmarks.words import counted

INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h, as `benchmarks.train` has it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """A question that many trainings answer. A class is the question, an object what was asked.

    Attributes:
        name: Of its module.
        table: Results as Markdown; takes several if it `joins`.
        plot_flags: Its methods that draw results into a PNG file, and its flags for that file.
        figure: Name of the file that `plot` draws beside the results without being asked.
        joins: Whether results in several files are shown together.
        repeats: Whether it has `repeat`.
        keeps_results: Whether its results file is all that it keeps, and what it goes on from.
        data_dir: Where the data set is.
        processes: How many trainings at once; 0 is one, in this process.
        minutes: After which none is started.
    """

    name: ClassVar[str]
    table: ClassVar[Callable[..., str]]
    plot_flags: ClassVar[tuple[str, ...]] = ()
    figure: ClassVar[str] = ""
    joins: ClassVar[bool] = False
    repeats: ClassVar[bool] = False
    keeps_results: ClassVar[bool] = True

    data_dir: str | None = None
    processes: int = 0
    minutes: float = float("inf")

    @classmethod
    def define_flags(cls) -> None:
        """Defines the flags of this experiment alone."""

    @classmethod
    def from_flags(cls) -> "Experiment":
        names = [field.name for field in dataclasses.fields(cls)]
        given: dict[str, Any] = {n: flags.FLAGS[n].value for n in names if n in flags.FLAGS}
        return cls(**given)

    @property
    def settings(self) -> dict[str, Any]:
        """What was asked for, as results keep it."""
        raise NotImplementedError

    @property
    def folder(self) -> str:
        return f"runs/experiments/{self.name}"

    def runs(self, done: Mapping[str, dict]) -> list[Run]:
        """All trainings in their order, given the results so far by name."""
        raise NotImplementedError

    def check(self, run: Run, folder: pathlib.Path) -> int:
        """The images that a run trains on, counted in each epoch; a RecipeError if it cannot be."""
        raise NotImplementedError

    def train(self, run: Run, folder: pathlib.Path) -> dict:
        """Trains; returns `settings`, `result`, `versions` and `device`. May be another process."""
        raise NotImplementedError

    def find(self, run: Run, folder: pathlib.Path) -> dict | None:
        """What `train` returned, if the folder holds it."""

    def measure(self, run: Run) -> float | None:
        """The seconds that a run will take, by a short one; None to do without."""

    def repeat(self, found: dict, name: str) -> str:
        """Trains one of the results again, by its name, and says what came of it."""
        raise NotImplementedError

    @staticmethod
    def csv_rows(found: dict) -> list[dict]:
        """Results as rows of the CSV file."""
        return results.flat(found)


def main(kind: type[Experiment]) -> None:
    """Runs the command, and exits: 0 if all is done, 1 at a mistake, 75 if it was interrupted."""
    define_flags(kind)
    run_command(lambda argv: _run(kind))


def define_flags(kind: type[Experiment]) -> None:
    kind.define_flags()
    flags.DEFINE_string("output_dir", None, "Folder; by default one of its own in runs/.")
    flags.DEFINE_string("data_dir", None, "Where the data set is.")
    flags.DEFINE_boolean("dry_run", False, "Print what would be trained, and exit.")
    if kind.keeps_results:
        help = "File for the results so far, and to go on from. Default: results.json in a folder."
        flags.DEFINE_string("output", None, help)
    define_show = flags.DEFINE_list if kind.joins else flags.DEFINE_string
    define_show("show", None, "Results to print and draw again, without training.")
    for name in kind.plot_flags:
        default = f"{kind.figure} beside results" if kind.figure else "not drawn"
        flags.DEFINE_string(name, None, f"File for the plot, as PNG. Default: {default}.")
    if kind.repeats:
        flags.DEFINE_string("repeat", None, "A training in the results of --show to train again.")


class _Numbers(flags.ArgumentParser):
    """Numbers with commas between them."""

    def __init__(self, kind: type, minimum: float):
        super().__init__()
        self.kind, self.minimum = kind, minimum
        self.syntactic_help = f"{kind.__name__}s with commas between them"

    def parse(self, argument: str | tuple) -> tuple:
        if isinstance(argument, tuple):
            return argument
        try:
            values = tuple(self.kind(text) for text in argument.split(","))
        except ValueError:
            raise ValueError(f"it must be {self.syntactic_help}") from None
        if not all(self.minimum <= value < float("inf") for value in values):
            raise ValueError(f"each must be a finite number of at least {self.minimum:g}")
        if len(set(values)) < len(values):
            raise ValueError("each must be there once")
        return values


def define_numbers(name: str, kind: type, minimum: float, help: str) -> None:
    flags.DEFINE(_Numbers(kind, minimum), name, None, help)


def _flag(name: str) -> Any:
    return flags.FLAGS[name].value if name in flags.FLAGS else None


def _run(kind: type[Experiment]) -> int:
    try:
        if _flag("repeat") and not _flag("show"):
            raise UsageError("--repeat needs --show with a file of results. Received: no --show")
        if _flag("show"):
            _show(kind, _flag("show"))
        elif _flag("dry_run"):
            print(_listed(kind.from_flags().runs({})))
        else:
            _train(kind.from_flags())
    except KeyboardInterrupt as interruption:
        reason = str(interruption) or "interrupted"
        print(f"{reason}; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    return 0


def _show(kind: type[Experiment], shown: str | list[str]) -> None:
    paths = [shown] if isinstance(shown, str) else shown
    found = [results.read(path, "--show", kind.name) for path in paths]
    if _flag("repeat"):
        print(kind.from_flags().repeat(found[0], _flag("repeat")))
        return
    with results_of(", ".join(paths), "--show"):
        _finish(kind, found, pathlib.Path(paths[0]).parent)


def _train(experiment: Experiment) -> None:
    folder = pathlib.Path(_flag("output_dir") or experiment.folder)
    path = pathlib.Path(_flag("output") or folder / "results.json")
    before = _before(experiment, path) if experiment.keeps_results and path.exists() else {}
    progress = sweep.Sweep(experiment, folder, before)

    def gathered(rows: list[dict]) -> dict:
        return results.gather(experiment.name, experiment.settings, progress.planned, rows)

    def save(rows: list[dict]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        results.write(path, gathered(rows))
        results.write_table(path.with_suffix(".csv"), experiment.csv_rows(gathered(rows)))

    progress.train(experiment.processes, experiment.minutes, save)
    _finish(type(experiment), [gathered(progress.rows())], path.parent)


def _before(experiment: Experiment, path: pathlib.Path) -> dict[str, dict]:
    """The rows of a file of results, by name."""
    found = results.read(path, "--output", experiment.name)
    if found["settings"] != results.as_json(experiment.settings):
        raise RecipeError(
            f"--output must be new, or hold results of the same settings. Received: {path}"
        )
    with results_of(path, "--output"):
        environments = found["environments"]
        return {row["name"]: {**row, **environments[row["environment"]]} for row in found["rows"]}


def _finish(kind: type[Experiment], found: list[dict], folder: pathlib.Path) -> None:
    """Prints the tables, and draws."""
    if not all(each["rows"] for each in found):
        raise RecipeError(f"there are no results yet. Received: {folder}")
    print(kind.table(*found))
    missing = sum(each["planned"] - len(each["rows"]) for each in found)
    for name in kind.plot_flags:
        path = _flag(name) or (folder / kind.figure if kind.figure else None)
        if path:
            getattr(kind, name)(found[0], pathlib.Path(path))
            without = f", without {counted(missing, 'training')} not done yet" * (missing > 0)
            print(f"\n{path}{without}")


def _listed(runs: list[Run]) -> str:
    """The runs as a table."""
    shown = ("optimizer", "global_batch_size", "learning_rate", "warmup_epochs", "epochs")
    lines = []
    for run in runs:
        settings = {} if run.settings is None else dataclasses.asdict(run.settings)
        values = {name: tables.cell(settings[name]) for name in shown if name in settings}
        published = {"published, ImageNet, %": tables.cell(run.published)}
        lines.append({"training": run.name, "row": run.row, **values, **published})
    return frames.markdown(lines, texts=3)
