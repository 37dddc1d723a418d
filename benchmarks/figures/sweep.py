"""Trains the points of a figure one after the other; given again, goes on where it was."""

import contextlib
import dataclasses
import gc
import pathlib
import time
from collections.abc import Callable, Sequence

from benchmarks import run_folder
from benchmarks.figures.point import Point
from benchmarks.plan import make_plan
from benchmarks.recipe import Execution, Recipe, RecipeError
from benchmarks.words import counted, duration

Train = Callable[[Recipe, Execution], dict]


@dataclasses.dataclass(frozen=True)
class Run:
    """A point with its run folder.

    Attributes:
        point: What is trained.
        execution: How, and where to.
        image_epochs: Images that it trains on, each as often as there are epochs.
    """

    point: Point
    execution: Execution
    image_epochs: int

    @property
    def folder(self) -> pathlib.Path:
        return pathlib.Path(self.execution.output_dir)

    @property
    def result(self) -> dict | None:
        """What it reached, once it is finished."""
        return run_folder.result(self.folder)


def run(
    points: Sequence[Point],
    folder: pathlib.Path,
    execution: Execution,
    train: Train | None = None,
    *,
    records_per_epoch: int = 0,
    updates: int | None = None,
    save: Callable[[list[Run]], None] = lambda finished: None,
) -> list[Run]:
    """Trains all points that are not finished yet, each in `folder/runs/NAME`.

    All of them are checked before the first one starts. One that diverges is finished.

    Args:
        points: What to train, in order.
        folder: Of the figure.
        execution: How; its `output_dir` and `resume` are those of each run.
        train: As `benchmarks.loop.train`, which is the default.
        records_per_epoch: How often norms and ratios are recorded.
        updates: How many each point has, if `train` ends earlier than its recipe.
        save: Called with all finished runs at the start, if there are any, and after each point.

    Returns:
        The finished runs.

    Raises:
        RecipeError: If a point cannot be trained, or its folder holds another run.
        KeyboardInterrupt: If it was interrupted; the same call goes on.
    """
    _check_names(points)
    runs = [_check(point, folder, execution, records_per_epoch, updates) for point in points]
    finished = [run for run in runs if run.result is not None]
    image_epochs = sum(run.image_epochs for run in runs)
    print(
        f"{counted(len(runs), 'point')}, {len(finished)} of them finished, "
        f"{counted(image_epochs, 'image-epoch', spec=',')} in all; see {folder / 'runs'}/*.log",
        flush=True,
    )
    if finished:
        save(finished)
    for number, current in enumerate(runs, 1):
        if current.result is None:
            result = _train(current, train or _train_in_this_process)
            finished = [run for run in runs if run.result is not None]
            save(finished)
            left = estimate([run for run in runs if run.result is None], finished)
            print(f"[{number}/{len(runs)}] {current.point.name}: {told(result)}{left}", flush=True)
    return finished


def estimate(waiting: list[Run], finished: list[Run]) -> str:
    """How long the rest takes, by the seconds an image that the finished ones took."""
    seconds = sum(run.result["seconds"] for run in finished)
    images = sum(_images(run) for run in finished)
    if not waiting or not images:
        return ""
    left = seconds / images * sum(run.image_epochs for run in waiting)
    return f"; about {duration(left)} left"


def told(result: dict) -> str:
    """What a run reached, in words."""
    if result["diverged"]:
        text = f"diverged at update {result['diverged_at_update']}"
    elif result["validation_accuracy"] is None:
        text = "done"
    else:
        text = f"{result['validation_accuracy']:.1%}"
    return f"{text} in {result['seconds']:.0f} s"


def _images(run: Run) -> int:
    """Those that `seconds` were spent on: a resumed run counts from where it went on."""
    updates = run.result["updates"] - (run.result.get("resumed_at_update") or 0)
    return updates * run.point.recipe.global_batch_size


def _check_names(points: Sequence[Point]) -> None:
    if not points:
        raise RecipeError("there is nothing to train. Received: no points")
    names = [point.name for point in points]
    for name in names:
        if names.count(name) > 1:
            raise RecipeError(
                "--seeds, --batches and --learning_rates must not have a value twice. "
                f"Received: {name} twice"
            )


def _check(
    point: Point,
    folder: pathlib.Path,
    execution: Execution,
    records_per_epoch: int,
    updates: int | None,
) -> Run:
    """The run of a point, or one line about why it cannot be."""
    execution = dataclasses.replace(
        execution, output_dir=str(folder / "runs" / point.name), resume=True, save_model=False
    )
    try:
        plan = make_plan(point.recipe, execution)
    except RecipeError as error:
        raise RecipeError(f"{point.name}: {error}") from error
    if records_per_epoch:
        every = max(1, plan.updates_per_epoch // records_per_epoch)
        execution = dataclasses.replace(execution, record_trust_ratios_every=every)
    return Run(point, execution, (updates or plan.updates) * point.recipe.global_batch_size)


def _train(run: Run, train: Train) -> dict:
    """Trains a point; what it prints goes to a file beside its folder."""
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    log = run.folder.with_name(run.folder.name + ".log")
    with log.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file):
        print(time.strftime("%Y-%m-%d %H:%M:%S"))
        return train(run.point.recipe, run.execution)


def _train_in_this_process(recipe: Recipe, execution: Execution) -> dict:
    import keras

    from benchmarks import loop

    # Or each run would keep the graphs of all before it.
    keras.backend.clear_session()
    gc.collect()
    return loop.train(recipe, execution)
