"""The parent's side of `worker.py`: starts a worker, asks it, and says how it died."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks.update_cost.contenders import FRAMEWORKS

_ROOT = pathlib.Path(__file__).parents[2]


class WorkerError(RuntimeError):
    """A request that failed: the message is one line. The worker may be alive."""


class WorkerDied(WorkerError):  # noqa: N818
    """There is no worker any more."""


class Process:
    """A running worker. Use it in a `with` statement, which ends it."""

    def __init__(self, framework: str):
        self.framework = framework
        # Closed in `__exit__`.
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.update_cost.worker", framework],
            cwd=_ROOT,
            env=_environment(FRAMEWORKS[framework].backend),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
        )

    def ask(self, do: str, **arguments: Any) -> Any:
        """The worker's answer.

        Raises:
            WorkerDied: If there is none, since the process ended.
            WorkerError: If what was asked raised an error.
        """
        line = ""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise WorkerDied(self._end())
        answer = json.loads(line)
        if "failed" in answer:
            raise WorkerError(answer["failed"])
        return answer["value"]

    def _end(self) -> str:
        status = self._process.wait()
        if status < 0:
            return f"the worker was ended by {signal.Signals(-status).name}"
        self._errors.seek(0)
        last = (self._errors.read().strip().splitlines() or ["no message"])[-1]
        return f"the worker ended with status {status}: {last[:200]}"

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.kill()  # it has nothing to save
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(BrokenPipeError):
                file.close()


def _environment(backend: str) -> dict[str, str]:
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "KERAS_BACKEND": backend,
        # Threads that wait for work would spin for a while, in another worker's time.
        "OMP_WAIT_POLICY": "PASSIVE",
        "KMP_BLOCKTIME": "0",
        # Several workers share one GPU.
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
