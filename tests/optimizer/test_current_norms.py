"""Norms are computed from the current values, whatever has changed them since the last update."""

import keras
import numpy as np
import pytest
from support.helpers import to_numpy

import keras_lars


def trained(**options):
    """A model with one kernel, after three updates that recorded norms."""
    kernel_constraint = options.pop("kernel_constraint", None)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(
                3, use_bias=False, kernel_constraint=kernel_constraint, name="dense"
            ),
        ]
    )
    model.set_weights([np.random.default_rng(0).normal(size=(4, 3)).astype("float32")])
    options = {"learning_rate": 50.0, "record_trust_ratios": True, **options}
    model.compile(keras_lars.LARS(**options), "mse")
    for _ in range(3):
        model.train_on_batch(*batch())
    return model


def batch():
    random = np.random.default_rng(1)
    return random.normal(size=(8, 4)), random.normal(size=(8, 3))


def norm_of_next_update(model):
    """(|w| before the update, |w| that the update used)."""
    before = np.linalg.norm(to_numpy(model.weights[0]))
    model.train_on_batch(*batch())
    (record,) = model.optimizer.trust_ratios.values()
    return before, record.weight_norm


@pytest.mark.slow
def test_after_set_weights():
    model = trained()
    model.set_weights([7 * np.ones((4, 3))])
    before, worked_with = norm_of_next_update(model)
    assert before == pytest.approx(7 * 12**0.5)
    assert worked_with == pytest.approx(before, rel=1e-6)


@pytest.mark.slow
def test_after_a_constraint():
    model = trained(kernel_constraint=keras.constraints.UnitNorm(axis=None))
    before, worked_with = norm_of_next_update(model)
    # Without the constraint, the norm would differ.
    assert before == pytest.approx(1)
    assert worked_with == pytest.approx(before, rel=1e-6)


@pytest.mark.slow
def test_after_an_average_overwrote_the_weights():
    options = {"use_ema": True, "ema_momentum": 0.5}
    left, right = (trained(**options, ema_overwrite_frequency=n) for n in (3, None))
    # The third update replaced the weights by their average.
    assert not np.array_equal(left.get_weights()[0], right.get_weights()[0])
    before, worked_with = norm_of_next_update(left)
    assert worked_with == pytest.approx(before, rel=1e-6)


@pytest.mark.slow
def test_after_load(tmp_path):
    model = trained()
    model.save_weights(tmp_path / "model.weights.h5")
    at_save = np.linalg.norm(to_numpy(model.weights[0]))
    for _ in range(3):
        model.train_on_batch(*batch())
    model.load_weights(tmp_path / "model.weights.h5")
    before, worked_with = norm_of_next_update(model)
    assert before == pytest.approx(at_save, rel=1e-12)
    assert worked_with == pytest.approx(before, rel=1e-6)


def test_the_gradient_norm_is_current():
    """After a gradient ten times as large, nothing is left of its norm."""
    optimizer = keras_lars.LARS(record_trust_ratios=True)
    variable = keras.Variable(np.ones(9, "float32"), name="w")
    for size in (10.0, 1.0):
        optimizer.apply([keras.ops.full((9,), size)], [variable])
        assert optimizer.trust_ratios["w"].gradient_norm == pytest.approx(3 * size)
