"""A process that waits in vain is ended by another one, and otherwise left alone."""

import signal

import pytest
from support.helpers import run_command

pytestmark = [pytest.mark.processes, pytest.mark.slow]

SCRIPT = """
import sys, time
from keras_lars._start_guard import ended_after
with ended_after(float(sys.argv[1])):
    time.sleep(float(sys.argv[2]))
time.sleep(float(sys.argv[3]))
print("done")
"""


def run(*seconds, code=SCRIPT):
    return run_command("support.code_script", code, *seconds)


def test_it_ends_a_process_that_waits():
    done = run(0.5, 200, 0)
    assert done.returncode == -signal.SIGKILL
    assert "The cluster did not start within 0.5 seconds" in done.stderr
    assert "done" not in done.stdout


def test_it_leaves_one_alone_that_goes_on():
    done = run(1.0, 0, 1.5)
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert "did not start" not in done.stderr


def test_it_holds_while_python_cannot_run():
    """As TensorFlow does when it waits: nothing in the process gets Python's lock."""
    locked = SCRIPT.replace(
        "    time.sleep(float(sys.argv[2]))",
        "    import ctypes\n    ctypes.PyDLL(None).sleep(int(sys.argv[2]))",
    )
    assert "PyDLL" in locked
    done = run(0.5, 200, 0, code=locked)
    assert done.returncode == -signal.SIGKILL
