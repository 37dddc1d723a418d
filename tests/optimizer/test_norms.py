"""Norms are accurate, even for constant numbers. For normal ones, even a poor sum looks fine."""

import keras
import numpy as np
import pytest
from support.helpers import make_variables

import keras_lars
from keras_lars._update_rule import MOMENTUM_FORMS

SIZES = [1, 17, 10**3 + 1, 10**6 + 3]

MAKE = {
    "constant": lambda random, size: np.full(size, 0.1, np.float32),
    "skewed": lambda random, size: random.standard_exponential(size, dtype=np.float32) ** 4,
    "normal": lambda random, size: random.standard_normal(size, dtype=np.float32),
}


def exact_norm(array):
    """The norm by a float64 sum, in blocks to avoid a float64 copy of the whole array."""
    flat = array.reshape(-1)
    blocks = (flat[i : i + 2**20].astype(np.float64) for i in range(0, flat.size, 2**20))
    return np.sqrt(sum(np.dot(block, block) for block in blocks))


def recorded(variable, gradient, **options):
    """The record of one step without momentum."""
    optimizer = keras_lars.LARS(momentum=0, weight_decay=0, record_trust_ratios=True, **options)
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    return optimizer.trust_ratios["w"]


def about_one(size):
    """Numbers near 1 or -1, none so small that its square would not count."""
    random = np.random.default_rng(0)
    return random.choice([-1, 1], size) * random.uniform(0.5, 2.0, size)


@pytest.mark.parametrize("jit_compile", ["auto", False])
@pytest.mark.parametrize(
    ("size", "kind"),
    [
        *((size, kind) for size in SIZES for kind in MAKE),
        # The largest size omits normal numbers, which show the least.
        *(pytest.param(10**8, kind, marks=pytest.mark.slow) for kind in ("constant", "skewed")),
    ],
)
def test_accuracy(size, kind, jit_compile):
    weights = MAKE[kind](np.random.default_rng(0), size)
    norm = exact_norm(weights)
    variable = keras.Variable(weights, name="w")
    del weights  # 1e8 elements take 0.4 GB, and the update needs several times that
    # Half of a float32 is exact, so one sum serves both.
    record = recorded(variable, variable * 0.5, jit_compile=jit_compile)
    assert float(record.weight_norm) == pytest.approx(norm, rel=1e-6, abs=0)
    assert float(record.gradient_norm) == pytest.approx(norm / 2, rel=1e-6, abs=0)


@pytest.mark.parametrize("jit_compile", ["auto", False])
@pytest.mark.parametrize("shape", [(1001,), (13, 77), (3, 5, 67)])
def test_accuracy_does_not_depend_on_the_shape(shape, jit_compile):
    weights = np.random.default_rng(0).exponential(size=shape).astype(np.float32)
    record = recorded(keras.Variable(weights, name="w"), -weights, jit_compile=jit_compile)
    assert float(record.weight_norm) == pytest.approx(exact_norm(weights), rel=1e-6, abs=0)


@pytest.mark.parametrize("jit_compile", ["auto", False])
@pytest.mark.parametrize("magnitude", [1e-18, 1e-9, 1.0, 1e9, 1e18])
def test_magnitudes(magnitude, jit_compile):
    """A plain float32 sum of a hundred squares must cover this range."""
    weights = (about_one(100) * magnitude).astype(np.float32)
    gradient = weights[::-1].copy()
    variable = keras.Variable(weights, name="w")
    options = {"learning_rate": 1.0, "trust_coefficient": 0.5, "weight_norm_floor": 0.0}
    options["jit_compile"] = jit_compile
    record = recorded(variable, gradient, **options)
    assert float(record.weight_norm) == pytest.approx(exact_norm(weights), rel=1e-6, abs=0)
    assert float(record.gradient_norm) == pytest.approx(exact_norm(weights), rel=1e-6, abs=0)
    expected = (weights.astype(np.float64) - 0.5 * gradient) / magnitude
    actual = keras.ops.convert_to_numpy(variable).astype(np.float64) / magnitude
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("magnitude", [1e-30, 1e-22, 1e22, 1e30])
def test_compiled_norms_beyond_the_range_of_float32_squares(magnitude):
    """CPUs sum in float64. In float32, squares of these numbers are infinite or zero."""
    weights = (about_one(1001) * magnitude).astype(np.float32)
    record = recorded(keras.Variable(weights, name="w"), weights)
    assert float(record.weight_norm) == pytest.approx(exact_norm(weights), rel=1e-6, abs=0)


@pytest.mark.parametrize("form", MOMENTUM_FORMS)
@pytest.mark.parametrize("options", [{}, {"trust_clip": True}, {"momentum": 0}], ids=str)
def test_a_weight_norm_beyond_float32_makes_all_nan(form, options):
    """It gives no plausible ratio, such as 1 from the clip, or an infinity in only one element."""
    (variable,) = make_variables({"w": [1e20, 1.0]})
    optimizer = keras_lars.LARS(
        momentum_form=form, decay_in_norm=True, weight_decay=0, jit_compile=False, **options
    )
    optimizer.apply([keras.ops.convert_to_tensor([1.0, 0.0])], [variable])
    assert np.isnan(keras.ops.convert_to_numpy(variable)).all()


@pytest.mark.parametrize("jit_compile", ["auto", False])
@pytest.mark.parametrize("value", [30.0, 1e-4])
@pytest.mark.parametrize("variable_dtype", ["same", "float32"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_gradients_neither_overflow_nor_vanish(
    dtype, variable_dtype, value, jit_compile
):
    """1e5 squares of 30 sum to 9e7, and the square of 1e-4 is below the smallest float16."""
    variable_dtype = dtype if variable_dtype == "same" else variable_dtype
    (variable,) = make_variables({"w": np.ones(10**5)}, variable_dtype)
    gradient = keras.ops.cast(np.full(10**5, value, np.float32), dtype)
    rounded = float(keras.ops.convert_to_numpy(gradient)[0])
    optimizer = keras_lars.LARS(
        0.5,
        momentum=0,
        weight_decay=0,
        trust_coefficient=0.5,
        record_trust_ratios=True,
        jit_compile=jit_compile,
    )
    optimizer.apply([gradient], [variable])
    record = optimizer.trust_ratios["w"]
    assert float(record.weight_norm) == pytest.approx(1e5**0.5, rel=1e-6, abs=0)
    assert float(record.gradient_norm) == pytest.approx(rounded * 1e5**0.5, rel=1e-6, abs=0)
    # q g = 0.5 whatever g is, and 1 - 0.5 * 0.5 is exact in every dtype.
    weights = keras.ops.convert_to_numpy(variable).astype(np.float64)
    np.testing.assert_allclose(weights, 0.75, rtol=1e-2 if variable_dtype != "float32" else 1e-5)
    assert variable.dtype == variable_dtype
