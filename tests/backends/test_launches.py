"""The kernels of an update on an H100: no more than in the committed results, which are few.

No GPU is needed, but a compiler of 573 MB, which
`python -m benchmarks.speed.launches --compiler=DIR` installs. If KERAS_LARS_H100_COMPILER names its
folder, all updates are compiled again.
"""

import functools
import json
import os
import pathlib
import tempfile

import pytest
from support import RESULTS
from support.helpers import run_python

pytest.importorskip("pandas", reason="the extra `benchmarks` is not installed")

COMPILER = os.environ.get("KERAS_LARS_H100_COMPILER")
COMMITTED = json.loads((RESULTS / "speed" / "launches.json").read_text())["rows"]
OURS = [row for row in COMMITTED if row["update"].startswith("keras_lars")]


def key_of(row):
    return row["model"], row["update"], row["step"]


@functools.cache
def counted_now():
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder, "launches.json")
        run_python(
            "-m",
            "benchmarks.speed.launches",
            f"--compiler={COMPILER}",
            "--updates=keras_lars",
            f"--output={output}",
            KERAS_BACKEND="jax",
        )
        return {key_of(row): row for row in json.loads(output.read_text())["rows"]}


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.other_backend
@pytest.mark.skipif(not COMPILER, reason="KERAS_LARS_H100_COMPILER names no compiler for an H100")
@pytest.mark.parametrize("committed", OURS, ids=lambda row: "-".join(key_of(row)))
def test_an_update_launches_no_more_than_before(committed):
    now = counted_now()[key_of(committed)]
    assert now["kernels"] <= committed["kernels"]
    assert now["copies"] <= committed["copies"]
    assert now["bytes_per_parameter"] <= committed["bytes_per_parameter"] + 0.01
    assert now["temporary_bytes"] <= 1.1 * committed["temporary_bytes"]
    assert now["float64"] == 0


@pytest.mark.parametrize("row", OURS, ids=lambda row: "-".join(key_of(row)))
def test_the_committed_counts_are_low(row):
    assert row["copies"] == row["float64"] == 0
    if row["model"] == "resnet50":
        assert row["kernels"] <= 200 * (1 + (row["update"] != "keras_lars"))
