"""LARS under `keras.distribution`, in a process of its own (see jax_distribution_script.py)."""

import functools
import importlib.util
import json
import pathlib
import tempfile

import pytest
from support import jax_distribution_script
from support.helpers import run_python

pytestmark = [pytest.mark.processes, pytest.mark.other_backend]


@functools.cache
def outcomes():
    with tempfile.TemporaryDirectory() as folder:
        result = pathlib.Path(folder, "result.json")
        run_python(
            jax_distribution_script.__file__,
            str(result),
            KERAS_BACKEND="jax",
            JAX_PLATFORMS="cpu",
            XLA_FLAGS=f"--xla_force_host_platform_device_count={jax_distribution_script.DEVICES}",
        )
        return json.loads(result.read_text())


@pytest.mark.parametrize("check", jax_distribution_script.CHECKS)
def test_jax_distribution(check):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    outcome = outcomes()[check]
    assert outcome == "ok", outcome
