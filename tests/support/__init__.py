"""Code that the tests share: variables, models, references, and scripts for other processes."""

import os
import pathlib

TESTS = pathlib.Path(__file__).parents[1]
ROOT = TESTS.parent
RESULTS = ROOT / "benchmarks" / "results"

# The number of replicas in a process. `test_four_replicas.py` starts a process with more.
REPLICAS = int(os.environ.get("KERAS_LARS_TEST_REPLICAS", "2"))
