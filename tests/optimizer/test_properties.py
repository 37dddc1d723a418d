"""Invariants of the update rule, on examples from Hypothesis (the same ones in every run)."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.helpers import make_variables, one_step, run_steps

import keras_lars

pytestmark = pytest.mark.slow

settings.register_profile("keras_lars", derandomize=True, deadline=None, database=None)
settings.load_profile("keras_lars")
FORMS = ["classic", "learning_rate_outside", "ratio_outside"]

# Only a few shapes, since compiling a new one takes a tenth of a second.
shapes = st.sampled_from([(1,), (7,), (3, 2), (2, 3, 4)])
seeds = st.integers(0, 2**31)
# Ten decades, well within the range of float32 even when squared.
scales = st.floats(-5, 5).map(lambda exponent: 10.0**exponent)
rates = st.floats(0.05, 10)
decays = st.sampled_from([0.0, 1e-4, 0.3])
coefficients = st.sampled_from([1e-3, 0.02, 1.0])
compilation = st.sampled_from(["auto", False])


def normal(seed, shape, count):
    return np.random.default_rng(seed).normal(size=(count, *shape))


@settings(max_examples=40)
@given(shapes, seeds, scales, rates, st.booleans(), compilation)
def test_rescaling_the_loss_changes_nothing_without_decay(
    shape, seed, scale, rate, decay_in_norm, jit_compile
):
    """q·g is the same for every gradient `scale * g`. This is the point of the method."""
    w, g = normal(seed, shape, 2)
    options = {
        "weight_decay": 0.0,
        "momentum": 0.0,
        "trust_coefficient": 0.02,
        "decay_in_norm": decay_in_norm,
        "jit_compile": jit_compile,
        "dtype": "float64",
    }
    _, plain = one_step(w, g, rate, **options)
    _, rescaled = one_step(w, scale * g, rate, **options)
    np.testing.assert_allclose(rescaled - w, plain - w, rtol=1e-9, atol=1e-14)
    assert np.linalg.norm(plain - w) > 0


@settings(max_examples=60)
@given(shapes, seeds, scales, rates, decays, coefficients, st.sampled_from([0.0, 0.1]), compilation)
def test_update_is_bounded_by_the_weights(
    shape, seed, scale, rate, decay, coefficient, epsilon, jit_compile
):
    """‖Δw‖ <= γη‖w‖ without momentum, as ‖g + βw‖ <= ‖g‖ + β‖w‖; equal with `decay_in_norm`."""
    w, g = normal(seed, shape, 2)
    options = {
        "weight_decay": decay,
        "momentum": 0.0,
        "trust_coefficient": coefficient,
        "epsilon": epsilon,
        "weight_norm_floor": 0.0,
        "jit_compile": jit_compile,
        "dtype": "float64",
    }
    # The rate is stored in float32.
    bound = np.float64(np.float32(rate)) * coefficient * np.linalg.norm(w)
    slack = 1 + 1e-9
    _, new_w = one_step(w, scale * g, rate, **options)
    assert 0 < np.linalg.norm(new_w - w) <= bound * slack
    _, new_w = one_step(w, scale * g, rate, decay_in_norm=True, **options)
    assert 0 < np.linalg.norm(new_w - w) <= bound * slack
    if epsilon == 0:
        assert np.linalg.norm(new_w - w) >= bound / slack


@settings(max_examples=40)
@given(
    shapes, seeds, scales, rates, decays, st.sampled_from(FORMS), st.booleans(), st.booleans(),
    compilation,
)  # fmt: skip
def test_scaled_weights_and_gradients_give_a_scaled_update(
    shape, seed, scale, rate, decay, form, nesterov, trust_clip, jit_compile
):
    """With ε = 0 and no floor, the rule has no unit of length.

    Three steps of c·w with gradients c·g are c times as long.
    """
    w, *gradients = normal(seed, shape, 4)
    ends = []
    for c in (1.0, scale):
        variables = make_variables({"w": c * w}, "float64")
        optimizer = keras_lars.LARS(
            rate,
            weight_decay=decay,
            trust_coefficient=0.02,
            weight_norm_floor=0.0,
            momentum_form=form,
            nesterov=nesterov,
            trust_clip=trust_clip,
            jit_compile=jit_compile,
            exclude_from_weight_decay=[],
        )
        *_, ((end,), _) = run_steps(optimizer, variables, [[c * g] for g in gradients])
        ends.append(end / c)
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-9, atol=1e-12)
    assert np.linalg.norm(ends[0] - w) > 0


@settings(max_examples=40)
@given(
    shapes,
    seeds,
    rates,
    st.sampled_from(["float16", "bfloat16", "float32", "float64"]),
    st.fixed_dictionaries(
        {
            "momentum": st.sampled_from([0.0, 0.9]),
            "weight_decay": decays,
            "trust_coefficient": coefficients,
            "nesterov": st.booleans(),
            "momentum_form": st.sampled_from(FORMS),
            "decay_in_norm": st.booleans(),
            "epsilon": st.sampled_from([0.0, 0.1]),
            "trust_clip": st.booleans(),
            "exclude_from_layer_adaptation": st.sampled_from([[], "w"]),
            "exclude_from_weight_decay": st.sampled_from([[], "w"]),
        }
    ),
)
def test_compiled_equals_plain_and_dtypes_stay(shape, seed, rate, dtype, options):
    # XLA fuses ops and may keep more digits than they do: a few units in the last place.
    tolerance = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 1e-5, "float64": 1e-12}[dtype]
    w, *gradients = normal(seed, shape, 4)
    results = []
    for jit_compile in ("auto", False):
        variables = make_variables({"w": w}, dtype)
        optimizer = keras_lars.LARS(rate, jit_compile=jit_compile, **options)
        *_, (weights, velocities) = run_steps(optimizer, variables, [[g] for g in gradients])
        results.append(weights + velocities)
        assert {v.dtype for v in [*variables, *optimizer.momentums]} == {dtype}
    for compiled, plain in zip(*results, strict=True):
        size = np.max(np.abs(plain))
        np.testing.assert_allclose(compiled, plain, rtol=tolerance, atol=tolerance * size)


@settings(max_examples=40)
@given(
    shapes, seeds, rates, st.sampled_from(["float16", "bfloat16", "float32", "float64"]),
    st.sampled_from(FORMS), st.booleans(), st.booleans(), st.sampled_from([0.0, 1.0, None]),
    compilation,
)  # fmt: skip
def test_zero_gradient_decay_and_velocity_change_nothing(
    shape, seed, rate, dtype, form, nesterov, trust_clip, ratio, jit_compile
):
    """The bits of the weights stay the same, whatever the ratio."""
    (w,) = normal(seed, shape, 1)
    variables = make_variables({"w": w}, dtype)
    before = keras.ops.convert_to_numpy(variables[0]).tobytes()
    optimizer = keras_lars.LARS(
        rate,
        weight_decay=0,
        momentum_form=form,
        nesterov=nesterov,
        trust_clip=trust_clip,
        zero_gradient_ratio=ratio,
        jit_compile=jit_compile,
    )
    *_, (_, (velocity,)) = run_steps(optimizer, variables, [[np.zeros(shape)]] * 2)
    assert keras.ops.convert_to_numpy(variables[0]).tobytes() == before
    assert not velocity.any()


@pytest.mark.parametrize("jit_compile", ["auto", False])
def test_rate_zero_changes_only_the_velocity(jit_compile):
    optimizer, w = one_step(
        [1.0, 2.0], [3.0, 4.0], 0.0, momentum_form="ratio_outside", jit_compile=jit_compile
    )
    np.testing.assert_array_equal(w, [1.0, 2.0])
    assert np.all(keras.ops.convert_to_numpy(optimizer.momentums[0]) > 0)
