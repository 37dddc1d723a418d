"""Runs a command as the workers of a cluster on this machine, to try out a distributed training.

python -m benchmarks.local_cluster --workers=2 -- python my_training.py --its_own_flags

The command is found as a shell finds it: `python` is the one in PATH. Each worker gets the
TF_CONFIG that `tf.distribute.MultiWorkerMirroredStrategy` expects. The output of the workers is
printed in whole lines, each with a label. A progress bar, which overwrites its line, is printed
once a second. When a worker fails, or on Ctrl-C, all workers and the processes that they started
are stopped. The exit status is that of the first worker that failed.

Needs a POSIX system, but neither Keras nor TensorFlow.
"""

import contextlib
import json
import math
import multiprocessing.connection
import os
import pathlib
import queue
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

from absl import flags

from benchmarks import command_line
from benchmarks.command_line import UsageError
from benchmarks.worker_lines import Lines


class _Ended(NamedTuple):
    """A worker has ended."""

    worker: int
    status: int  # negative if it was killed by a signal


class _Signal(NamedTuple):
    """The launcher has received a signal."""

    number: int


_Events = queue.SimpleQueue[_Ended | _Signal]

# An environment variable with a value unique to the worker. Processes that it starts inherit it.
_MARK = "KERAS_LARS_LOCAL_CLUSTER"

# Kills what a worker leaves behind, after the launcher has closed its standard input.
_GUARD = pathlib.Path(__file__).with_name("local_cluster_guard.sh")


class _Worker:
    """A process in its own process group, so that its children can be killed with it."""

    def __init__(
        self, command: Sequence[str], index: int, addresses: Sequence[str], events: _Events
    ) -> None:
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": addresses}, "task": task})
        self.index, self.events, self.guard = index, events, None
        self.mark = uuid.uuid4().hex
        self.left_behind: list[str] = []
        self.process = subprocess.Popen(
            command,
            # Otherwise Python would buffer thousands of bytes before it writes them.
            env={**os.environ, "PYTHONUNBUFFERED": "1", "TF_CONFIG": config, _MARK: self.mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        try:
            self.guard = subprocess.Popen(
                ["sh", _GUARD, str(self.process.pid), self.mark],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            threading.Thread(target=self._report, daemon=True).start()
        except BaseException:  # the caller has no reference to this worker yet
            self.clean_up()
            self.process.wait()
            raise

    def _report(self) -> None:
        self.events.put(_Ended(self.index, self.process.wait()))

    def send(self, number: int) -> None:
        """Sends a signal to the worker and its children."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: only zombies left
            os.killpg(self.process.pid, number)

    def clean_up(self) -> None:
        """Kills what a worker that ended has left. Call it before its process ID can be reused."""
        if self.guard is None:
            self.send(signal.SIGKILL)
            return
        names, _ = self.guard.communicate()
        self.left_behind = names.decode(errors="replace").splitlines()


def _print_message(message: str) -> None:
    with contextlib.suppress(OSError):
        _write(2, f"local_cluster: {message}\n".encode())


def _print_output(
    worker: _Worker, pipe: IO[bytes], target: int, finished: threading.Event, lock: threading.Lock
) -> None:
    """Prints what a worker writes to a pipe, as bytes of any encoding, in whole lines with a label.

    In a thread, because a blocked terminal must not delay the stopping of workers.
    """
    label, lines, is_open = f"[worker {worker.index}] ".encode(), Lines(), True
    while is_open:
        # Read before the wait, so that everything written before it was set is still copied.
        is_last = finished.is_set()
        found = []
        if multiprocessing.connection.wait([pipe.fileno()], timeout=0.1):
            chunk = os.read(pipe.fileno(), 1 << 16)
            found, is_open = lines.add(chunk), chunk != b""
        elif is_last:  # a process that left its group may hold the pipe open
            is_open = False
        found += lines.bar() if is_open else lines.rest()
        try:
            with lock:
                _write(target, b"".join(label + line + b"\n" for line in found))
        except OSError:  # the reader has closed the pipe, as `head` does
            worker.events.put(_Signal(signal.SIGPIPE))
    pipe.close()


def _write(target: int, text: bytes) -> None:
    """Writes without Python's buffers, whose locks a blocked thread would hold."""
    view = memoryview(text)
    while view:
        view = view[os.write(target, view) :]


def free_addresses(count: int) -> list[str]:
    """Unused addresses on this machine."""
    with contextlib.ExitStack() as stack:  # all are open at once, so that no port repeats
        servers = (socket.create_server(("127.0.0.1", 0)) for _ in range(count))
        ports = [stack.enter_context(server).getsockname()[1] for server in servers]
        return [f"127.0.0.1:{port}" for port in ports]


@contextlib.contextmanager
def _signals_into(events: _Events) -> Iterator[None]:
    """Turns signals that ask to stop into events, except ignored ones, as under `nohup`."""
    with contextlib.ExitStack() as stack:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                before = signal.signal(number, lambda number, frame: events.put(_Signal(number)))
                stack.callback(signal.signal, number, before)
        yield


def _next_event(events: _Events, until: float = math.inf) -> _Ended | _Signal | None:
    """The next event, or None if there is none in time."""
    while (left := until - time.monotonic()) > 0:
        with contextlib.suppress(queue.Empty):
            # Short waits, because on some platforms a signal does not interrupt a long one.
            return events.get(timeout=min(left, 0.2))
    return None


def _wait(running: dict[int, _Worker], events: _Events) -> tuple[int, str]:
    """Waits for success or a reason to stop. Returns the exit status and a message."""
    while running:
        match _next_event(events):
            case _Signal(number):
                name = signal.Signals(number).name
                return 128 + number, f"received {name}; stopped the workers"
            case _Ended(index, status):
                running.pop(index).clean_up()
                if status:
                    others = "; stopped the others" if running else ""
                    if status > 0:
                        return status, f"worker {index} exited with status {status}{others}"
                    how = f"signal {-status} ({signal.strsignal(-status)})"
                    return 128 - status, f"worker {index} was killed by {how}{others}"
    return 0, "every worker exited with status 0"


def _stop(running: dict[int, _Worker], events: _Events, grace_seconds: float) -> None:
    """Stops all running workers: by SIGTERM, and later by SIGKILL, because TensorFlow may hang."""
    for worker in running.values():
        worker.send(signal.SIGTERM)
    until = time.monotonic() + grace_seconds
    while running or not events.empty():
        match _next_event(events, until):
            case _Ended(index, _):
                running.pop(index).clean_up()
            case None:  # time is up; signals are ignored from here on
                for worker in running.values():
                    worker.send(signal.SIGKILL)
                until = math.inf


def run(command: Sequence[str], workers: int, grace_seconds: float = 5.0) -> int:
    """Runs a cluster to its end. Call it in the main thread, because it handles signals.

    Workers that are stopped get SIGTERM, and after `grace_seconds` SIGKILL.

    Returns:
        The exit status: 0 if all workers succeed, else the status of the first that failed. If a
        signal ended that worker or the cluster, it is 128 plus the number of the signal.

    Raises:
        UsageError: If the cluster cannot be started.
    """
    if workers < 1:
        raise UsageError(f"--workers must be at least 1. Received: {workers}")
    if not grace_seconds >= 0:
        raise UsageError(f"--grace_seconds must be at least 0. Received: {grace_seconds:g}")
    if not command:
        raise UsageError("no command was given; it comes last, after --")
    events: _Events = queue.SimpleQueue()
    running: dict[int, _Worker] = {}
    finished, lock = threading.Event(), threading.Lock()
    with _signals_into(events):
        try:
            try:
                addresses = free_addresses(workers)
                for index in range(workers):
                    running[index] = _Worker(command, index, addresses, events)
            except OSError as error:
                name = error.filename or command[0]
                raise UsageError(f"cannot start {name}: {error.strerror}") from error
            started, printers = list(running.values()), []
            for worker in started:
                for target, pipe in ((1, worker.process.stdout), (2, worker.process.stderr)):
                    place = (worker, pipe, target, finished, lock)
                    printers.append(threading.Thread(target=_print_output, args=place, daemon=True))
                    printers[-1].start()
            status, message = _wait(running, events)
        finally:
            _stop(running, events, grace_seconds)
        finished.set()
        # Print the remaining output, unless another signal arrives while the terminal is blocked.
        while events.empty() or events.get() == _Signal(signal.SIGPIPE):
            if not (printers := [printer for printer in printers if printer.is_alive()]):
                break
            printers[0].join(0.1)
        for worker in started:
            if worker.left_behind:
                left = "; ".join(worker.left_behind)
                _print_message(f"killed what worker {worker.index} left behind: {left}")
        _print_message(message)
    return status


if __name__ == "__main__":
    flags.DEFINE_integer("workers", 2, "Number of workers.")
    flags.DEFINE_float(
        "grace_seconds", 5.0, "Seconds from SIGTERM to SIGKILL for workers that are stopped."
    )
    command_line.run(
        lambda argv: run(argv[1:], flags.FLAGS.workers, flags.FLAGS.grace_seconds),
        arguments="command",
    )
