"""The workers of one framework. A worker answers requests, each one line of JSON.

`python -m benchmarks.speed.worker tensorflow` imports the framework, which takes seconds, and then
forks whenever it is asked to start a worker. The worker reads requests from standard input and
answers each with one line. Between requests it only waits for input, so that the worker of another
framework has the machine to itself. `workers.py` is the parent's side.
"""

import contextlib
import gc
import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import numpy as np

from benchmarks import environment
from benchmarks.speed import formulas, memory, variables
from benchmarks.speed.contenders import BY_KEY, FRAMEWORKS, Update
from benchmarks.speed.variables import Hyperparameters, Shapes

# Shapes that no model has, so that a check compiles nothing that a timed first call would reuse.
# Sizes are below and above thresholds of algorithms for sums. Some variables are alike, because
# such variables may be updated together.
CHECKED_SHAPES: Shapes = {
    **{f"convolution{i}/kernel": (3, 3, 7, 11) for i in range(3)},
    "convolution/bias": (11,),
    "normalization/gamma": (13,),
    "normalization/beta": (13,),
    "dense/kernel": (211, 307),
    "dense/bias": (307,),
}
CHECKED_STEPS = 3
TOLERANCE = 1e-5
_TINY: Shapes = {"tiny/kernel": (5, 7)}
_COPIES = 5
_LOCATIONS = ("File ", "Graph execution error", "Detected at node")


class Worker:
    """The requests that a worker answers, one method each."""

    def __init__(self, framework: str):
        self._framework = importlib.import_module(
            f"{__package__}.contenders.{FRAMEWORKS[framework].module}"
        )
        self._shapes: Shapes = {}
        self._gradients: list = []
        self._updates: dict[str, Update] = {}

    def hello(self, distributions: list[str]) -> dict:
        """The versions, including those of the given distributions, and the device."""
        versions = environment.versions(*self._framework.MODULES)
        for name in distributions:
            versions[name] = importlib.metadata.version(name)
        return {"versions": versions, "device": environment.device()}

    def check(self, contender: str, shapes: dict[str, list[int]] | None = None) -> dict:
        """The error of a contender, and whether it is within the tolerance."""
        formula = BY_KEY[contender].formula
        if formula is None:
            return {"error": 0.0, "right": True}
        hyper = variables.CHECKED
        checked = {path: tuple(shape) for path, shape in (shapes or CHECKED_SHAPES).items()}
        gradients = self._framework.gradients(checked, hyper)
        update = self._build(contender, checked, gradients, hyper)
        for _ in range(CHECKED_STEPS):
            update.prepare()
            update.step()
        start = {
            path: (variables.weight(i, shape), variables.gradient(i, shape, hyper))
            for i, (path, shape) in enumerate(checked.items())
        }
        error = formulas.error(formula, start, update.weights(), CHECKED_STEPS, hyper)
        return {"error": error, "right": error <= TOLERANCE}

    def model(self, shapes: dict[str, list[int]]) -> None:
        """Removes all contenders, and makes the gradients that the next ones share."""
        self._updates.clear()
        self._gradients = []
        gc.collect()
        self._shapes = {path: tuple(shape) for path, shape in shapes.items()}
        self._gradients = self._framework.gradients(self._shapes, variables.TIMED)

    def build(self, contender: str) -> float:
        """Builds a contender. Returns the seconds of its first call, which traces and compiles.

        A step of a tiny model precedes it, so that costs of starting the framework do not count.
        """
        self._step_tiny(contender)
        update = self._build(contender, self._shapes, self._gradients, variables.TIMED)
        self._updates[contender] = update
        return _seconds_of(update)

    def launches(self, contender: str) -> int | None:
        """The number of XLA clusters that a step of a built contender launches."""
        return self._updates[contender].launches()

    def step(self, contender: str) -> float:
        """Seconds of one update."""
        return _seconds_of(self._updates[contender])

    def memory_speed(self, size_bytes: int) -> dict:
        """Gigabytes per second, read and written, of NumPy's copy and the framework's `x += 1`."""
        copy = _copier(size_bytes // 4)
        speeds = {"numpy_copy": _speed(copy, size_bytes)}
        del copy
        speeds["framework_add"] = _speed(self._framework.adder(size_bytes // 4), size_bytes)
        return speeds

    def memory(self, contender: str, shapes: dict[str, list[int]]) -> dict:
        """The peak memory of one step, less the memory of the process before it had variables.

        Use a new worker, and make no other request.
        """
        self._step_tiny(contender)
        baseline = self._settled()
        self.model(shapes)
        update = self._build(contender, self._shapes, self._gradients, variables.TIMED)
        for _ in range(2):
            update.prepare()
            update.step()
        settled = self._settled()
        update.prepare()
        high_water = self._high_water(update.step)
        if baseline is None or settled is None or high_water is None:
            return {"status": "not available: no /proc here"}
        parameters = variables.parameters(self._shapes)
        state = BY_KEY[contender].state_bytes(parameters) + 4 * parameters
        return {
            "status": "measured",
            "state_bytes": state,
            "settled_bytes": settled - baseline,
            "high_water_bytes": high_water - baseline,
            "high_water_to_state": (high_water - baseline) / state,
        }

    def _step_tiny(self, contender: str) -> None:
        gradients = self._framework.gradients(_TINY, variables.TIMED)
        tiny = self._build(contender, _TINY, gradients, variables.TIMED)
        tiny.prepare()
        tiny.step()

    def _build(self, key: str, shapes: Shapes, gradients: list, hyper: Hyperparameters) -> Update:
        contender = BY_KEY[key]
        build = getattr(self._framework, contender.build)
        return build(shapes, gradients, hyper, **contender.arguments)

    def _settled(self) -> int | None:
        """Bytes in use between steps, on the GPU if there is one, else by the process."""
        gc.collect()
        gpu = self._framework.gpu_memory()
        return gpu[0] if gpu else memory.settled_bytes()

    def _high_water(self, function: Callable[[], None]) -> int | None:
        if not self._framework.gpu_memory(reset_peak=True):
            return memory.high_water_bytes(function)
        function()
        return self._framework.gpu_memory()[1]


def _seconds_of(update: Update) -> float:
    update.prepare()
    start = time.perf_counter()
    update.step()
    return time.perf_counter() - start


def _copier(elements: int) -> Callable[[], None]:
    source = np.ones(elements, np.float32)
    target = np.ones_like(source)
    return lambda: np.copyto(target, source)


def _speed(function: Callable[[], None], size_bytes: int) -> float:
    function()  # first call
    seconds = []
    for _ in range(_COPIES):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return 2 * size_bytes / float(np.median(seconds)) / 1e9


def _message(error: Exception) -> str:
    """An error in one line, without TensorFlow's lines on where the graph was created."""
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith(_LOCATIONS)]
    return f"{type(error).__name__}: {' '.join(lines)}"[:300]


def serve(framework: str, answers: TextIO) -> None:
    """Answers requests until standard input ends."""
    worker = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if worker is None:
                worker = Worker(framework)
            answer: dict[str, Any] = {"value": getattr(worker, request.pop("do"))(**request)}
        except Exception as error:
            answer = {"failed": _message(error)}
        gc.collect(0)
        _send(answers, answer)


def _send(answers: TextIO, answer: dict) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def start_workers(framework: str, answers: TextIO) -> None:
    """Starts workers. Answers with the process ID of each, and with its exit code when it ends."""
    with contextlib.suppress(Exception):  # a worker reports the error
        importlib.import_module("keras_lars")
    gc.freeze()  # a collection would copy the memory that workers share with this process
    for line in sys.stdin:
        if json.loads(line)["do"] != "start":  # a request for a worker that had ended
            continue
        if sys.platform == "linux":
            worker = os.fork()
            if not worker:
                serve(framework, answers)
                os._exit(0)
        else:  # elsewhere, frameworks may not survive a fork
            command = [sys.executable, "-m", __spec__.name, framework, "serve"]
            worker = subprocess.Popen(command, stdout=answers).pid
        _send(answers, {"value": worker})
        _send(answers, {"ended": os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])})


def main(framework: str, task: str = "start_workers") -> None:
    # Answers go to a copy of standard output, so that output of libraries is not taken for one.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    gc.disable()  # otherwise a collection might count as part of a step
    {"start_workers": start_workers, "serve": serve}[task](framework, answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
