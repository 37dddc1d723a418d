"""Every result is explained in scenarios that Hypothesis generates (the same ones in every run).

Results in range must equal those in float64. A variable may be non-finite only if its gradient is,
or if a value in the formula (a norm, a ratio, a step, the result) is too large for its type: the
type in which squares are summed, the type in which updates are computed, or the variable's type.
Values that are too small for their type count as 0, and never cause a NaN. The types do not change,
and neither do the bits of variables without a gradient.
"""

import collections

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from support.fuzz_oracle import play
from support.fuzz_scenarios import DTYPES, SHAPES, scenarios
from support.helpers import one_step, to_numpy
from support.reference import ReferenceLARS

from keras_lars._update_rule import MOMENTUM_FORMS

# One of the rates is.
pytestmark = pytest.mark.filterwarnings("ignore:`learning_rate` is far too small for LARS")

settings.register_profile(
    "fuzz",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
FUZZ = settings.get_profile("fuzz")


def assert_enough_was_judged(judged):
    """Scenarios in which everything is too large or too small would prove nothing."""
    assert judged["exact"] > sum(judged.values()) / 3, judged
    assert all(judged[kind] for kind in ("underflow", "not finite", "missing")), judged


@pytest.mark.slow
def test_plain_ops():
    judged = collections.Counter()

    @settings(FUZZ, max_examples=150)
    @given(scenarios(SHAPES, DTYPES, largest=4))
    def fuzz(scenario):
        judged.update(play(scenario, False).judged)

    fuzz()
    assert_enough_was_judged(judged)
    assert judged["overflow"]


@pytest.mark.slow
def test_compiled():
    """Where both are exact, compiled updates equal plain ops, since both equal float64."""
    judged = collections.Counter()

    @settings(FUZZ, max_examples=50)
    @given(scenarios(SHAPES, DTYPES, largest=2))
    def fuzz(scenario):
        run = play(scenario, "auto")
        assert run.compiled
        judged.update(run.judged)

    fuzz()
    assert_enough_was_judged(judged)


def numbers_about(magnitude, size=7):
    """Numbers of both signs, none of them much smaller than the others."""
    random = np.random.default_rng(0)
    signs = random.choice([-1, 1], size=(2, size))
    return (signs * random.uniform(0.5, 2, size=(2, size)) * magnitude).astype("float32")


EXACT = {False: (1e-18, 1e-9, 1.0, 1e9, 1e18), "auto": (1e-30, 1e-18, 1.0, 1e18, 1e37)}


@pytest.mark.parametrize(
    ("jit_compile", "magnitude"),
    [(jit, value) for jit, values in EXACT.items() for value in values],
)
@pytest.mark.parametrize("form", MOMENTUM_FORMS)
def test_exact_over_the_whole_range(form, magnitude, jit_compile):
    w, g = numbers_about(magnitude)
    options = {"momentum_form": form, "decay_in_norm": form == "ratio_of_update"}
    optimizer, new = one_step(
        w,
        g,
        0.5,
        trust_coefficient=0.25,
        record_trust_ratios=True,
        jit_compile=jit_compile,
        **options,
    )
    reference = ReferenceLARS(w, η=0.25, β=5e-4, form=form, decay_in_norm=options["decay_in_norm"])
    in_norm = g + 5e-4 * w.astype("float64") if options["decay_in_norm"] else g.astype("float64")
    norms = np.linalg.norm(w.astype("float64")), np.linalg.norm(in_norm)
    reference.step(g, 0.5)
    np.testing.assert_allclose(optimizer.trust_ratios["w"][:2], norms, rtol=1e-6)
    np.testing.assert_allclose(new, reference.w, rtol=1e-5, atol=1e-6 * magnitude)
    velocity = to_numpy(optimizer.momentums[0])
    np.testing.assert_allclose(velocity, reference.v, rtol=1e-5, atol=1e-6 * np.max(reference.v))


# Values whose norms are infinite, or 0, in the types in which norms are computed.
TOO_LARGE = {False: np.full(2, 1.4e19), "auto": np.full(2, 2.5e38)}
TOO_SMALL = {False: np.full(2, 1e-19), "auto": np.full(2, 1e-40)}


@pytest.mark.parametrize("jit_compile", [False, "auto"])
@pytest.mark.parametrize("form", MOMENTUM_FORMS)
def test_a_gradient_norm_that_is_too_large_makes_all_nan(form, jit_compile):
    options = {"momentum_form": form, "decay_in_norm": form == "ratio_of_update"}
    _, w = one_step([1.0, 2.0], TOO_LARGE[jit_compile] * 0.7, jit_compile=jit_compile, **options)
    assert np.all(np.isfinite(w))
    optimizer, w = one_step([1.0, 2.0], TOO_LARGE[jit_compile], jit_compile=jit_compile, **options)
    assert np.all(np.isnan(w))
    assert np.all(np.isnan(to_numpy(optimizer.momentums[0])))


@pytest.mark.parametrize("jit_compile", [False, "auto"])
@pytest.mark.parametrize("ratio", [0.25, 1.0])
def test_a_norm_that_is_too_small_counts_as_zero(ratio, jit_compile):
    options = {
        "record_trust_ratios": True,
        "zero_weight_ratio": ratio,
        "zero_gradient_ratio": ratio / 2,
        "jit_compile": jit_compile,
    }
    small = TOO_SMALL[jit_compile]
    optimizer, w = one_step(small, [3.0, 4.0], weight_decay=0, **options)
    assert optimizer.trust_ratios["w"] == (0.0, 5.0, ratio)
    np.testing.assert_allclose(w, [-3 * ratio, -4 * ratio], rtol=1e-6)
    optimizer, w = one_step([3.0, 4.0], small, weight_decay=0, **options)
    assert optimizer.trust_ratios["w"] == (5.0, 0.0, ratio / 2)
    np.testing.assert_array_equal(w, [3.0, 4.0])
