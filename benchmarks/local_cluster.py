"""Runs a command as the workers of a cluster on this machine, to try out a distributed training.

python -m benchmarks.local_cluster --workers=2 -- python my_training.py --its_own_flags

Each worker gets the TF_CONFIG that `tf.distribute.MultiWorkerMirroredStrategy` expects. The output
of the workers is printed in whole lines, each with a label. A progress bar, which overwrites its
line, is printed once a second. When a worker fails, or on Ctrl-C, all workers and the processes
that they started are stopped. The exit status is that of the first worker that failed.

Needs a POSIX system, but neither Keras nor TensorFlow.
"""

import contextlib
import dataclasses
import json
import math
import os
import queue
import selectors
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import IO, cast

from absl import flags

from benchmarks import command_line
from benchmarks.command_line import UsageError
from benchmarks.worker_lines import Lines


@dataclasses.dataclass(frozen=True)
class _Ended:
    """A worker has ended."""

    index: int
    status: int  # negative if it was killed by a signal


@dataclasses.dataclass(frozen=True)
class _Signal:
    """The launcher has received a signal."""

    number: int


_Events = queue.SimpleQueue[_Ended | _Signal]

# An environment variable with a value unique to the worker. Processes that it starts inherit it.
_MARK = "KERAS_LARS_LOCAL_CLUSTER"

# A shell script that kills what a worker leaves behind. It waits for its standard input to close.
# The launcher closes it once the worker has ended, and it also closes when the launcher ends, even
# by SIGKILL. The guard is in another process group, so it can kill the whole group of the worker.
# With a /proc it also kills processes that have left the group, and prints their names.
_GUARD = """
trap "" PIPE
read line
kill -s KILL -- "-$1"
for file in $(grep -ls "$2" /proc/[0-9]*/environ); do
  number=${file#/proc/}
  number=${number%/environ}
  name=$(cat "/proc/$number/comm")
  kill -s KILL "$number" && echo "$name, process $number"
done
"""


class LaunchError(UsageError):
    """The cluster cannot be started. The message is one line."""


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
            env={
                **os.environ,
                "PYTHONUNBUFFERED": "1",
                "TF_CONFIG": config,
                _MARK: self.mark,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        try:
            self.guard = subprocess.Popen(
                ["sh", "-c", _GUARD, "sh", str(self.process.pid), self.mark],
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


@dataclasses.dataclass(frozen=True, eq=False)
class _Stream:
    """A pipe that a worker writes to, and where its lines are printed."""

    pipe: IO[bytes]
    label: bytes
    target: int  # a file descriptor of the launcher
    lines: Lines = dataclasses.field(default_factory=Lines)


class _Printer(threading.Thread):
    """Prints the output of the workers in whole lines with a label, as bytes of any encoding.

    A thread, because a blocked terminal must not delay the stopping of workers.
    """

    def __init__(self, workers: Sequence[_Worker], events: _Events) -> None:
        super().__init__(daemon=True)
        self.events = events
        self.finished = threading.Event()
        self.broken = False
        self.selector = selectors.DefaultSelector()
        for worker in workers:
            label = f"[worker {worker.index}] ".encode()
            for pipe, target in ((worker.process.stdout, 1), (worker.process.stderr, 2)):
                stream = _Stream(cast(IO[bytes], pipe), label, target)
                self.selector.register(stream.pipe, selectors.EVENT_READ, stream)

    def run(self) -> None:
        while streams := [key.data for key in self.selector.get_map().values()]:
            # Read before `select`, so that everything written before it was set is still copied.
            finished = self.finished.is_set()
            ready = [key.data for key, _ in self.selector.select(timeout=0.1)]
            for stream in streams:
                if stream in ready:
                    self._copy(stream)
                self._print(stream, stream.lines.bar())
                if finished and not ready:  # a process that left its group may hold a pipe open
                    self._close(stream)
        self.selector.close()

    def _copy(self, stream: _Stream) -> None:
        if chunk := os.read(stream.pipe.fileno(), 1 << 16):
            self._print(stream, stream.lines.add(chunk))
        else:
            self._close(stream)

    def _close(self, stream: _Stream) -> None:
        self._print(stream, stream.lines.rest())
        self.selector.unregister(stream.pipe)
        stream.pipe.close()

    def _print(self, stream: _Stream, lines: list[bytes]) -> None:
        if not lines:
            return
        try:
            _write(stream.target, b"".join(stream.label + line + b"\n" for line in lines))
        except OSError:  # the reader has closed the pipe, as `head` does
            if not self.broken:
                self.events.put(_Signal(signal.SIGPIPE))
            self.broken = True


def _write(target: int, text: bytes) -> None:
    """Writes without Python's buffers, whose locks a blocked thread would hold."""
    view = memoryview(text)
    while view:
        view = view[os.write(target, view) :]


def free_addresses(count: int) -> list[str]:
    """Unused addresses on this machine."""
    with contextlib.ExitStack() as stack:  # all are open at once, so that no port repeats
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


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

    Args:
        command: What each worker runs, with its arguments.
        workers: Number of workers.
        grace_seconds: Seconds from SIGTERM to SIGKILL for workers that are stopped.

    Returns:
        The exit status: 0 if all workers succeed, else the status of the first that failed. If a
        signal ended that worker or the cluster, it is 128 plus the number of the signal.

    Raises:
        LaunchError: If the cluster cannot be started.
    """
    if workers < 1:
        raise LaunchError(f"--workers must be at least 1. Received: {workers}")
    if not grace_seconds >= 0:
        raise LaunchError(f"--grace_seconds must be at least 0. Received: {grace_seconds:g}")
    if not command:
        raise LaunchError("no command was given; it comes last, after --")
    events: _Events = queue.SimpleQueue()
    running: dict[int, _Worker] = {}
    started: list[_Worker] = []
    with _signals_into(events):
        try:
            try:
                addresses = free_addresses(workers)
                for index in range(workers):
                    running[index] = _Worker(command, index, addresses, events)
                    started.append(running[index])
            except OSError as error:
                name = error.filename or command[0]
                raise LaunchError(f"cannot start {name}: {error.strerror}") from error
            printer = _Printer(started, events)
            printer.start()
            status, message = _wait(running, events)
        finally:
            _stop(running, events, grace_seconds)
        printer.finished.set()
        # Print the remaining output, unless another signal arrives while the terminal is blocked.
        while printer.is_alive() and (events.empty() or events.get() == _Signal(signal.SIGPIPE)):
            printer.join(0.1)
        for worker in started:
            if worker.left_behind:
                left = "; ".join(worker.left_behind)
                _print_message(f"killed what worker {worker.index} left behind: {left}")
        _print_message(message)
    return status


def main(argv: list[str]) -> int:
    return run(argv[1:], flags.FLAGS.workers, flags.FLAGS.grace_seconds)


if __name__ == "__main__":
    flags.DEFINE_integer("workers", 2, "Number of workers.")
    flags.DEFINE_float(
        "grace_seconds", 5.0, "Seconds from SIGTERM to SIGKILL for workers that are stopped."
    )
    command_line.run(main, arguments="command")
