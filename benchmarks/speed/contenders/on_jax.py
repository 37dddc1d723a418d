"""Contenders of JAX: whole updates under `jax.jit`, with weights and slots donated."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.speed import settings
from benchmarks.speed.contenders import keras_optimizers
from benchmarks.speed.settings import Hyperparameters
from benchmarks.speed.variables import Shapes

MODULES = ("jax", "jaxlib")


class Update:
    """Weights and slots, and a compiled function that gives the next ones in their place.

    The function takes and returns them in one order, (weights, slots): JAX hands the memory of what
    is donated to results of the same shape in the order of both, and weights that are written where
    slots were are copied first. (Keras's own training has the right order.)
    """

    def __init__(self, function: Callable, gradients: list, weights: list, slots: Any):
        self._function = jax.jit(function, donate_argnums=(0, 1))
        self._gradients = gradients
        self._weights, self._slots = weights, slots

    def prepare(self) -> None:
        """Nothing: what is done here before a step would not be timed."""

    def step(self) -> None:
        self._weights, self._slots = self._function(self._weights, self._slots, self._gradients)
        jax.block_until_ready((self._weights, self._slots))

    def weights(self) -> list[np.ndarray]:
        return [np.array(weight) for weight in self._weights]


def gradients(shapes: Shapes, hyper: Hyperparameters) -> list[jax.Array]:
    # Copied: an array that borrows NumPy's memory is not like one that JAX computed.
    return [
        jnp.array(settings.gradient(position, shape, hyper), copy=True)
        for position, shape in enumerate(shapes.values())
    ]


def keras(
    shapes: Shapes, gradients: list, hyper: Hyperparameters, optimizer: str, **arguments: Any
) -> Update:
    variables = keras_optimizers.variables(shapes)
    optimizer = keras_optimizers.optimizer(optimizer, hyper, **arguments)
    optimizer.build(variables)

    def apply(weights, slots, gradients):
        return optimizer.stateless_apply(slots, gradients, weights)

    # Copied, since these arrays are donated and Keras keeps its own.
    weights = [jnp.array(variable.value, copy=True) for variable in variables]
    slots = [jnp.array(variable.value, copy=True) for variable in optimizer.variables]
    for variable in [*variables, *optimizer.variables]:
        variable.value.delete()
    return Update(apply, gradients, weights, slots)


def optax(shapes: Shapes, gradients: list, hyper: Hyperparameters) -> Update:
    import optax

    transformation = optax.lars(
        hyper.learning_rate,
        hyper.weight_decay,
        [settings.is_decayed(path) for path in shapes],
        hyper.trust_coefficient,
        momentum=hyper.momentum,
    )
    weights = [jnp.array(settings.weight(i, s), copy=True) for i, s in enumerate(shapes.values())]

    def apply(weights, slots, gradients):
        updates, slots = transformation.update(gradients, slots, weights)
        return optax.apply_updates(weights, updates), slots

    return Update(apply, gradients, weights, transformation.init(weights))


def adder(elements: int) -> Callable[[], None]:
    """Adds 1 to an array in place: reads it once and writes it once."""
    arrays = [jnp.zeros([elements])]
    add = jax.jit(lambda x: x + 1, donate_argnums=0)

    def run():
        arrays[0] = jax.block_until_ready(add(arrays[0]))

    return run


def _memory(name: str) -> int | None:
    device = jax.devices()[0]
    return None if device.platform == "cpu" else device.memory_stats()[name]


def peak_bytes() -> int | None:
    """The most that was ever used of a GPU's memory, or None on a CPU."""
    return _memory("peak_bytes_in_use")


def used_bytes() -> int | None:
    return _memory("bytes_in_use")


def reset_peak() -> None:
    """JAX has no way to: its peak is that of the process."""
