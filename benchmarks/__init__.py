"""Trainings that show what LARS does; start with `python -m benchmarks.train`."""

import os
import time

# The clock of a run starts before TensorFlow does: its start is part of what one waits for.
STARTED = time.perf_counter()

# Warnings and errors only. TensorFlow reads this once, when it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
