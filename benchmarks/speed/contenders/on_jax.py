"""Contenders of JAX: whole updates under `jax.jit`, with weights and slots donated."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.speed import contenders, variables
from benchmarks.speed.contenders import keras_optimizers
from benchmarks.speed.variables import Hyperparameters, Shapes

MODULES = ("jax", "jaxlib")


class Update(contenders.Update):
    """Weights and slots, and a compiled function that gives the next ones in their place.

    The function takes and returns them in one order, (weights, slots): JAX hands the memory of what
    is donated to results of the same shape in the order of both, and weights that are written where
    slots were are copied first. (Keras's own training has the right order.)
    """

    def __init__(self, function: Callable, gradients: list, weights: list, slots: Any):
        self.function = jax.jit(function, donate_argnums=(0, 1))
        self._gradients = gradients
        self._weights, self._slots = weights, slots

    @property
    def arguments(self) -> tuple[list, Any, list]:
        return self._weights, self._slots, self._gradients

    def step(self) -> None:
        self._weights, self._slots = self.function(*self.arguments)
        jax.block_until_ready((self._weights, self._slots))

    def weights(self) -> list[np.ndarray]:
        return [np.array(weight) for weight in self._weights]


def gradients(shapes: Shapes, hyper: Hyperparameters) -> list[jax.Array]:
    return [_array(variables.gradient(i, shape, hyper)) for i, shape in enumerate(shapes.values())]


def _array(values: Any) -> jax.Array:
    # Copied: an array that borrows NumPy's memory is not like one that JAX computed.
    return jnp.array(values, copy=True)


def keras(
    shapes: Shapes, gradients: list, hyper: Hyperparameters, optimizer: str, **arguments: Any
) -> Update:
    own, built = keras_optimizers.build(shapes, hyper, optimizer, **arguments)

    def apply(weights: list, slots: list, gradients: list) -> tuple:
        return built.stateless_apply(slots, gradients, weights)

    # Copied, since these arrays are donated and Keras keeps its own.
    weights = [_array(variable.value) for variable in own]
    slots = [_array(variable.value) for variable in built.variables]
    for variable in [*own, *built.variables]:
        variable.value.delete()
    return Update(apply, gradients, weights, slots)


def optax(shapes: Shapes, gradients: list, hyper: Hyperparameters) -> Update:
    import optax

    transformation = optax.lars(
        hyper.learning_rate,
        hyper.weight_decay,
        [variables.is_decayed(path) for path in shapes],
        hyper.trust_coefficient,
        momentum=hyper.momentum,
    )
    weights = [_array(variables.weight(i, shape)) for i, shape in enumerate(shapes.values())]

    def apply(weights: list, slots: Any, gradients: list) -> tuple:
        updates, slots = transformation.update(gradients, slots, weights)
        return optax.apply_updates(weights, updates), slots

    return Update(apply, gradients, weights, transformation.init(weights))


def adder(elements: int) -> Callable[[], None]:
    """Adds 1 to an array in place: reads it once and writes it once."""
    arrays = [jnp.zeros([elements])]
    add = jax.jit(lambda x: x + 1, donate_argnums=0)

    def run() -> None:
        arrays[0] = jax.block_until_ready(add(arrays[0]))

    return run


def gpu_memory(reset_peak: bool = False) -> tuple[int, int] | None:
    """The bytes in use on a GPU, and the most that ever were: JAX cannot forget that peak."""
    del reset_peak
    device = jax.devices()[0]
    if device.platform == "cpu":
        return None
    found = device.memory_stats()
    return found["bytes_in_use"], found["peak_bytes_in_use"]
