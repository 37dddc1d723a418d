"""Trains networks with LARS and measures its speed; start with `python -m benchmarks.train`."""

import os
import time

# Read before TensorFlow is imported, so that the seconds of a run include the import.
STARTED = time.perf_counter()

# Show only warnings and errors. TensorFlow reads this variable when it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
