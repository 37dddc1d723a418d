"""Runs commands, `python -m MODULE ARGUMENT...`, in processes that start with TensorFlow imported.

Each line of standard input is a request of `helpers.run_command`, and a fork of this process runs
it. This process has only imported the modules that take seconds. So flags, signal handlers and
devices of one command do not exist for the next one.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import time
import traceback

import benchmarks

for module in ("keras_lars", "tensorflow", "matplotlib.figure", "sklearn.datasets"):
    with contextlib.suppress(ImportError):  # not every command needs each of them
        importlib.import_module(module)


def next_request():
    """Returns the next request, in a fork of this process."""
    gc.freeze()  # a collection would copy the memory that is shared with it
    for line in sys.stdin:
        child = os.fork()
        if not child:
            return json.loads(line)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    sys.exit()


def redirect(number, path, flags):
    file = os.open(path, flags)
    os.dup2(file, number)
    os.close(file)


def run_python(words):
    """Does what `python WORD...` does, in this process, and ends the process."""
    status = 0
    try:
        if words[0] == "-m":
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = words
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        status = end.code or 0
        if not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        traceback.print_exc()
        status = 1
    # Exit like Python, without the second in which it would delete all imported modules.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


class ForkingPopen(subprocess.Popen):
    """Starts `python` as a fork of this process, instead of a new process."""

    def __init__(self, command, *, env=None, **options):
        def start():
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # as `exec` does, which `Popen` waits for
            gc.enable()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            os.environ.update(env or {})
            run_python(command[1:])

        forks = command[0] == sys.executable
        super().__init__(command, env=env, preexec_fn=start if forks else None, **options)


request = next_request()
redirect(0, os.devnull, os.O_RDONLY)
redirect(1, request["stdout"], os.O_WRONLY)
redirect(2, request["stderr"], os.O_WRONLY)
os.environ.update(request["environment"])
if path := os.environ.get("KERAS_LARS_TEST_NUMBER_FILE"):
    with open(path, "w", encoding="utf-8") as number_file:
        number_file.write(str(os.getpid()))
if os.environ.get("KERAS_LARS_TEST_SMALLEST_NETWORK"):
    from benchmarks.models import MODELS
    from support.models import smallest_network

    MODELS["alexnet_tiny"] = smallest_network
if os.environ.get("KERAS_LARS_TEST_FORKED_PYTHON"):
    subprocess.Popen = ForkingPopen
os.chdir(request["folder"])
benchmarks.STARTED = time.perf_counter()
run_python(["-m", request["module"], *request["arguments"]])
