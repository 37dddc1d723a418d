"""Closed forms: every number here can be checked with a pencil.

The default numbers are w = 2, g = 0.5, η = 0.1, β = 0.25, so that
    ‖w‖ = 2, ‖g‖ = 0.5, G = g + βw = 1,
    q = η‖w‖ / (‖g‖ + β‖w‖) = 0.2 / (0.5 + 0.5) = 0.2.
"""

import itertools

import numpy as np
import pytest
from support.helpers import make_variables, one_step, run_steps, to_numpy

import keras_lars
from keras_lars._update_rule import MOMENTUM_FORMS

RULE = {"trust_coefficient": 0.1, "weight_decay": 0.25}

# The rule is written once for all types and both ways of running it. Where neither matters, `each`
# has each of them once. `every` has all combinations.
each = pytest.mark.parametrize(("dtype", "jit_compile"), [("float32", "auto"), ("float64", False)])
every = pytest.mark.parametrize(
    ("dtype", "jit_compile"), list(itertools.product(["float32", "float64"], ["auto", False]))
)


def close(actual, expected, dtype):
    tolerance = 1e-14 if dtype == "float64" else 2e-6
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("form", "nesterov", "expected_weights", "expected_velocities"),
    [
        # Step 1, rate 1: v = qG = 0.2, w = 2 - 0.2 = 1.8.
        # Step 2, rate 2: G = 0.95, qG = 0.18, v = 0.9 * 0.2 + 2 * 0.18 = 0.54, w = 1.8 - 0.54.
        ("classic", False, (1.8, 1.26), (0.2, 0.54)),
        # Step 1: w = 2 - (0.9 * 0.2 + 0.2) = 1.62.
        # Step 2: qG = 0.162, v = 0.18 + 2 * 0.162 = 0.504, w = 1.62 - (0.9 * 0.504 + 0.324).
        ("classic", True, (1.62, 0.8424), (0.2, 0.504)),
        # Step 2: v = 0.9 * 0.2 + 0.18 = 0.36, w = 1.8 - 2 * 0.36.
        ("learning_rate_outside", False, (1.8, 1.08), (0.2, 0.36)),
        # Step 2: v = 0.18 + 0.162 = 0.342, w = 1.62 - 2 * (0.9 * 0.342 + 0.162).
        ("learning_rate_outside", True, (1.62, 0.6804), (0.2, 0.342)),
        # Step 1: v = G = 1, w = 2 - 0.2 * 1.
        # Step 2: G = 0.95, q = 0.18 / 0.95, v = 0.9 + 0.95 = 1.85, w = 1.8 - 2 * q * 1.85.
        ("ratio_outside", False, (1.8, 1.8 - 2 * (0.18 / 0.95) * 1.85), (1.0, 1.85)),
        # Step 1: w = 2 - 0.2 * (0.9 * 1 + 1) = 1.62.
        # Step 2: G = 0.905, q = 0.162 / 0.905, v = 0.9 + 0.905 = 1.805,
        #         w = 1.62 - 2 * q * (0.9 * 1.805 + 0.905).
        (
            "ratio_outside",
            True,
            (1.62, 1.62 - 2 * (0.162 / 0.905) * (0.9 * 1.805 + 0.905)),
            (1.0, 1.805),
        ),
        # For one number, the step is a tenth of the weight at a rate of 1, whatever the update.
        ("ratio_of_update", False, (1.8, 1.44), (1.0, 1.85)),
        ("ratio_of_update", True, (1.8, 1.44), (1.0, 1.85)),
    ],
)
@every
def test_two_steps_of_each_form(
    form, nesterov, expected_weights, expected_velocities, dtype, jit_compile
):
    variables = make_variables({"w": 2.0}, dtype)
    optimizer = keras_lars.LARS(
        momentum_form=form,
        decay_in_norm=form == "ratio_of_update",
        nesterov=nesterov,
        exclude_from_weight_decay=[],
        jit_compile=jit_compile,
        **RULE,
    )
    steps = run_steps(optimizer, variables, [[0.5], [0.5]], learning_rates=[1.0, 2.0])
    for (weights, velocities), w, v in zip(
        steps, expected_weights, expected_velocities, strict=True
    ):
        close(weights[0], w, dtype)
        close(velocities[0], v, dtype)


@pytest.mark.parametrize(
    ("g", "options", "expected_weight"),
    [
        # Opposite signs of the weight and the gradient distinguish the denominators:
        # G = -1 + 0.5 = -0.5; the paper's q = 0.2 / (1 + 0.5), w = 2 + 0.5 q.
        (-1.0, {}, 2 + 0.5 * 0.2 / 1.5),
        # q = 0.2 / |-0.5| = 0.4, w = 2 + 0.5 * 0.4.
        (-1.0, {"decay_in_norm": True}, 2.2),
        # ε is another term of the sum: q = 0.2 / (0.5 + 0.5 + 1) = 0.1.
        (0.5, {"epsilon": 1.0}, 1.9),
        # ... of either sum: q = 0.2 / (0.5 + 1.5).
        (-1.0, {"decay_in_norm": True, "epsilon": 1.5}, 2.05),
        # Without decay q = 0.2 / 0.5 = 0.4, w = 2 - 0.4 * 0.5.
        (0.5, {"weight_decay": 0}, 1.8),
    ],
)
@every
def test_denominators(g, options, expected_weight, dtype, jit_compile):
    options = {**RULE, "momentum": 0, **options}
    _, w = one_step(2.0, g, dtype=dtype, jit_compile=jit_compile, **options)
    close(w, expected_weight, dtype)


@every
def test_norms_are_of_the_whole_tensor(dtype, jit_compile):
    # ‖w‖ = 5, ‖g‖ = 2.5, q = 0.5 / (2.5 + 0.25 * 5) = 2/15, G = (0.75, 3.5).
    _, w = one_step(
        [[3.0], [4.0]], [[0.0], [2.5]], dtype=dtype, jit_compile=jit_compile, momentum=0, **RULE
    )
    close(w, [[3 - 0.1], [4 - 7 / 15]], dtype)


ZERO = {"zero_weight_ratio": 0.3, "zero_gradient_ratio": 0.7}
NONE = {"weight_norm_floor": 0, "zero_weight_ratio": None, "zero_gradient_ratio": None}


@pytest.mark.parametrize(
    ("w", "g", "options", "expected_ratio", "expected_weight"),
    [
        # Zero weight: G = 0.5. With a floor of 0.2, the norm counts as 0.2: q = 0.02 / 0.5.
        (0.0, 0.5, {"weight_norm_floor": 0.2}, 0.04, -0.02),
        (0.0, 0.5, {"weight_norm_floor": 0.2, "zero_weight_ratio": 1.0}, 1.0, -0.5),
        (0.0, 0.5, {"zero_weight_ratio": 1.0}, 1.0, -0.5),
        (0.0, 0.5, ZERO, 0.3, -0.15),
        (0.0, 0.5, {"zero_weight_ratio": 0}, 0.0, 0.0),
        (0.0, 0.5, NONE, 0.0, 0.0),  # 0 / 0.5
        (0.0, 0.5, {**NONE, "decay_in_norm": True}, 0.0, 0.0),
        # Zero gradient: G = βw = 0.5.
        (2.0, 0.0, {}, 1.0, 1.5),
        (2.0, 0.0, ZERO, 0.7, 1.65),
        (2.0, 0.0, NONE, 0.4, 1.8),  # 0.2 / (0 + 0.5)
        (2.0, 0.0, {**NONE, "epsilon": 0.5}, 0.2, 1.9),  # 0.2 / (0 + 0.5 + 0.5)
        (2.0, 0.0, {**NONE, "weight_decay": 0.0}, 1.0, 2.0),  # denominator 0, and G = 0
        (2.0, 0.0, {**NONE, "weight_decay": 0.0, "epsilon": 0.5}, 0.4, 2.0),
        # With `decay_in_norm`, the norm that counts is that of G, which is 0.5 here ...
        (2.0, 0.0, {**ZERO, "decay_in_norm": True}, 0.4, 1.8),
        # ... and 0 here, although the gradient is not 0.
        (2.0, -0.5, {**ZERO, "decay_in_norm": True}, 0.7, 2.0),
        (2.0, -0.5, {**NONE, "decay_in_norm": True}, 1.0, 2.0),
        (2.0, -0.5, ZERO, 0.2, 2.0),  # the paper's denominator is 0.5 + 0.5
        # Both zero: the ratio for a zero weight comes first.
        (0.0, 0.0, ZERO, 0.3, 0.0),
        (0.0, 0.0, NONE, 1.0, 0.0),
        (0.0, 0.0, {**NONE, "zero_gradient_ratio": 0.7}, 1.0, 0.0),
        (0.0, 0.0, {**NONE, "weight_norm_floor": 0.2}, 1.0, 0.0),
        (0.0, 0.0, {**NONE, "epsilon": 0.5}, 0.0, 0.0),
    ],
)
@each
def test_zero_norms(w, g, options, expected_ratio, expected_weight, dtype, jit_compile):
    optimizer, new_w = one_step(
        w,
        g,
        dtype=dtype,
        jit_compile=jit_compile,
        momentum=0,
        record_trust_ratios=True,
        **{**RULE, **options},
    )
    close(new_w, expected_weight, dtype)
    close(float(optimizer.trust_ratios["w"].trust_ratio), expected_ratio, dtype)


@pytest.mark.parametrize(
    ("w", "counted_norm"),
    [
        (np.zeros(4), 1.0),  # 0.5 * sqrt(4)
        (np.zeros((9, 4)), 1.0),  # the number of units alone matters
        (np.zeros((4, 1)), 0.5),
        (np.full(4, 0.25), 1.0),  # 0.5 is below the floor
        (np.full(4, 0.75), 1.5),
        (np.full((9, 4), 0.25), 1.5),
    ],
)
@pytest.mark.parametrize("decay_in_norm", [False, True])
@each
def test_the_floor_of_the_norm(w, counted_norm, decay_in_norm, dtype, jit_compile):
    # A gradient of norm 2, orthogonal to w. The denominator has the true norm of w.
    signs = np.where(np.arange(w.size).reshape(w.shape) % 2, 1.0, -1.0)
    g = signs * 2 / np.sqrt(w.size)
    decay = 0.5
    norm_w = np.linalg.norm(w)
    norm_g = np.hypot(2, decay * norm_w) if decay_in_norm else 2 + decay * norm_w
    options = {"trust_coefficient": 0.1, "weight_decay": decay, "exclude_from_weight_decay": []}
    _, new_w = one_step(
        w,
        g,
        dtype=dtype,
        jit_compile=jit_compile,
        momentum=0,
        weight_norm_floor=0.5,
        decay_in_norm=decay_in_norm,
        **options,
    )
    close(new_w, w - 0.1 * counted_norm / norm_g * (g + decay * w), dtype)


@pytest.mark.parametrize(
    ("w", "g", "learning_rate", "options", "expected_velocity"),
    [
        # The form "learning_rate_outside" shows q G in the velocity, whatever the rate.
        (2.0, 0.5, 0.125, {}, 1.0),  # min(0.2 / 0.125, 1) = 1, G = 1
        (2.0, 0.5, 0.5, {}, 0.4),  # 0.2 / 0.5
        (2.0, 0.5, 2.0, {}, 0.1),  # 0.2 / 2
        (2.0, 0.5, 0.0, {}, 1.0),
        # Zero norms are no exception: q = 0.1 before the clip, G = 0.5.
        (0.0, 0.5, 2.0, {"weight_norm_floor": 0.5}, 0.025),  # 0.05 / 0.5
        (0.0, 0.5, 0.5, {"zero_weight_ratio": 0.1}, 0.1),
        (0.0, 0.5, 0.0625, {"zero_weight_ratio": 0.1}, 0.5),
        (0.0, 0.5, 0.0, {"zero_weight_ratio": 0.1}, 0.5),
        (0.0, 0.5, 2.0, {"zero_weight_ratio": 1.0}, 0.25),
        (0.0, 0.5, 0.0, {"zero_weight_ratio": 0.0}, 0.5),  # 0 / 0 is 1 here, never NaN
        (0.0, 0.5, 0.0, NONE, 0.5),
        (0.0, 0.5, 2.0, NONE, 0.0),
        (2.0, 0.0, 2.0, {}, 0.25),  # G = 0.5
        (2.0, 0.0, 2.0, {"zero_gradient_ratio": 0.7}, 0.175),  # 0.7 / 2 * 0.5
        (2.0, 0.0, 0.0, {}, 0.5),
    ],
)
@each
def test_trust_clip(w, g, learning_rate, options, expected_velocity, dtype, jit_compile):
    optimizer, new_w = one_step(
        w,
        g,
        learning_rate,
        dtype=dtype,
        jit_compile=jit_compile,
        trust_clip=True,
        momentum_form="learning_rate_outside",
        **{**RULE, **options},
    )
    close(to_numpy(optimizer.momentums[0]), expected_velocity, dtype)
    close(new_w, w - learning_rate * expected_velocity, dtype)


@pytest.mark.parametrize("trust_clip", [False, True])
@pytest.mark.parametrize(
    ("learning_rate", "multiplier", "expected_weight"),
    [
        (1.0, 1.0, 1.0),
        (2.0, 1.0, 0.0),  # clipped, the ratio would be 1/2 and the weight 1
        (2.0, 0.5, 1.0),  # 2 - 2 * 0.5 * G
        (1.0, 3.0, -1.0),  # clipped, it would be 1
        (1.0, 0.0, 2.0),
    ],
)
@each
def test_unadapted(learning_rate, multiplier, expected_weight, trust_clip, dtype, jit_compile):
    _, w = one_step(
        2.0,
        0.5,
        learning_rate,
        dtype=dtype,
        jit_compile=jit_compile,
        exclude_from_layer_adaptation="w",
        unadapted_learning_rate_multiplier=multiplier,
        trust_clip=trust_clip,
        momentum=0,
        **RULE,
    )
    close(w, expected_weight, dtype)


@each
def test_unadapted_is_not_subject_to_the_zero_rules(dtype, jit_compile):
    _, w = one_step(
        0.0,
        0.5,
        dtype=dtype,
        jit_compile=jit_compile,
        exclude_from_layer_adaptation="w",
        unadapted_learning_rate_multiplier=0.5,
        **ZERO,
    )
    close(w, -0.25, dtype)


@every
def test_excluded_from_decay(dtype, jit_compile):
    # β = 0 for this variable: q = 0.2 / 0.5 = 0.4 and G = 0.5.
    _, w = one_step(
        2.0, 0.5, dtype=dtype, jit_compile=jit_compile, exclude_from_weight_decay="w", **RULE
    )
    close(w, 1.8, dtype)


@pytest.mark.parametrize("form", MOMENTUM_FORMS)
@pytest.mark.parametrize("nesterov", [False, True])
@each
def test_without_momentum_there_is_no_slot(form, nesterov, dtype, jit_compile):
    # All forms are then w - rate * q * G = 2 - 0.5 * 0.2 * 1, and Nesterov changes nothing.
    optimizer, w = one_step(
        2.0,
        0.5,
        0.5,
        dtype=dtype,
        jit_compile=jit_compile,
        momentum=0,
        momentum_form=form,
        decay_in_norm=form == "ratio_of_update",
        nesterov=nesterov,
        **RULE,
    )
    close(w, 1.9, dtype)
    assert list(optimizer.momentums) == []


@every
def test_one_slot_per_variable(dtype, jit_compile):
    variables = make_variables({"a": np.ones((2, 3)), "b": np.ones(4)}, dtype)
    counts = {}
    for momentum in (0.0, 0.9):
        optimizer = keras_lars.LARS(momentum=momentum, jit_compile=jit_compile)
        before = len(optimizer.variables)
        optimizer.build(variables)
        counts[momentum] = len(optimizer.variables) - before
    assert counts == {0.0: 0, 0.9: 2}
    assert [(m.shape, m.dtype) for m in optimizer.momentums] == [((2, 3), dtype), ((4,), dtype)]


@each
def test_base_class_decay_is_not_applied_on_top(dtype, jit_compile):
    # Stock Keras would also subtract 1 * 0.25 * 2 = 0.5 from the weight.
    _, w = one_step(2.0, 0.5, dtype=dtype, jit_compile=jit_compile, momentum=0, **RULE)
    close(w, 1.8, dtype)


@every
def test_recorded_norms(dtype, jit_compile):
    optimizer, _ = one_step(
        [3.0, 4.0],
        [0.0, 2.5],
        dtype=dtype,
        jit_compile=jit_compile,
        record_trust_ratios=True,
        **RULE,
    )
    (record,) = optimizer.trust_ratios.values()
    # q = 0.1 * 5 / (2.5 + 0.25 * 5)
    close([float(x) for x in record], [5.0, 2.5, 2 / 15], dtype)
    assert record._fields == ("weight_norm", "gradient_norm", "trust_ratio")


@every
def test_hyperparameters_are_not_rounded_to_float32(dtype, jit_compile):
    # 0.1 is not a float32: rounded, the ratio would be off by 1.5e-8.
    _, w = one_step(
        1.0, 1.0, dtype=dtype, jit_compile=jit_compile, trust_coefficient=0.1, weight_decay=0
    )
    close(w, 0.9, dtype)
