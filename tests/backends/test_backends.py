"""The same class under JAX and torch, each in a process of its own (see backend_script.py)."""

import functools
import importlib.util
import json
import pathlib
import tempfile

import pytest
from support import backend_script
from support.helpers import run_python

pytestmark = [pytest.mark.processes, pytest.mark.other_backend]


@functools.cache
def outcomes(backend):
    with tempfile.TemporaryDirectory() as folder:
        result = pathlib.Path(folder, "result.json")
        run_python(backend_script.__file__, str(result), KERAS_BACKEND=backend)
        return json.loads(result.read_text())


@pytest.mark.parametrize("check", backend_script.CHECKS)
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_backend(backend, check):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    outcome = outcomes(backend)[check]
    assert outcome == "ok", outcome
