"""What a worker measures, for the process that started it (see `workers.py`)."""

import contextlib
import gc
import importlib
import timeit
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import environment
from benchmarks.speed import formulas, memory, variables
from benchmarks.speed.contenders import FRAMEWORKS, Contender
from benchmarks.speed.variables import CHECKED, TIMED, Hyperparameters, Shapes

if TYPE_CHECKING:
    from benchmarks.speed.contenders.on_keras import Model, Update

CHECKED_SHAPES = variables.network("checked")
TOLERANCE = 1e-5
_TINY: Shapes = {"tiny/kernel": (5, 7)}
_COPIES = 5
_LOCATIONS = ("File ", "Graph execution error", "Detected at node")


class Worker:
    """The requests that a worker answers, one method each."""

    def __init__(self, framework: str):
        module = FRAMEWORKS[framework].module
        self._framework = importlib.import_module(f"{__package__}.contenders.{module}")
        self._updates: dict[str, Update] = {}

    def hello(self, distributions: Sequence[str] = ()) -> dict:
        """The versions, including those of the given distributions, and the device."""
        return environment.record(*self._framework.MODULES, distributions=distributions)

    def check(self, contender: Contender, shapes: Shapes = CHECKED_SHAPES) -> dict:
        """The error of a contender, and whether it is within the tolerance."""
        if contender.formula is None:
            return {"error": 0.0, "right": True}
        update = self._build(contender, _model(shapes, CHECKED))
        for _ in range(formulas.STEPS):
            update.seconds()
        error = formulas.error(contender.formula, shapes, update.weights(), CHECKED)
        return {"error": error, "right": error <= TOLERANCE}

    def model(self, shapes: Shapes, copy_bytes: int) -> dict:
        """Measures the speed of memory, and makes the gradients that the contenders share.

        Returns:
            Gigabytes per second, read and written, of NumPy's copy and the framework's `x += 1`.
        """
        source = np.ones(copy_bytes // 4, np.float32)
        target = np.ones_like(source)
        copy = _speed(lambda: np.copyto(target, source), copy_bytes)
        add = _speed(self._framework.adder(copy_bytes // 4).step, copy_bytes)
        self._model = _model(shapes, TIMED)
        return {"numpy_copy": copy, "framework_add": add}

    def build(self, contender: Contender) -> dict:
        """Builds a contender. Returns the seconds of its first call, which traces and compiles.

        A step of a tiny model precedes it, so that costs of starting the framework do not count.
        """
        self._build(contender, _model(_TINY, TIMED)).seconds()
        update = self._updates[contender.key] = self._build(contender, self._model)
        return {"first_call_seconds": update.seconds(), "launches": update.launches()}

    def step(self, contender: Contender) -> dict:
        """Seconds of one update."""
        return {"seconds": self._updates[contender.key].seconds()}

    def memory(self, contender: Contender, shapes: Shapes) -> dict:
        """The peak memory of one step, less the memory of the process before it had variables.

        Use a new worker, and make no other request.
        """
        self._build(contender, _model(_TINY, TIMED)).seconds()
        baseline = self._settled()
        update = self._build(contender, _model(shapes, TIMED))
        for _ in range(2):
            update.seconds()
        settled = self._settled()
        update.prepare()
        high_water = self._high_water(update.step)
        if baseline is None or settled is None or high_water is None:
            return {"status": "not available: no /proc here"}
        parameters = variables.parameters(shapes)
        state = contender.state_bytes(parameters) + 4 * parameters
        return {
            "status": "measured",
            "state_bytes": state,
            "settled_bytes": settled - baseline,
            "high_water_bytes": high_water - baseline,
            "high_water_to_state": (high_water - baseline) / state,
        }

    def _build(self, contender: Contender, model: "Model") -> "Update":
        return getattr(self._framework, contender.build)(model, **contender.arguments)

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


def _model(shapes: Shapes, hyper: Hyperparameters) -> "Model":
    from benchmarks.speed.contenders import on_keras

    return on_keras.model(shapes, hyper)


def _speed(function: Callable[[], None], size_bytes: int) -> float:
    seconds = timeit.repeat(function, number=1, repeat=1 + _COPIES)[1:]  # without the first call
    return 2 * size_bytes / float(np.median(seconds)) / 1e9


def _message(error: Exception) -> str:
    """An error in one line, without TensorFlow's lines on where the graph was created."""
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith(_LOCATIONS)]
    return f"{type(error).__name__}: {' '.join(lines)}"[:300]


def serve(framework: str, requests: Connection) -> None:
    """Answers requests until there are no more."""
    gc.disable()  # otherwise a collection might count as part of a step
    worker = None
    with contextlib.suppress(EOFError):
        while True:
            do, arguments = requests.recv()
            try:
                worker = worker or Worker(framework)
                answer = getattr(worker, do)(**arguments)
            except Exception as error:
                answer = {"failed": _message(error)}
            gc.collect(0)
            requests.send(answer)
