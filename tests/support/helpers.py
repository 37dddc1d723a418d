"""Helpers that test files share: making variables, taking steps, reading numbers back."""

import atexit
import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import traceback

import keras
import numpy as np

import keras_lars
from support import ROOT, TESTS


def at_least(module, version):
    """Whether a module is of `version`, as "3.16", or later; a nightly of 3.16 counts as 3.16."""
    has, wanted = (
        [int(number) for number in re.match(r"\d+(?:\.\d+)*", text)[0].split(".")]
        for text in (module.__version__, version)
    )
    return has >= wanted


def make_variables(arrays, dtype="float32"):
    """One trainable variable per entry of `{path: array}`."""
    return [keras.Variable(np.asarray(a), dtype=dtype, name=path) for path, a in arrays.items()]


def to_numpy(variable):
    """A float64 copy: TensorFlow hands out views of variables that later steps overwrite."""
    return np.array(keras.ops.convert_to_numpy(variable), np.float64)


def to_tensors(arrays, variables):
    return [
        keras.ops.convert_to_tensor(np.asarray(a), dtype=v.dtype)
        for a, v in zip(arrays, variables, strict=True)
    ]


def run_steps(optimizer, variables, gradients, learning_rates=None, apply=None):
    """Takes one step per row of `gradients`, yielding (weights, velocities) after each."""
    apply = apply or (lambda gradients: optimizer.apply(gradients, variables))
    for step, row in enumerate(gradients):
        if learning_rates is not None:
            optimizer.learning_rate = learning_rates[step]
        apply(to_tensors(row, variables))
        yield (
            [to_numpy(v) for v in variables],
            [to_numpy(m) for m in optimizer.momentums if m is not None],
        )


def one_step(w, g, learning_rate=1.0, dtype="float32", **kwargs):
    """One step of a fresh optimizer on one variable called "w": (optimizer, new weights)."""
    kwargs = {"exclude_from_weight_decay": [], **kwargs}
    optimizer = keras_lars.LARS(learning_rate, **kwargs)
    (variable,) = make_variables({"w": w}, dtype)
    optimizer.apply(to_tensors([g], [variable]), [variable])
    return optimizer, to_numpy(variable)


def environment(**variables):
    """The environment of a process that finds this package, its benchmarks and these helpers."""
    roots = [pathlib.Path(keras_lars.__file__).parents[1], TESTS, ROOT]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, roots)),
        "PYTHONSAFEPATH": "1",  # otherwise `-m` would look in the current folder first
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **variables,
    }


def run_python(*arguments, **variables):
    """A fresh interpreter that finds this package and these helpers: its standard output."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


# Environment variables of a command. The file to which it writes its process ID.
NUMBER_FILE = "KERAS_LARS_TEST_NUMBER_FILE"
# If set, `support.models.smallest_network` replaces "alexnet_tiny" in the command.
SMALLEST_NETWORK = "KERAS_LARS_TEST_SMALLEST_NETWORK"
# If set, each `python` that the command starts is a fork too.
FORKED_PYTHON = "KERAS_LARS_TEST_FORKED_PYTHON"


@functools.cache
def command_server():
    server = subprocess.Popen(
        [sys.executable, str(pathlib.Path(__file__).with_name("command_server.py"))],
        # Otherwise TensorFlow would report missing GPUs in commands that never start it.
        env=environment(TF_CPP_MIN_LOG_LEVEL="3"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    atexit.register(server.communicate)  # it ends at the end of its input
    return server


def run_command(module, *arguments, folder=ROOT, **variables):
    """Runs `python -m MODULE ARGUMENT...` in a fork of a process that has imported TensorFlow.

    The command runs in the folder, with these environment variables and the backend of the tests.
    Returns the same as `subprocess.run`.
    """
    server = command_server()
    with tempfile.TemporaryDirectory() as outputs:
        files = {name: pathlib.Path(outputs, name) for name in ("stdout", "stderr")}
        for file in files.values():
            file.touch()
        request = {
            "module": module,
            "arguments": [str(argument) for argument in arguments],
            "environment": variables,
            "folder": str(folder),
            **{name: str(file) for name, file in files.items()},
        }
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        return subprocess.CompletedProcess(
            ["python", "-m", module, *request["arguments"]],
            status,
            **{name: file.read_text(encoding="utf-8") for name, file in files.items()},
        )


def run_code(code, *arguments, **variables):
    """`python -c CODE ARGUMENT...`, run as `run_command` runs commands: its standard output."""
    done = run_command("support.code_script", code, *arguments, **variables)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def report_checks(checks, path):
    """Runs functions, and writes JSON that maps each name to "ok" or the traceback."""
    outcomes = {}
    for name, check in checks.items():
        try:
            check()
            outcomes[name] = "ok"
        except Exception:
            outcomes[name] = traceback.format_exc()
    pathlib.Path(path).write_text(json.dumps(outcomes))
