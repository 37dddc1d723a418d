"""Ends a process in which TensorFlow waits for a worker that was lost while the cluster starts.

TensorFlow waits for an hour, and holds Python's lock meanwhile, so that no thread of this process
could do anything about it. Another process can.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

# Kills its parent after so many seconds, and ends when its standard input does.
_SCRIPT = """
import os, select, signal, sys
pid, seconds, message = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
if not select.select([sys.stdin], [], [], seconds)[0] and os.getppid() == pid:
    sys.stderr.write(message)
    sys.stderr.flush()
    os.kill(pid, signal.SIGKILL)
"""


@contextlib.contextmanager
def ended_after(seconds: float) -> Iterator[None]:
    """What is done in here is done within so many seconds, or ends the process with a line."""
    message = (
        f"The cluster did not start within {seconds:g} seconds, though all workers answered: one "
        "was lost since. This process is ended by SIGKILL, as TensorFlow would wait for an hour. "
        "Restart all workers.\n"
    )
    guard = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _SCRIPT, str(os.getpid()), str(seconds), message],
        stdin=subprocess.PIPE,
    )
    try:
        yield
    finally:
        guard.communicate()  # which closes its input
