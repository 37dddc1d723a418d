"""The update on JAX, which treats similar variables together.

On a GPU, launching several kernels for each variable would take most of an update's time. So all
norms of a group come from one reduction, and its ratios from one call of the update rule on
vectors. XLA merges results of one shape that read the same array into one kernel: here, the new
weights and velocities of a group, all of which read the vector of its factors.
"""

import collections
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import keras

from keras_lars._backends.jax_sums import sums
from keras_lars._update_rule import (
    Record,
    UpdateConfig,
    VariableConfig,
    compute_dtype,
    decayed_gradient,
    differentiable_root,
    in_denominator,
    moved,
    scales,
    trust_ratio,
    unadapted_ratio,
)

# An XLA kernel has at most 96 operands and results, and a variable takes five of them.
_LARGEST_GROUP = 16

_T = TypeVar("_T")


class Arrays(NamedTuple):
    """The arrays of one variable. `v` is `None` without momentum."""

    position: int
    w: jax.Array
    g: jax.Array
    v: jax.Array | None
    variable_config: VariableConfig


def together() -> bool:
    """Whether similar variables are updated together: on all devices except CPUs.

    On CPUs several sums in one loop are half as fast, and the additional small kernels take longer
    to compile.
    """
    return jax.default_backend() != "cpu"


def groups(variables: Iterable[Arrays]) -> list[list[Arrays]]:
    """Groups of variables with the same settings, shape and dtype."""
    alike = collections.defaultdict(list)
    for each in variables:
        alike[each.variable_config, each.w.shape, each.w.dtype, each.g.dtype].append(each)
    return [*_cut(alike.values())]


def _cut(groups: Iterable[list[_T]]) -> Iterator[list[_T]]:
    """The groups, with large ones split."""
    for group in groups:
        yield from (
            group[start : start + _LARGEST_GROUP] for start in range(0, len(group), _LARGEST_GROUP)
        )


def squared_norms(gradients: Sequence[jax.Array]) -> list[jax.Array]:
    """The squared norm of each gradient. Those of one shape and dtype are computed together."""
    alike = collections.defaultdict(list)
    for i, g in enumerate(gradients):
        alike[g.shape, g.dtype].append(i)
    found: dict[int, jax.Array] = {}
    for group in _cut(alike.values()):
        squares = sums([gradients[i] * gradients[i] for i in group])
        found.update(zip(group, jnp.unstack(squares)))
    return [found[i] for i in range(len(gradients))]


def updated(
    group: Sequence[Arrays], learning_rate: jax.Array, config: UpdateConfig
) -> tuple[list[tuple[jax.Array, jax.Array | None]], Sequence[Record | None]]:
    """The new weights, velocities and records of a group, equal to `lars_update` of each."""
    variable_config = group[0].variable_config
    stored_dtype = group[0].w.dtype
    dtype = compute_dtype(keras.backend.standardize_dtype(stored_dtype))
    learning_rate = learning_rate.astype(dtype)
    weights = [each.w.astype(dtype) for each in group]
    velocities = [None if each.v is None else each.v.astype(dtype) for each in group]
    decayed = [decayed_gradient(w, each.g, variable_config) for w, each in zip(weights, group)]

    measured = []
    if variable_config.adapted or config.record_trust_ratios:
        measured += [w * w for w in weights]
        for each, d, v in zip(group, decayed, velocities):
            x = in_denominator(each.g, d, v, config)
            measured.append(x * x)
    if not variable_config.adapted:
        # Zero times the gradient is 0 or NaN, and so is the sum.
        measured += [0.0 * each.g for each in group]
    rows = list(sums(measured).reshape(-1, len(group)))
    nan_probes = None if variable_config.adapted else rows.pop()
    norms = [differentiable_root(squares) for squares in rows]

    if nan_probes is None:
        weight_norms, nan_probes = norms
        ratios = trust_ratio(weight_norms, nan_probes, learning_rate, variable_config, config)
    else:
        ratios = unadapted_ratio(nan_probes, learning_rate, config)
    factors = scales(ratios, nan_probes, learning_rate, config)
    # Without the barrier XLA would compute the factors again for each element, and not as a vector.
    velocity_scales, step_scales = (
        [None] * len(group) if factor is None else _elements(factor, len(group))
        for factor in jax.lax.optimization_barrier(factors)
    )

    new = []
    for w, d, v, velocity_scale, step_scale in zip(
        weights, decayed, velocities, velocity_scales, step_scales
    ):
        w, v = moved(w, d, v, velocity_scale, step_scale, config)
        new.append((w.astype(stored_dtype), None if v is None else v.astype(stored_dtype)))
    if not config.record_trust_ratios:
        return new, [None] * len(group)
    columns = [_elements(column, len(group)) for column in (*norms, ratios)]
    return new, [Record(*row) for row in zip(*columns)]


def _elements(factor: jax.Array, count: int) -> Sequence[jax.Array]:
    return jnp.unstack(jnp.broadcast_to(factor, [count]))
