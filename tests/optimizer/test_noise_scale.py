"""The estimator of the gradient noise scale, in closed form."""

import itertools

import numpy as np
import pytest

from keras_lars import _noise_scale
from keras_lars._noise_scale import MEASUREMENTS, estimate, gradient_square, noise_square, worth


def measured(parts):
    """Estimates (|G|^2, tr(Sigma) / B) from gradients of equal parts, (..., parts, elements)."""
    of_parts = np.mean(np.sum(parts**2, axis=-1), axis=-1)
    of_mean = np.sum(np.mean(parts, axis=-2) ** 2, axis=-1)
    count = parts.shape[-2]
    return gradient_square(of_parts, of_mean, count), noise_square(of_parts, of_mean, count)


def split(gradients, parts):
    """The mean gradients of equal parts, from gradients of examples, (..., examples, elements)."""
    *first, examples, elements = gradients.shape
    return gradients.reshape(*first, parts, examples // parts, elements).mean(axis=-2)


class Quadratic:
    """The loss curvature * (w - x)^2 / 2, summed over elements, where x ~ N(0, deviation).

    The gradient of an example is curvature * (w - x), so G and Sigma are known.
    """

    curvature = np.array([1.0, 0.5, 2.0, 4.0, 0.25])
    deviation = np.array([1.0, 3.0, 0.5, 0.25, 8.0])
    w = np.array([0.5, -1.0, 0.25, 0.125, 2.0])
    noise = np.sum((curvature * deviation) ** 2)
    gradient = np.sum((curvature * w) ** 2)

    def gradients(self, seed, measurements, examples):
        random = np.random.default_rng(seed)
        shape = (measurements, examples, len(self.w))
        return self.curvature * (self.w - self.deviation * random.normal(size=shape))


BATCH = 32


@pytest.mark.parametrize("parts", [2, 8, 32])
def test_a_quadratic_is_measured_within_five_percent(parts):
    quadratic = Quadratic()
    gradients = quadratic.gradients(seed=0, measurements=1000, examples=BATCH)
    found = estimate(*measured(split(gradients, parts)))
    truth = quadratic.noise / quadratic.gradient / BATCH
    assert found.noise_scale == pytest.approx(truth, rel=0.05)
    assert found.low < truth < found.high
    assert found.high - found.low < 0.2 * truth


def test_both_estimates_are_unbiased_and_the_interval_has_the_stated_coverage():
    quadratic = Quadratic()
    truth = quadratic.noise / quadratic.gradient / BATCH
    gradients = quadratic.gradients(seed=1, measurements=200 * 64, examples=BATCH)
    pairs = np.array(measured(split(gradients, 4))).reshape(2, 200, 64)  # of 200 seeds
    for found, expected in zip(pairs, (quadratic.gradient, quadratic.noise / BATCH), strict=True):
        of_seeds = found.mean(-1)
        error = of_seeds.std() / np.sqrt(len(of_seeds))
        assert abs(of_seeds.mean() - expected) < 3 * error
        assert error < 0.01 * expected
    found = estimate(*pairs)
    held = np.mean((found.low < truth) & (truth < found.high))
    assert 0.92 < held <= 0.99


def partitions(examples, size):
    """All ways to divide a tuple into groups of the same size."""
    if not examples:
        yield []
        return
    first, *others = examples
    for rest in itertools.combinations(others, size - 1):
        left = tuple(each for each in others if each not in rest)
        for following in partitions(left, size):
            yield [(first, *rest), *following]


def test_every_split_of_one_batch_measures_the_same():
    """Averaged over all ways to split it, exactly: the unbiased variance of its examples."""
    gradients = np.random.default_rng(2).normal(1.0, 2.0, size=(6, 3))
    expected_noise = gradients.var(axis=0, ddof=1).sum() / 6
    expected_gradient = np.sum(gradients.mean(0) ** 2) - expected_noise
    for size in (1, 2, 3):
        ways = list(partitions(tuple(range(6)), size))
        assert len(ways) == {1: 1, 2: 15, 3: 10}[size]
        parts = np.array([[gradients[list(group)].mean(0) for group in way] for way in ways])
        found_gradient, found_noise = (found.mean() for found in measured(parts))
        assert found_noise == pytest.approx(expected_noise)
        assert found_gradient == pytest.approx(expected_gradient)


def test_layers_add_up():
    parts = np.random.default_rng(3).normal(1.0, 1.0, size=(5, 4, 7))
    whole = np.array(measured(parts))
    layers = np.array(measured(parts[..., :3])) + np.array(measured(parts[..., 3:]))
    np.testing.assert_allclose(layers, whole)


@pytest.mark.parametrize(("micro_batches", "replicas"), [(8, 1), (1, 8), (4, 2), (2, 4)])
def test_micro_batches_and_replicas_are_both_parts(micro_batches, replicas):
    parts = np.random.default_rng(4).normal(size=(8, 5))
    shares = parts / replicas  # the sum over replicas is the mean
    sums = np.append(np.sum(shares**2, axis=0), micro_batches * replicas)
    found = _noise_scale.mean_of_parts(sums, replicas)
    np.testing.assert_allclose(found, np.mean(parts**2, axis=0))


def test_the_estimate_is_the_ratio_of_means():
    gradients, noise = np.full(20, 4.0), np.full(20, 3.0)
    gradients[::2] = -1.0  # with these, a mean of ratios would be nonsense
    assert estimate(gradients, noise).noise_scale == pytest.approx(2.0)


def test_too_little_data_gives_nan():
    random = np.random.default_rng(5)
    gradients, noise = 1 + 0.1 * random.normal(size=(2, 3, MEASUREMENTS))
    assert np.isfinite(estimate(gradients, noise)).all()
    fewer = estimate(gradients[:, 1:], noise[:, 1:])
    assert np.shape(fewer) == (3, 3)
    assert np.isnan(fewer).all()
    gradients[1] = random.normal(size=MEASUREMENTS)  # no gradient that stands out from the noise
    gradients[2, 3] = np.inf
    found = estimate(gradients, noise)
    np.testing.assert_array_equal(np.isnan(found.noise_scale), [False, True, True])
    np.testing.assert_array_equal(np.isnan(found.low), np.isnan(found.high))


def test_the_worth_of_a_batch():
    assert worth(1.0) == 0.5
    assert worth(3.0) == 0.75
    assert worth(1.0, batches=4) == pytest.approx(0.2)
    assert worth(0.0) == 0


def test_very_small_noise_is_not_negative():
    noise = np.tile([0.5, -0.6], 20)
    found = estimate(np.ones(40), noise)
    assert found.noise_scale == found.low == 0
    assert found.high > 0
