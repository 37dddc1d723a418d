"""Two ways to get separate learning rates for weights and biases, as in Barlow Twins."""

import keras
import numpy as np
import pytest
from support.models import assert_close, batch, compiled, numbers, two_dense

import keras_lars

pytestmark = pytest.mark.slow

RATE, BIAS_RATE = 0.2, 0.0048
OPTIONS = {
    "momentum_form": "learning_rate_outside",
    "decay_in_norm": True,
    "weight_decay": 0.01,
    "trust_coefficient": 0.5,
    "exclude_from_layer_adaptation": keras_lars.rank_at_most(1),
    "exclude_from_weight_decay": keras_lars.rank_at_most(1),
}
needs_multi_optimizer = pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="Keras has no MultiOptimizer"
)


def schedule(peak):
    decay = keras.optimizers.schedules.PolynomialDecay(peak, 12, 0.0, power=2.0)
    return keras_lars.schedules.WarmUp(decay, 3)


def by_our_option(**options):
    multiplier = BIAS_RATE / RATE
    options = {**OPTIONS, **options}
    return keras_lars.LARS(schedule(RATE), unadapted_learning_rate_multiplier=multiplier, **options)


def by_keras(**options):
    options = {**OPTIONS, **options}
    of_weights = keras_lars.LARS(schedule(RATE), **options, name="of_weights")
    of_biases = keras_lars.LARS(schedule(BIAS_RATE), **options, name="of_biases")
    return keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(of_weights, {".*/bias": of_biases})
    )


def fit(model, epochs=3):
    x, y = batch(0, size=16)
    model.fit(x, y, 4, epochs, shuffle=False, verbose=0)
    return numbers(model.trainable_variables)


def test_biases_move_at_their_own_rate():
    """Two updates by hand, with one rate for the bias and another for the rest."""
    kernel, bias = (keras.Variable(np.ones(shape), name="w") for shape in ((2, 2), (2,)))
    optimizer = keras_lars.LARS(
        RATE, unadapted_learning_rate_multiplier=BIAS_RATE / RATE, momentum=0, **OPTIONS
    )
    for _ in range(2):
        optimizer.apply([keras.ops.ones((2, 2)), keras.ops.ones(2)], [kernel, bias])
    np.testing.assert_allclose(bias.numpy(), 1 - 2 * BIAS_RATE, rtol=1e-6)
    # For equal numbers, the step is 0.2 * 0.5 of the weight.
    np.testing.assert_allclose(kernel.numpy(), 0.9**2, rtol=1e-6)


@needs_multi_optimizer
@pytest.mark.parametrize(
    "options",
    [{}, {"nesterov": True, "jit_compile": False}, {"gradient_accumulation_steps": 2}],
    ids=["plain", "nesterov", "accumulation"],
)
def test_two_optimizers_in_keras_equal_one_of_ours(options):
    """With fewer epochs, LARS would warn that the schedule is too long for accumulated updates."""
    ours = fit(compiled(two_dense, by_our_option(**options)), epochs=4)
    theirs = fit(compiled(two_dense, by_keras(**options)), epochs=4)
    assert_close(theirs, ours)
    # The rate matters: with one rate for all variables, the bias ends elsewhere.
    single = keras_lars.LARS(schedule(RATE), **OPTIONS, **options)
    assert np.max(np.abs(fit(compiled(two_dense, single), epochs=4)[1] - ours[1])) > 1e-2


@needs_multi_optimizer
def test_two_optimizers_continue_from_a_file(tmp_path):
    model = compiled(two_dense, by_keras())
    fit(model, epochs=1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert [type(each) for each in loaded.optimizer.optimizers] == [keras_lars.LARS] * 2
    for ours, theirs in zip(fit(model), fit(loaded), strict=True):
        np.testing.assert_array_equal(theirs, ours)
