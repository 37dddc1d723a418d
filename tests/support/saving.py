"""Helpers for tests that save a model with its optimizer."""

import contextlib
import warnings

import keras
import numpy as np
import pytest

import keras_lars
from support.models import BUILDERS, compiled, make_variable, train

every_builder = pytest.mark.parametrize("builder", BUILDERS.values(), ids=BUILDERS.keys())


def make_lars(**options):
    options = {
        "learning_rate": 0.5,
        "weight_decay": 0.01,
        "trust_coefficient": 0.1,
        "jit_compile": False,
        **options,
    }
    return keras_lars.LARS(**options)


def decaying_rate():
    return keras.optimizers.schedules.PolynomialDecay(0.5, decay_steps=10, power=2.0)


@contextlib.contextmanager
def no_warning():
    # Collected rather than raised: Keras's loader would swallow the error.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    assert not [str(w.message) for w in caught if issubclass(w.category, UserWarning)]


@keras.saving.register_keras_serializable(package="keras_lars_tests")
def is_narrow(variable):
    return variable.shape[-1] == 1


def make_variables(outer="", widths=(3, 2, 1)):
    """Kernels and biases of three layers; `outer` is a prefix of every path."""
    variables = []
    for name, width in zip("abc", widths, strict=True):
        variables.append(make_variable(f"{outer}{name}/kernel", np.ones((2, width))))
        variables.append(make_variable(f"{outer}{name}/bias", np.ones(width)))
    return variables


def trained(builder, optimizer, steps=3, **options):
    model = compiled(builder, optimizer, **options)
    train(model, 0, steps)
    return model
