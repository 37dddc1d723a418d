"""Ten steps with a changing rate equal those in NumPy, for combinations of options.

One optimizer has all kinds of variables: every pair of exclusions, several variables of one shape
(with one variable per shape, a compiled function that wrongly reuses the first trace would pass), a
scalar, an empty variable, and weights that start at zero.
"""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from support.helpers import make_variables, run_steps
from support.reference import ReferenceLARS

import keras_lars

STEPS = 10
# Exact in float32, in which Keras stores the rate. With 0 and rates above 1, for the clip.
LEARNING_RATES = [0.125, 0.25, 0.5, 2.0, 0.0, 1.0, 0.75, 0.0625, 1.5, 0.5]
ZERO_GRADIENTS_AT = 3

SHAPES = {
    "matrix": (3, 2),
    "twin": (3, 2),
    "matrix_undecayed": (3, 2),
    "matrix_unadapted": (3, 2),
    "matrix_unadapted_undecayed": (3, 2),
    "triplet": (3, 2),
    "zero": (3, 2),
    "scalar": (),
    "empty": (0, 2),
}

COMBINATIONS = [  # momentum_form, nesterov, decay_in_norm, trust_clip
    *itertools.product(["classic", "learning_rate_outside", "ratio_outside"], *[[False, True]] * 3),
    *itertools.product(["ratio_of_update"], [False, True], [True], [False, True]),
]
# Subsets with every combination of any three options, and of any two.
TRIPLES = [
    (form, *flags)
    for form, *flags in COMBINATIONS
    if form == "ratio_of_update" or (sum(flags) + (form == "ratio_outside")) % 2
]
PAIRS = [
    ("classic", False, False, False),
    ("classic", True, True, True),
    ("learning_rate_outside", False, False, True),
    ("learning_rate_outside", True, True, False),
    ("ratio_outside", False, True, False),
    ("ratio_outside", True, False, True),
    ("ratio_of_update", False, True, False),
    ("ratio_of_update", True, True, True),
]
# The formulas are the same for every type and way of running. All combinations run in the type that
# shows the smallest error.
WAYS = {  # combinations, jit_compile, in_function, dtype, tolerance
    "plain-float64": (COMBINATIONS, False, False, "float64", 1e-12),
    "plain-float32": (PAIRS, False, False, "float32", 1e-5),
    "compiled-float64": (TRIPLES, "auto", True, "float64", 1e-12),
    "compiled-float32": (PAIRS, "auto", True, "float32", 1e-5),
    "compiled_eagerly-float64": (PAIRS, "auto", False, "float64", 1e-12),
}


def make_data():
    random = np.random.default_rng(1)
    weights = {path: random.normal(size=shape) for path, shape in SHAPES.items()}
    weights["zero"] *= 0
    # Three magnitudes, so that ratios fall on both sides of the clip.
    gradients = [
        [random.normal(size=shape) * [0.1, 1, 10][step % 3] for shape in SHAPES.values()]
        for step in range(STEPS)
    ]
    gradients[ZERO_GRADIENTS_AT] = [0 * g for g in gradients[ZERO_GRADIENTS_AT]]
    return weights, gradients


def expected_steps(weights, gradients, **options):
    tensors = [
        ReferenceLARS(
            w,
            η=0.3,
            m=0.9,
            β=0.0 if "undecayed" in path else 0.07,
            ε=0.01,
            zero_weight_ratio=0.6,
            zero_gradient_ratio=0.8,
            adapted="unadapted" not in path,
            multiplier=0.4,
            **options,
        )
        for path, w in weights.items()
    ]
    for row, learning_rate in zip(gradients, LEARNING_RATES, strict=True):
        for tensor, g in zip(tensors, row, strict=True):
            tensor.step(g, learning_rate)
        yield [tensor.w for tensor in tensors], [tensor.v for tensor in tensors]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("combination", "jit_compile", "in_function", "dtype", "tolerance"),
    [
        pytest.param(combination, *way, id="-".join(map(str, [*combination, name])))
        for name, (combinations, *way) in WAYS.items()
        for combination in combinations
    ],
)
def test_ten_steps(combination, jit_compile, in_function, dtype, tolerance):
    form, nesterov, decay_in_norm, trust_clip = combination
    weights, gradients = make_data()
    variables = make_variables(weights, dtype)
    optimizer = keras_lars.LARS(
        trust_coefficient=0.3,
        momentum=0.9,
        weight_decay=0.07,
        epsilon=0.01,
        zero_weight_ratio=0.6,
        zero_gradient_ratio=0.8,
        unadapted_learning_rate_multiplier=0.4,
        exclude_from_layer_adaptation="unadapted",
        exclude_from_weight_decay="undecayed",
        momentum_form=form,
        nesterov=nesterov,
        decay_in_norm=decay_in_norm,
        trust_clip=trust_clip,
        jit_compile=jit_compile,
    )
    optimizer.build(variables)
    apply = tf.function(lambda row: optimizer.apply(row, variables)) if in_function else None
    actual = run_steps(optimizer, variables, gradients, LEARNING_RATES, apply)
    expected = expected_steps(
        weights,
        gradients,
        form=form,
        nesterov=nesterov,
        decay_in_norm=decay_in_norm,
        trust_clip=trust_clip,
    )
    for step, (got, wanted) in enumerate(zip(actual, expected, strict=True)):
        for kind, got_arrays, wanted_arrays in zip(["w", "v"], got, wanted, strict=True):
            for path, a, b in zip(SHAPES, got_arrays, wanted_arrays, strict=True):
                np.testing.assert_allclose(
                    a, b, rtol=tolerance, atol=tolerance, err_msg=f"{kind} of {path}, step {step}"
                )


@pytest.mark.parametrize(("chosen", "size"), [(PAIRS, 2), (TRIPLES, 3)], ids=["pairs", "triples"])
def test_the_subsets_have_all_pairs_and_triples(chosen, size):
    assert set(chosen) < set(COMBINATIONS)
    for options in itertools.combinations(range(4), size):
        in_chosen, in_all = [
            {tuple(combination[i] for i in options) for combination in combinations}
            for combinations in (chosen, COMBINATIONS)
        ]
        assert in_chosen == in_all


def test_the_data_reach_every_branch():
    """Guards the tests above: with other data, a branch could be left untested."""
    weights, gradients = make_data()
    tensor = ReferenceLARS(weights["matrix"], η=0.3, β=0.07, ε=0.01, trust_clip=True)
    clipped = [
        tensor.ratio(row[0], learning_rate) == 1 and learning_rate > 0
        for row, learning_rate in zip(gradients, LEARNING_RATES, strict=True)
    ]
    assert any(clipped)
    assert not all(clipped)
    assert len({tuple(tensor.shape) for tensor in weights.values()}) < len(weights)
    assert max(LEARNING_RATES) > 1
    assert min(LEARNING_RATES) == 0


@pytest.mark.parametrize("jit_compile", ["auto", False])
def test_two_optimizers_in_one_process_do_not_share_hyperparameters(jit_compile):
    weights, gradients = make_data()
    for η in (0.1, 0.2):
        (variable,) = make_variables({"matrix": weights["matrix"]}, "float64")
        tensor = ReferenceLARS(weights["matrix"], η=η)
        optimizer = keras_lars.LARS(trust_coefficient=η, weight_decay=0, jit_compile=jit_compile)
        (((w,), _),) = run_steps(optimizer, [variable], [[gradients[0][0]]], [1.0])
        tensor.step(gradients[0][0], 1.0)
        np.testing.assert_allclose(w, tensor.w, rtol=1e-12)
