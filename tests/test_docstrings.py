"""The examples in the docstrings print what they say."""

import doctest

import keras
import pytest
from helpers import run_python

import keras_lars
from keras_lars import _exclusions, loss_scale_optimizer, optimizer, schedules


@pytest.mark.parametrize("module", [_exclusions, loss_scale_optimizer, optimizer, schedules])
def test_examples(module):
    result = doctest.testmod(module, extraglobs={"keras": keras, "keras_lars": keras_lars})
    assert result.attempted > 0
    assert result.failed == 0


# A strategy of several workers must be made before TensorFlow has done anything else.
IN_A_NEW_PROCESS = """
import doctest, importlib, tempfile
import keras, numpy as np, tensorflow as tf
import keras_lars

for name in ("multi_worker", "callbacks.statistics", "callbacks.backup"):
    known = {"keras": keras, "keras_lars": keras_lars, "np": np, "tf": tf}
    known["folder"] = tempfile.mkdtemp()
    module = importlib.import_module(f"keras_lars.{name}")
    result = doctest.testmod(module, extraglobs=known)
    print(name, result.failed, result.attempted > 0)
"""


def test_examples_of_fit():
    output = run_python("-c", IN_A_NEW_PROCESS)
    assert output.splitlines() == [
        "multi_worker 0 True",
        "callbacks.statistics 0 True",
        "callbacks.backup 0 True",
    ], output


@pytest.mark.parametrize("name", keras_lars.__all__)
def test_public_names_are_there_and_documented(name):
    value = getattr(keras_lars, name)
    assert isinstance(value, str) or value.__doc__
