"""Runs commands, `python -m MODULE ARGUMENT...`, in processes that begin with TensorFlow imported.

Each line of the standard input is a request as `helpers.run_command` makes it. It is run by a fork
of this process, which has imported what takes seconds, and done nothing else: a flag that is
defined, a signal handler or a device of one command is not there for the next one.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import sys
import time
import traceback

import benchmarks

for module in ("keras_lars", "tensorflow", "matplotlib.figure", "sklearn.datasets"):
    with contextlib.suppress(ImportError):  # not every command needs each of them
        importlib.import_module(module)


def next_request():
    """In a fork of this process."""
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
os.chdir(request["folder"])
sys.argv = [request["module"], *request["arguments"]]
benchmarks.STARTED = time.perf_counter()
status = 0
try:
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
except SystemExit as end:
    status = end.code or 0
    if not isinstance(status, int):
        print(status, file=sys.stderr)
        status = 1
except BaseException:
    traceback.print_exc()
    status = 1
# As Python ends, but for a second in which it would delete all that was imported.
atexit._run_exitfuncs()
sys.stdout.flush()
sys.stderr.flush()
os._exit(status)
