"""What pytest needs before it collects; `support/every_test.py` is what every test needs.

The process that hands tests to those of pytest-xdist runs none, and need not import TensorFlow.
"""

import importlib.util
import os
import pathlib
import sys

# The benchmarks are not installed. Last, so that a package that is installed comes before the one
# of this folder, unless the tests are started in this folder.
sys.path.append(str(pathlib.Path(__file__).parents[1]))

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Or NumPy's threads keep the cores busy with waiting; also those of processes that tests start.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def pytest_configure(config):
    # Of pytest-xdist, which would run the files with few tests last, and those take longest: one
    # process would wait for the other at the end.
    config.option.loadscopereorder = False
    if config.getoption("dist", "no") == "no":
        config.pluginmanager.import_plugin("support.every_test")


def pytest_report_header():
    return f"keras_lars: {importlib.util.find_spec('keras_lars').origin}"
