"""The gradient noise scale, from squared norms of gradients.

McCandlish, Kaplan, Amodei and the OpenAI Dota Team 2018 (arXiv 1812.06162), appendix A. `G` is the
true gradient, and `Sigma` is the covariance of the gradient of one example::

    B_simple = tr(Sigma) / |G|^2

Both have unbiased estimates from the gradients of a large batch and of its parts::

    |G|^2     = (B_big * |G_big|^2 - B_small * |G_small|^2) / (B_big - B_small)
    tr(Sigma) = (|G_small|^2 - |G_big|^2) / (1 / B_small - 1 / B_big)

`|G_small|^2` is the mean over the parts. This module measures in large batches: `B_big` is 1, and
with k parts `B_small` is 1 / k. So the noise scale is a number of batches, and examples need not be
counted. Nothing here knows about optimizers, callbacks or files.
"""

from typing import NamedTuple, TypeVar

import numpy as np

from keras_lars._types import Tensor

Number = TypeVar("Number", float, np.ndarray)

# With fewer there is no estimate: with 8 it would be 40 % too low to 65 % too high.
MEASUREMENTS = 16
_STANDARD_ERRORS = 2.0  # on either side: an interval of about 95 %


class Estimate(NamedTuple):
    """B_simple in batches, with its confidence interval. NaN where there is no estimate."""

    noise_scale: np.ndarray
    low: np.ndarray
    high: np.ndarray


def mean_of_parts(sums: Tensor, replicas: int) -> Tensor:
    """|G_small|^2, from the sums of |g|^2 over all parts, followed by the number of parts.

    The gradients `g` of the replicas add up to the mean gradient, so the gradient of one part is
    `replicas * g`. If some parts are missing from the sums, as after a restart from a file without
    them, the mean over the others is unbiased as well.
    """
    return replicas**2 * sums[:-1] / sums[-1]


def gradient_square(of_parts: Number, of_mean: Number, parts: int) -> Number:
    """|G|^2 of one measurement."""
    return (of_mean - of_parts / parts) / (1 - 1 / parts)


def noise_square(of_parts: Number, of_mean: Number, parts: int) -> Number:
    """tr(Sigma) for B_big = 1: the squared distance of a batch's gradient from the true one."""
    return (of_parts - of_mean) / (parts - 1)


def estimate(gradient_squares: np.ndarray, noise_squares: np.ndarray) -> Estimate:
    """The ratio of the means over the measurements, which are along the last axis.

    A mean of ratios would not do, because their denominators may be near 0 or negative. The
    interval is Fieller's (1954): the values `r` for which the mean of
    `noise_square - r * gradient_square` is within some standard errors of 0. If the mean of `|G|^2`
    is not that far above 0, there is no estimate.
    """
    count = gradient_squares.shape[-1]
    nothing = np.full(gradient_squares.shape[:-1], np.nan)
    if count < MEASUREMENTS:
        return Estimate(nothing, nothing, nothing)
    with np.errstate(all="ignore"):  # without finite values there is no estimate
        x, y = noise_squares.mean(-1), gradient_squares.mean(-1)
        dx, dy = noise_squares - x[..., None], gradient_squares - y[..., None]
        factor = _STANDARD_ERRORS**2 / count / (count - 1)
        xx, xy, yy = (factor * (a * b).sum(-1) for a, b in ((dx, dx), (dx, dy), (dy, dy)))
        # a * r^2 - 2 * b * r + c <= 0
        a, b, c = y * y - yy, x * y - xy, x * x - xx
        root = np.sqrt(np.maximum(b * b - a * c, 0))
        found = np.maximum(np.stack([x / y, (b - root) / a, (b + root) / a]), 0)
    is_known = (a > 0) & (y > 0) & np.isfinite(found).all(0)
    return Estimate(*np.where(is_known, found, np.nan))


def worth(noise_scale: float, batches: float = 1.0) -> float:
    """The progress of an epoch, relative to very small batches: 1 / (1 + B / B_simple).

    `batches` is the batch size B, in batches of the measured size.
    """
    return noise_scale / (noise_scale + batches)
