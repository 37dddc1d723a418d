"""Workers of a cluster, as forks of a process that has imported TensorFlow and done nothing else.

They spend no time on imports, and all of them end with that process, however it ends.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
import traceback

from support import local_network

PORT = 2222


def fork(function, *arguments):
    """Runs a function in a fork, which exits with its result; returns the process ID."""
    parent = os.getpid()
    sys.stdout.flush()
    if child := os.fork():
        return child
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    status = 1
    try:
        if os.getppid() == parent:
            status = function(*arguments) or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # not as Python exits, which takes a second


class Workers:
    """A cluster whose workers run `function(index)`, on machines of the network if there is one."""

    def __init__(self, function, addresses, network=None):
        self.network, self.statuses = network, [None] * len(addresses)
        self.processes = [self._start(function, addresses, i) for i in range(len(addresses))]

    def _start(self, function, addresses, index):
        def work():
            cluster = {"worker": addresses}
            task = {"type": "worker", "index": index}
            os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
            if self.network:
                local_network.leave()
                os.write(left[1], b"1")
                os.read(plugged[0], 1)
                local_network.join(index)
            return function(index)

        if not self.network:
            return fork(work)
        left, plugged = os.pipe(), os.pipe()
        process = fork(work)
        os.close(left[1])
        os.close(plugged[0])
        if os.read(left[0], 1):  # otherwise it has ended, and printed why
            self.network.plug_in(index, process)
            os.write(plugged[1], b"1")
        os.close(left[0])
        os.close(plugged[1])
        return process

    def poll(self):
        """The exit status of each worker: None if it runs, negative if a signal killed it."""
        for i, process in enumerate(self.processes):
            if self.statuses[i] is None:
                done, status = os.waitpid(process, os.WNOHANG)
                if done:
                    self.statuses[i] = os.waitstatus_to_exitcode(status)
        return self.statuses

    def wait(self, seconds, condition=lambda statuses: None not in statuses):
        """Waits until the statuses meet the condition or time is up; returns whether they do."""
        until = time.monotonic() + seconds
        while not (holds := condition(self.poll())) and time.monotonic() < until:
            time.sleep(0.01)
        return holds

    def send(self, index, number):
        if self.poll()[index] is None:
            os.kill(self.processes[index], number)

    def end(self):
        """Kills the workers that are left."""
        for i in range(len(self.processes)):
            with contextlib.suppress(ProcessLookupError):
                self.send(i, signal.SIGKILL)
        self.wait(60)
