"""The examples in the docstrings print what they say."""

import doctest

import keras
import pytest

import keras_lars
from keras_lars import _exclusions, optimizer, schedules


@pytest.mark.parametrize("module", [_exclusions, optimizer, schedules])
def test_examples(module):
    result = doctest.testmod(module, extraglobs={"keras": keras, "keras_lars": keras_lars})
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("name", keras_lars.__all__)
def test_public_names_are_there_and_documented(name):
    value = getattr(keras_lars, name)
    assert isinstance(value, str) or value.__doc__
