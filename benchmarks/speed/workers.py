"""Processes that hold one framework each, and answer requests of the process that measures.

The process of a framework imports it, which takes seconds, and then forks a worker whenever it is
asked to. Between requests a worker only waits, so that the worker of another framework has the
machine to itself.
"""

import contextlib
import functools
import gc
import importlib
import multiprocessing
import os
import pathlib
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.speed import worker
from benchmarks.speed.contenders import FRAMEWORKS

ROOT = pathlib.Path(__file__).parents[2]
_SPAWN = multiprocessing.get_context("spawn")
# Elsewhere, frameworks may not survive a fork.
_FORK = multiprocessing.get_context("fork") if sys.platform == "linux" else _SPAWN


class Process(contextlib.AbstractContextManager):
    """The process of one framework. Its workers are forks of it, one at a time.

    Use it in a `with` statement, which ends both.
    """

    def __init__(self, framework: str):
        self._errors = tempfile.NamedTemporaryFile("r", errors="replace")  # noqa: SIM115
        self._requests, theirs = _SPAWN.Pipe()
        variables = environment(FRAMEWORKS[framework].backend)
        self._process = _SPAWN.Process(
            target=_start_workers, args=(framework, theirs, self._errors.name, variables)
        )
        self._process.start()
        theirs.close()
        self._ended = ""  # how the worker ended

    @contextlib.contextmanager
    def new_worker(self) -> Iterator[None]:
        """Starts a worker for the requests in the block, and ends it afterwards."""
        self._ended = ""
        self._worker: int = self.ask("start").get("process", 0)
        try:
            yield
        finally:
            if not self._ended:
                os.kill(self._worker, signal.SIGKILL)  # it has nothing to save
                self._answer()

    def ask(self, do: str, **arguments: Any) -> dict:
        """The worker's answer, or `{"failed": message}` if that raised an error or it has ended."""
        if self._ended:
            return {"failed": self._ended}
        with contextlib.suppress(BrokenPipeError):
            self._requests.send((do, arguments))
        return self._answer()

    def ask_new_worker(self, do: str, **arguments: Any) -> dict:
        """The answer of a worker that gets no other request."""
        with self.new_worker():
            return self.ask(do, **arguments)

    def _answer(self) -> dict:
        try:
            answer = self._requests.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            answer = {"ended": self._process.exitcode}
        if "ended" in answer:
            status = answer["ended"]
            how = how_ended(status, self._errors.read())
            ended = "was" if status < 0 else f"ended with status {status}:"
            self._ended = f"the worker {ended} {how}"
            return {"failed": self._ended}
        return answer

    def __exit__(self, *_: Any) -> None:
        self._process.kill()
        self._process.join()
        self._requests.close()
        self._errors.close()


ProcessOf = Callable[[str], Process]  # of a framework


@contextlib.contextmanager
def processes() -> Iterator[ProcessOf]:
    """A function for the process of a framework, which is started on first use."""
    with contextlib.ExitStack() as stack:
        yield functools.cache(lambda framework: stack.enter_context(Process(framework)))


def how_ended(status: int, errors: str) -> str:
    """The signal that killed a process, or the last line of its errors."""
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return (errors.strip().splitlines() or ["no message"])[-1][:300]


def environment(backend: str) -> dict[str, str]:
    """The variables of a process that measures a backend of Keras beside other processes."""
    return {
        "KERAS_BACKEND": backend,
        # Several workers share one GPU.
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        # Keras asks torch for a GPU on import. This must not start CUDA, which a fork cannot use.
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    }


def _start_workers(
    framework: str, requests: Connection, errors: str, variables: dict[str, str]
) -> None:
    """Starts workers. Answers with the process ID of each, and with its status when it ends."""
    with open(errors, "a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(variables)
    gc.disable()  # otherwise a collection might count as part of a step
    with contextlib.suppress(Exception):  # a worker reports the error
        importlib.import_module("keras_lars")
    gc.freeze()  # a collection would copy the memory that workers share with this process
    with contextlib.suppress(EOFError):
        while True:
            if requests.recv()[0] != "start":  # a request for a worker that had ended
                continue
            process = _FORK.Process(target=worker.serve, args=(framework, requests))
            process.start()
            requests.send({"process": process.pid})
            process.join()
            requests.send({"ended": process.exitcode})
