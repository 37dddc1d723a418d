"""Runs a command up to the point where its work would begin.

`python -m support.fuzz_command_script FOLDER MODULE ARGUMENT...` runs it in the folder. Errors are
reported as usual. Otherwise the command ends with status 0, at that point or after it has shown a
file of results.
"""

import importlib
import os
import runpy
import socket
import sys

from absl import app


class Started(BaseException):
    """The arguments were accepted, and the work would begin."""


def start(*arguments, **named):
    raise Started


# The calls that begin work that takes minutes or opens sockets.
WORK = {
    "benchmarks.train": ["benchmarks.cluster.start"],
    "benchmarks.speed.accelerator": ["benchmarks.speed.workers.processes"],
    "benchmarks.speed.input": ["keras.utils.set_random_seed"],
    "benchmarks.speed.launches": ["benchmarks.speed.h100.use"],
    "benchmarks.speed.step": ["keras.utils.set_random_seed"],
    "benchmarks.speed.update": ["benchmarks.speed.rounds.check"],
    "benchmarks.data.fake_imagenet": ["numpy.random.default_rng"],
    "benchmarks.experiments": ["benchmarks.experiments.sweep.Sweep"],
}

folder, module, *arguments = sys.argv[1:]
for place in WORK.get(module, WORK["benchmarks.experiments"] if ".experiments." in module else []):
    home, _, name = place.rpartition(".")
    setattr(importlib.import_module(home), name, start)
socket.socket.bind = start
os.chdir(folder)
sys.argv = [module, *arguments]
app.define_help_flags()
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except Started:
    sys.exit(0)
