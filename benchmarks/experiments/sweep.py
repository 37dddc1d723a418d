"""Trains the runs of an experiment, several at a time if asked, and resumes where it stopped."""

import collections
import concurrent.futures
import dataclasses
import multiprocessing
import os
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from benchmarks.experiments import results
from benchmarks.recipe import RecipeError
from benchmarks.words import counted, duration

if TYPE_CHECKING:
    from benchmarks.experiments.experiment import Experiment

# A process is replaced after this many training runs, because frameworks keep some memory of each.
TRAININGS_PER_PROCESS = 25


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One training of an experiment."""

    name: str  # unique; also the name of its files
    label: Mapping[str, str | float]  # what distinguishes it; becomes columns of the results
    settings: Any  # a dataclass of what is trained; None while it depends on missing results
    row: str = ""  # name of the published row that it repeats, if any
    published: float | None = None  # top-1 accuracy of that row on ImageNet, in percent
    source: str = ""  # where that accuracy was published

    @property
    def network(self) -> str:
        """The network; times are estimated per network."""
        return str(self.label.get("network", ""))


class Sweep:
    """The runs of an experiment, and the results of those that are done.

    Args:
        experiment: The experiment.
        folder: Folder for the files of the runs.
        before: Results of runs that are already done, by name.

    Raises:
        RecipeError: If a run cannot be trained, or its files belong to another run.
    """

    def __init__(
        self, experiment: "Experiment", folder: pathlib.Path, before: Mapping[str, dict] = {}
    ):
        self._experiment, self._folder = experiment, folder
        runs = experiment.runs({})
        if not runs:
            raise RecipeError("there is nothing to train. Received: no runs")
        for name, count in collections.Counter(run.name for run in runs).items():
            if count > 1:
                raise RecipeError(f"runs must have different names. Received: {name} twice")
        self.planned = len(runs)
        self._images = {run.name: experiment.check(run, folder) for run in runs}
        found = {run.name: experiment.find(run, folder) or before.get(run.name) for run in runs}
        self.done = {name: result for name, result in found.items() if result is not None}
        self._measured: dict[str, float] = {}  # seconds per image, by network

    def runs(self) -> list[Run]:
        return self._experiment.runs(self.done)

    def waiting(self) -> list[Run]:
        return [run for run in self.runs() if run.name not in self.done]

    def finished(self) -> list[Run]:
        return [run for run in self.runs() if run.name in self.done]

    def found(self) -> dict:
        """The results of all runs that are done, as the result file holds them."""
        environments: list[dict] = []
        rows = []
        for run in self.finished():
            about = {name: getattr(run, name) for name in ("name", "row", "source", "published")}
            row = {**about, **self.done[run.name], "label": dict(run.label)}
            environment = {name: row.pop(name) for name in ("versions", "device")}
            if environment not in environments:
                environments.append(environment)
            rows.append({**row, "environment": environments.index(environment)})
        return {
            "experiment": self._experiment.name,
            "settings": self._experiment.settings,
            "environments": environments,
            "planned": self.planned,
            "rows": rows,
        }

    def train(
        self,
        processes: int = 0,
        minutes: float | None = None,
        save: Callable[[dict], None] = lambda found: None,
    ) -> None:
        """Trains all runs that are not done.

        Args:
            processes: Number of processes. Several processes use one core each. With 0, runs are
                trained one by one in this process, where Ctrl-C reaches them.
            minutes: No run is started after this many minutes; None for no limit.
            save: Called with the results so far: at the start if there are any, and after each run.

        Raises:
            KeyboardInterrupt: If it was interrupted. The same call continues. As after any other
                error, unfinished training runs are lost, and those that are done are saved.
        """
        started, at_once = time.perf_counter(), max(1, processes)
        running: dict[concurrent.futures.Future, Run] = {}
        pool = _process_pool(processes) if processes else _InThisProcess()
        try:
            self._measure(pool)
            images = sum(self._images[run.name] for run in self.waiting())
            print(
                f"{counted(self.planned, 'training run')}, {len(self.done)} done, "
                f"{images:,} images to train on{self._left(at_once)}",
                flush=True,
            )
            if self.done:
                save(self.found())
            while True:
                in_time = minutes is None or time.perf_counter() - started < 60 * minutes
                for run in self._ready(running, at_once) if in_time else ():
                    running[pool.submit(self._experiment.train, run, self._folder)] = run
                if not running:
                    return
                ended, _ = concurrent.futures.wait(running, return_when="FIRST_COMPLETED")
                for future in ended:
                    self.done[running[future].name] = future.result()
                    run = running.pop(future)
                    save(self.found())
                    reached = results.describe(self.done[run.name]["result"])
                    count = f"[{len(self.done)}/{self.planned}]"
                    print(f"{count} {run.name}: {reached}{self._left(at_once)}", flush=True)
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()  # otherwise `shutdown` would wait for its training
            ended = {each for each in running if each.done() and not each.exception()}
            self.done |= {running[future].name: future.result() for future in ended}
            if self.done:
                save(self.found())
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _ready(self, running: Mapping, at_once: int) -> list[Run]:
        """The next runs with known settings, as many as there are free processes."""
        busy = {run.name for run in running.values()}
        known = [r for r in self.waiting() if r.settings is not None and r.name not in busy]
        return known[: max(0, at_once - len(busy))]

    def seconds_left(self, at_once: int = 1) -> float | None:
        """The estimated time, from seconds per image of the same network, or else of all networks.

        None if nothing is known yet.
        """
        seconds: dict[str, float] = collections.defaultdict(float)
        images: dict[str, int] = collections.defaultdict(int)
        for run in self.finished():
            for network in (run.network, "all networks"):
                if trained_on := self._images_trained_on(run.name):
                    seconds[network] += self.done[run.name]["result"]["seconds"]
                    images[network] += trained_on
        paces = self._measured | {network: seconds[network] / images[network] for network in images}
        total = 0.0
        for run in self.waiting():
            pace = paces.get(run.network, paces.get("all networks"))
            if pace is None:
                return None
            total += pace * self._images[run.name]
        return total / at_once

    def _measure(self, pool: concurrent.futures.Executor) -> None:
        """Measures the pace of each network without finished runs, if the experiment can."""
        known = {run.network for run in self.finished()}
        first = {r.network: r for r in reversed(self.waiting()) if r.settings is not None}
        asked = {
            network: pool.submit(self._experiment.measure, run)
            for network, run in first.items()
            if network not in known
        }
        for network, found in asked.items():
            if (seconds := found.result()) is not None:
                self._measured[network] = seconds / self._images[first[network].name]

    def _left(self, at_once: int) -> str:
        seconds = self.seconds_left(at_once) if self.waiting() else None
        return "" if seconds is None else f"; about {duration(seconds)} left"

    def _images_trained_on(self, name: str) -> int:
        """The images that `seconds` were spent on: those after the resumption of a resumed run."""
        result, settings = self.done[name]["result"], self.done[name]["settings"]
        if "updates" not in result:
            return self._images[name]
        updates = result["updates"] - (result.get("resumed_at_update") or 0)
        return min(self._images[name], updates * settings["global_batch_size"])


class _InThisProcess(concurrent.futures.Executor):
    """An executor that runs tasks in this process, as soon as they are submitted."""

    def submit(self, function: Callable, /, *arguments: Any, **named: Any) -> Any:
        future: concurrent.futures.Future = concurrent.futures.Future()
        future.set_result(function(*arguments, **named))
        return future


def _process_pool(processes: int) -> concurrent.futures.ProcessPoolExecutor:
    options: dict[str, Any] = (
        {"max_tasks_per_child": TRAININGS_PER_PROCESS} if sys.version_info >= (3, 11) else {}
    )
    return concurrent.futures.ProcessPoolExecutor(
        processes,
        multiprocessing.get_context("spawn"),
        initializer=_begin_process,
        initargs=(processes > 1,),
        **options,
    )


def _begin_process(shares_the_machine: bool) -> None:
    """Prepares a process that trains: it ends with its parent, which decides about Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    if shares_the_machine:
        share_the_machine()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


def share_the_machine() -> None:
    """Limits this process to one core, and to the GPU memory that it needs.

    Call it before a framework is imported, if several run at the same time. By default JAX and
    TensorFlow take all memory of a GPU.
    """
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
