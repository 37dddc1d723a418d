"""Sums of several arrays of one shape on JAX, in one kernel."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import keras


def sums(arrays: Sequence[jax.Array]) -> jax.Array:
    """The sum of each array, as a vector. All arrays have the same shape and dtype.

    On accelerators the kernels add in a tree.
    """
    if isinstance(keras.distribution.distribution(), keras.distribution.ModelParallel):
        # Separate sums are computed on each shard, and then added across devices. A reduction of
        # several arrays would first give all of them the same sharding.
        return _one_by_one(*arrays)
    return _in_one_kernel(*arrays)


@jax.custom_jvp
def _in_one_kernel(*arrays: jax.Array) -> jax.Array:
    zeros = tuple(jnp.zeros((), array.dtype) for array in arrays)
    axes = tuple(range(arrays[0].ndim))
    return jnp.stack(jax.lax.reduce(arrays, zeros, _added, axes))


@_in_one_kernel.defjvp
def _derivative(
    arrays: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]
) -> tuple[jax.Array, jax.Array]:
    # JAX's own derivative of such a reduction repeatedly halves the arrays.
    return _in_one_kernel(*arrays), _one_by_one(*tangents)


def _added(left: Sequence[jax.Array], right: Sequence[jax.Array]) -> tuple[jax.Array, ...]:
    return tuple(a + b for a, b in zip(left, right))


def _one_by_one(*arrays: jax.Array) -> jax.Array:
    return jnp.stack([jnp.sum(array) for array in arrays])
