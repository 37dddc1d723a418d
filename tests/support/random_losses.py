"""Disturbs trainings on two and three workers at random moments, and reports what went wrong.

    PYTHONPATH=tests python -m support.random_losses --minutes=60 --seed=0 --output=losses.json

Each training starts again after each loss until it is finished. Its weights, velocities, averages
and statistics must equal those of an undisturbed training, bit for bit. After each loss, all
workers must end by themselves within a minute, for example with exit status 75. Workers are
processes on machines of a simulated network; where it cannot be set up, no links are cut. The
disturbances are:

- kill, kill_all: a worker, or all of them, get SIGKILL;
- stop: a worker gets SIGSTOP, and continues when the others have ended;
- kill_early, stop_early: the same, while the workers start;
- pause: a worker gets SIGSTOP, and continues before the others miss it: nothing must happen;
- cut, pull_out: the link of a worker is cut, at the switch or at its own end;
- part: of three workers, two no longer reach each other, but both reach the third;
- blink: a link is cut for a moment: nothing must happen.

The exit status is 1 if anything went wrong.
"""

import argparse
import collections
import contextlib
import datetime
import json
import os
import pathlib
import pickle
import platform
import random
import shutil
import signal
import sys
import tempfile
import time

from support import local_network
from support.forked_workers import Workers, fork

HEARTBEAT_SECONDS, STARTUP_SECONDS = 10.0, 40.0
EPOCHS, BATCH_SECONDS = 6, 0.1  # of ten batches
INTERRUPTED = 75
LIMIT_SECONDS = 60  # for each worker to end by itself
EARLY_SECONDS = 2.0  # most workers have started by then
NEED_A_NETWORK = ("cut", "pull_out", "part", "blink")
HARMLESS = ("pause", "blink")
EARLY = ("kill_early", "stop_early")
KINDS = ("kill", "kill_all", "stop", "pause", *EARLY, *NEED_A_NETWORK)


def train(folder, index):
    """Runs one worker; returns its exit status."""
    log = os.open(folder / f"{index}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    import keras
    import tensorflow as tf

    import keras_lars
    from keras_lars._cluster_start import StartError

    class Slowly(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            time.sleep(BATCH_SECONDS)

    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        strategy = keras_lars.multi_worker.strategy(
            STARTUP_SECONDS, heartbeat_seconds=HEARTBEAT_SECONDS
        )
        from support.cluster_scenarios import backed_up

        seen = backed_up(strategy, folder / "backup", Slowly(), epochs=EPOCHS)
    except (keras_lars.multi_worker.WorkerLostError, StartError) as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        return INTERRUPTED
    (folder / f"{index}.pickle").write_bytes(pickle.dumps(seen["all"]))
    return 0


class Losses:
    """The trainings, the disturbances, and their outcomes."""

    def __init__(self, seed, folder, network):
        self.random, self.folder, self.network = random.Random(seed), folder, network
        self.kinds = [kind for kind in KINDS if network or kind not in NEED_A_NETWORK]
        self.finished, self.starts = collections.Counter(), collections.Counter()
        self.happened = {count: collections.Counter() for count in (2, 3)}
        self.seconds = {}  # the longest time until all had ended, by kind
        self.faults = []

    def start(self, count, place):
        addresses = [f"127.0.0.1:{2222 + i}" for i in range(count)]
        if self.network:
            addresses = [f"{local_network.address(i)}:2222" for i in range(count)]
        self.starts[count] += 1
        return Workers(lambda index: train(place, index), addresses, self.network)

    def undisturbed(self, count):
        place = self.folder / f"whole_{count}"
        place.mkdir()
        started = time.monotonic()
        workers = self.start(count, place)
        workers.wait(600)
        workers.end()
        if any(workers.statuses):
            sys.exit(f"error: nothing happened, and yet: {workers.statuses}; see {place}")
        return place, time.monotonic() - started

    def disturbed(self, whole, count, seconds):
        """Runs one training to its end, with as many restarts as it needs."""
        number = self.finished.total()
        place = self.folder / f"training_{number}"
        place.mkdir()
        while True:
            workers = self.start(count, place)
            kinds = [kind for kind in self.kinds if count > 2 or kind != "part"]
            kind, index = self.random.choice(kinds), self.random.randrange(count)
            # Each restart has less left to do, so that some disturbances come too late to matter.
            latest = EARLY_SECONDS if kind in EARLY else 0.8 * seconds
            workers.wait(self.random.uniform(0, latest), lambda s: None not in s or any(s))
            if None in workers.poll():
                self.happened[count][kind] += 1
                with contextlib.suppress(local_network.NoNamespacesError):  # it has just ended
                    if not self.disturb(workers, kind, index):
                        self.report("took more than a minute", place, kind, workers.statuses)
            if not workers.wait(4 * seconds + LIMIT_SECONDS):
                self.report("hung", place, kind, workers.statuses)
            workers.end()
            if not any(workers.statuses):
                break
            if unexpected := set(workers.statuses) - {0, INTERRUPTED, -signal.SIGKILL}:
                self.report(f"ended with {sorted(unexpected)}", place, kind, workers.statuses)
        self.finished[count] += 1
        for i in range(count):
            again, expected = (
                pickle.loads((one / f"{i}.pickle").read_bytes()) for one in (place, whole)
            )
            if [a.tobytes() for a in again] != [b.tobytes() for b in expected]:
                self.report("other bits", place, "at the end", [i])
        if not any(fault.endswith(place.name) for fault in self.faults):
            shutil.rmtree(place)

    def disturb(self, workers, kind, index):
        """Disturbs a worker; returns whether all workers that should end did so in time."""
        process, started = workers.processes[index], time.monotonic()
        stops = ("stop", "stop_early", "pause")
        if kind in ("kill", "kill_early"):
            workers.send(index, signal.SIGKILL)
        elif kind == "kill_all":
            for i in range(len(workers.processes)):
                workers.send(i, signal.SIGKILL)
        elif kind in stops:
            workers.send(index, signal.SIGSTOP)
        elif kind == "pull_out":
            self.network.pull_out(process)
        elif kind == "part":
            self.network.part(*(other for other in range(3) if other != index))
        else:
            self.network.cut(index)
        if kind in HARMLESS:
            time.sleep(self.random.uniform(0, 0.3 * HEARTBEAT_SECONDS))
        in_time = True
        if kind in ("stop", "stop_early"):
            in_time = workers.wait(LIMIT_SECONDS, lambda s: sum(one is None for one in s) <= 1)
        if kind in stops:
            workers.send(index, signal.SIGCONT)
        if kind == "blink":
            self.network.mend(index)
        if kind not in HARMLESS:
            in_time = workers.wait(LIMIT_SECONDS) and in_time
            seconds = time.monotonic() - started
            self.seconds[kind] = max(self.seconds.get(kind, 0.0), round(seconds, 1))
        return in_time

    def report(self, what, place, kind, statuses):
        self.faults.append(f"{what}: {kind}, {statuses}, {place.name}")
        print(f"{self.faults[-1]}; see {place}", flush=True)

    def summary(self):
        return {
            "trainings_finished": dict(self.finished),
            "starts": dict(self.starts),
            "happened": {count: dict(kinds) for count, kinds in self.happened.items()},
            "longest_seconds_until_all_ended": self.seconds,
            "lost": self.faults,
        }


def run(options, folder):
    try:
        network, without = local_network.Network(), None
    except local_network.NoNamespacesError as error:
        network, without = None, str(error)
        print(f"no links are cut: {error}", flush=True)
    started = time.monotonic()
    losses = Losses(options.seed, folder, network)
    whole = {count: losses.undisturbed(count) for count in (2, 3)}
    while time.monotonic() - started < 60 * options.minutes:
        count = losses.random.choice((2, 3))
        losses.disturbed(whole[count][0], count, whole[count][1])
        print(json.dumps(losses.summary()), flush=True)
    result = {
        "date": datetime.date.today().isoformat(),
        "versions": versions(),
        "seed": options.seed,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "heartbeat_seconds": HEARTBEAT_SECONDS,
        "without_a_network": without,
        **losses.summary(),
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if losses.faults else 0


def versions():
    import keras
    import numpy as np
    import tensorflow as tf

    import keras_lars

    modules = {"keras_lars": keras_lars, "keras": keras, "tensorflow": tf, "numpy": np}
    found = {name: module.__version__ for name, module in modules.items()}
    return {**found, "python": platform.python_version(), "system": platform.platform()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="After these none is begun.")
    parser.add_argument("--seed", type=int, default=0, help="Of what happens, and when.")
    parser.add_argument("--output", type=pathlib.Path, default="random_losses.json")
    options = parser.parse_args()
    import tensorflow  # noqa: F401  once for all workers

    import keras_lars  # noqa: F401

    folder = pathlib.Path(tempfile.mkdtemp(prefix="random_losses_"))
    # In a fork, since the process that becomes a switch must have no threads.
    process = fork(run, options, folder)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status == 0:
        shutil.rmtree(folder)
    sys.exit(status)


if __name__ == "__main__":
    main()
