"""In a hundred thousand updates, memory does not grow and results do not drift from float64."""

import gc
import pathlib
import resource

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.helpers import make_variables, to_numpy
from support.reference import ReferenceLARS

import keras_lars

UPDATES, AT_ONCE, SETTLED_AFTER = 100_000, 10, 20_000
SHAPES = {"a": (8, 4), "b": (8, 4)}
# Gradients depend only on the step, so that the problem itself does not amplify an error, as a
# chaotic one would.
GRADIENTS = np.random.default_rng(0).normal(size=(100, *SHAPES["a"])).astype("float32")
RATE = keras.optimizers.schedules.PolynomialDecay(1.0, UPDATES, 0.1, power=2.0)
OPTIONS = {"trust_coefficient": 0.01, "weight_decay": 0.1}
STATM = pathlib.Path("/proc/self/statm")


def weights():
    """One is the negative of the other, as are the gradients: one float64 reference is enough."""
    w = np.random.default_rng(1).normal(size=SHAPES["a"])
    return {"a": w, "b": -w}


def resident_bytes():
    gc.collect()
    return int(STATM.read_text().split()[1]) * resource.getpagesize()


@pytest.mark.slow
@pytest.mark.skipif(not STATM.exists(), reason="memory is read where Linux tells it")
def test_a_hundred_thousand_updates():
    variables = make_variables(weights())
    optimizer = keras_lars.LARS(RATE, **OPTIONS)
    optimizer.build(variables)
    table = tf.constant(GRADIENTS)

    @tf.function
    def train():
        for _ in tf.range(AT_ONCE):
            row = table[optimizer.iterations.value % len(GRADIENTS)]
            optimizer.apply([row, -row], variables)

    for first in range(0, UPDATES, AT_ONCE):
        if first == SETTLED_AFTER:
            settled = resident_bytes()
        train()
    grown = resident_bytes() - settled
    assert int(optimizer.iterations) == UPDATES

    # Less than a single number per update would take.
    per_update = grown / (UPDATES - SETTLED_AFTER)
    assert per_update < 4

    tensor = ReferenceLARS(
        weights()["a"], η=OPTIONS["trust_coefficient"], β=OPTIONS["weight_decay"]
    )
    rates = 0.1 + 0.9 * (1 - np.arange(UPDATES) / UPDATES) ** 2
    for step, rate in enumerate(rates):
        tensor.step(GRADIENTS[step % len(GRADIENTS)], rate)
    for variable, velocity, sign in zip(variables, optimizer.momentums, (1, -1), strict=True):
        w, v = sign * to_numpy(variable), sign * to_numpy(velocity)
        drift = [np.linalg.norm(w - tensor.w) / np.linalg.norm(tensor.w)]
        drift += [np.linalg.norm(v - tensor.v) / np.linalg.norm(tensor.v)]
        assert max(drift) < 1e-5
