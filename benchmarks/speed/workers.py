"""The parent's side of `worker.py`: starts workers, sends requests, and reports how they ended."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from benchmarks.speed.contenders import FRAMEWORKS

ROOT = pathlib.Path(__file__).parents[2]


class WorkerError(RuntimeError):
    """A request failed. The message is one line. The worker may still be alive."""


class WorkerDied(WorkerError):  # noqa: N818
    """The worker has ended."""


class Process:
    """The process of one framework. Its workers are forks of it, one at a time.

    Use it in a `with` statement, which ends both.
    """

    def __init__(self, framework: str):
        # Closed in `__exit__`.
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.speed.worker", framework],
            cwd=ROOT,
            env=environment(FRAMEWORKS[framework].backend),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
        )
        assert self._process.stdin
        assert self._process.stdout
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._worker: int | None = None

    @contextlib.contextmanager
    def new_worker(self) -> Iterator[None]:
        """Starts a worker for the requests in the block, and ends it afterwards.

        Raises:
            WorkerDied: If it cannot be started.
        """
        self._worker = self.ask("start")
        try:
            yield
        finally:
            if self._worker is not None:
                os.kill(self._worker, signal.SIGKILL)  # it has nothing to save
                with contextlib.suppress(WorkerDied):
                    self._answer()

    def ask(self, do: str, **arguments: Any) -> Any:
        """Sends a request. Returns the worker's answer.

        Raises:
            WorkerDied: If the worker ended without an answer.
            WorkerError: If the request raised an error.
        """
        with contextlib.suppress(BrokenPipeError):
            self._requests.write(json.dumps({"do": do, **arguments}) + "\n")
            self._requests.flush()
        return self._answer()

    def _answer(self) -> Any:
        line = self._answers.readline()
        answer = json.loads(line) if line else {"ended": self._process.wait()}
        if "ended" in answer:
            self._worker = None
            raise WorkerDied(self._end(answer["ended"]))
        if "failed" in answer:
            raise WorkerError(answer["failed"])
        return answer["value"]

    def _end(self, status: int) -> str:
        if status < 0:
            return f"the worker was killed by {signal.Signals(-status).name}"
        self._errors.seek(0)
        last = (self._errors.read().strip().splitlines() or ["no message"])[-1]
        return f"the worker ended with status {status}: {last[:200]}"

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.kill()
        self._process.wait()
        for file in (self._requests, self._answers, self._errors):
            with contextlib.suppress(BrokenPipeError):
                file.close()


class Processes(contextlib.ExitStack):
    """The process of each framework, started on first use."""

    def __init__(self) -> None:
        super().__init__()
        self._by_framework: dict[str, Process] = {}

    def __getitem__(self, framework: str) -> Process:
        if framework not in self._by_framework:
            self._by_framework[framework] = self.enter_context(Process(framework))
        return self._by_framework[framework]


def environment(backend: str) -> dict[str, str]:
    """The environment of a process that measures a backend of Keras beside other processes."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "KERAS_BACKEND": backend,
        # Otherwise idle threads would spin for a while, in the time of another worker.
        "OMP_WAIT_POLICY": "PASSIVE",
        "KMP_BLOCKTIME": "0",
        # Several workers share one GPU.
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        # Keras asks torch for a GPU on import. This must not start CUDA, which a fork cannot use.
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    }
