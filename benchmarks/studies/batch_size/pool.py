"""Trains what is waiting, some of it at once, until nothing is or the time is over."""

import concurrent.futures
import dataclasses
import multiprocessing
import sys
import time

from benchmarks.studies.batch_size import images, training
from benchmarks.studies.batch_size.runs import Run, Study
from benchmarks.words import duration

# A process is replaced after so many trainings: what frameworks keep of each adds up.
TRAININGS_OF_A_PROCESS = 25


def run(study: Study, processes: int, data_dir: str | None, minutes: float = float("inf")) -> None:
    """Trains all that is waiting.

    Args:
        study: What; results are kept in it as they come.
        processes: How many at once. With more than one, each has one core.
        data_dir: Of Fashion-MNIST.
        minutes: After which nothing more is begun.
    """
    started, total = time.perf_counter(), len(list(study.runs()))
    pool = _pool(processes)
    running: dict[concurrent.futures.Future, tuple] = {}
    try:
        while True:
            in_time = time.perf_counter() - started < 60 * minutes
            for ready in _ready(study, running, processes) if in_time else ():
                asked = study.training(ready)
                running[pool.submit(training.train, asked, data_dir)] = ready, asked
            if not running:
                return
            done, _ = concurrent.futures.wait(running, return_when="FIRST_COMPLETED")
            for future in done:
                finished, asked = running.pop(future)
                study.keep(finished, asked, future.result())
                print(_told(study, finished, total, processes), flush=True)
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(processes: int) -> concurrent.futures.ProcessPoolExecutor:
    options = {"max_tasks_per_child": TRAININGS_OF_A_PROCESS} if sys.version_info >= (3, 11) else {}
    return concurrent.futures.ProcessPoolExecutor(
        processes,
        multiprocessing.get_context("spawn"),
        initializer=training.use_one_core if processes > 1 else None,
        **options,
    )


def budget(study: Study, processes: int, data_dir: str | None) -> float:
    """The seconds that what is waiting will take: epochs, times the measured seconds of one.

    Measured on two epochs of each network of which nothing is done, at the largest batch but one.
    """
    total = 0.0
    with _pool(processes) as pool:
        for network in study.form.networks:
            waiting = [run for run in study.waiting() if run.network == network]
            done = [r["seconds"] for run, r in study.results.items() if run.network == network]
            if done:
                each = sum(done) / len(done)
            elif waiting:
                asked = next(filter(None, map(study.training, waiting)))
                batch = sorted(study.form.batches)[-2:][0]
                asked = dataclasses.replace(asked, batch=batch, epochs=2)
                found = pool.submit(training.train, asked, data_dir).result()
                part = images.load(data_dir, asked.image_size, asked.data)["training"]
                of_epoch = len(part.labels) / found["images_per_second"]
                each = found["seconds"] + (study.form.epochs - 2) * of_epoch
            total += len(waiting) * each if waiting else 0.0
    return total / processes


def _ready(study: Study, running: dict, processes: int) -> list[Run]:
    """As many as there are processes free, of those whose setting is known."""
    busy = {run for run, _ in running.values()}
    found: list[Run] = []
    for run in study.waiting():
        if len(found) + len(busy) >= processes:
            break
        if run not in busy and study.training(run) is not None:
            found.append(run)
    return found


def _told(study: Study, run: Run, total: int, processes: int) -> str:
    result = study.results[run]
    reached = "diverged" if result["diverged"] else f"{result['test_accuracy']:.1%}"
    left = seconds_left(study, processes)
    return (
        f"[{len(study.results)}/{total}] {run.name}: {reached} in {result['seconds']:.0f} s; "
        f"about {duration(left)} left"
    )


def seconds_left(study: Study, processes: int) -> float:
    """By the seconds that trainings of the same network took so far."""
    total = 0.0
    for network in study.form.networks:
        seconds = [r["seconds"] for run, r in study.results.items() if run.network == network]
        if not seconds:  # not measured yet: as the others
            seconds = [r["seconds"] for r in study.results.values()]
        waiting = sum(run.network == network for run in study.waiting())
        total += waiting * sum(seconds) / max(1, len(seconds))
    return total / processes
