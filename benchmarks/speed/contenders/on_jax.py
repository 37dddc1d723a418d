"""Contenders on JAX: whole updates under `jax.jit`, with weights and slots donated."""

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
    """Weights and slots, and a compiled function that replaces them by the next ones.

    The function takes and returns them in the same order, (weights, slots). JAX assigns donated
    memory in this order to results of the same shape. In another order, weights would be written
    over slots, which costs a copy. (Keras's own training has the right order.)
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
    # Copied, because an array that borrows NumPy's memory may behave differently.
    return jnp.array(values, copy=True)


def keras(
    shapes: Shapes, gradients: list, hyper: Hyperparameters, optimizer: str, **arguments: Any
) -> Update:
    own, built = keras_optimizers.build(shapes, hyper, optimizer, **arguments)

    def apply(weights: list, slots: list, gradients: list) -> tuple:
        return built.stateless_apply(slots, gradients, weights)

    # Copied, because these arrays are donated while Keras keeps its own.
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
    """Returns a function that adds 1 to an array in place, which reads and writes it once."""
    arrays = [jnp.zeros([elements])]
    add = jax.jit(lambda x: x + 1, donate_argnums=0)

    def run() -> None:
        arrays[0] = jax.block_until_ready(add(arrays[0]))

    return run


def gpu_memory(reset_peak: bool = False) -> tuple[int, int] | None:
    """The bytes in use on a GPU, and their peak, which JAX cannot reset; None on a CPU."""
    del reset_peak
    device = jax.devices()[0]
    if device.platform == "cpu":
        return None
    found = device.memory_stats()
    return found["bytes_in_use"], found["peak_bytes_in_use"]
