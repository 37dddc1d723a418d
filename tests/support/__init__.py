"""What the tests share: variables, models, references, and scripts for processes of their own."""

import os
import pathlib

TESTS = pathlib.Path(__file__).parents[1]
ROOT = TESTS.parent
RESULTS = ROOT / "benchmarks" / "results"

# How many replicas there are in a process; `test_four_replicas.py` asks for more in one of its own.
REPLICAS = int(os.environ.get("KERAS_LARS_TEST_REPLICAS", "2"))
