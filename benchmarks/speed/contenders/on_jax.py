"""Contenders on JAX: whole updates under `jax.jit`, with weights and slots donated."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.speed import variables
from benchmarks.speed.contenders import on_keras
from benchmarks.speed.contenders.on_keras import Model

MODULES = ("jax", "jaxlib")


class Update(on_keras.Update):
    """Weights and slots, and a compiled function that replaces them by the next ones.

    The function takes and returns them in the same order, (weights, slots). JAX assigns donated
    memory in this order to results of the same shape. In another order, weights would be written
    over slots, which costs a copy. (Keras's own training has the right order.)
    """

    def __init__(self, function: Callable, gradients: list, weights: list, slots: Any):
        super().__init__(weights)
        self.function = jax.jit(function, donate_argnums=(0, 1))
        self._gradients, self._slots = gradients, slots

    @property
    def arguments(self) -> tuple[list, Any, list]:
        return self._weights, self._slots, self._gradients

    def step(self) -> None:
        self._weights, self._slots = jax.block_until_ready(self.function(*self.arguments))


def keras(model: Model, optimizer: str, **arguments: Any) -> Update:
    own, built = on_keras.build(model, optimizer, **arguments)

    def apply(weights: list, slots: list, gradients: list) -> tuple:
        return built.stateless_apply(slots, gradients, weights)

    # Donated, so the variables themselves lose their values.
    weights, slots = ([variable.value for variable in each] for each in (own, built.variables))
    return Update(apply, model.gradients, weights, slots)


def optax(model: Model) -> Update:
    import optax

    shapes, gradients, hyper = model
    transformation = optax.lars(
        hyper.learning_rate,
        hyper.weight_decay,
        [variables.is_decayed(path) for path in shapes],
        hyper.trust_coefficient,
        momentum=hyper.momentum,
    )

    def apply(weights: list, slots: Any, gradients: list) -> tuple:
        updates, slots = transformation.update(gradients, slots, weights)
        return optax.apply_updates(weights, updates), slots

    weights = on_keras.tensors(variables.weights(shapes))
    return Update(apply, gradients, weights, transformation.init(weights))


def adder(elements: int) -> Update:
    """Adds 1 to an array in place, which reads and writes it once."""
    return Update(
        lambda arrays, slots, gradients: ([arrays[0] + 1], slots), [], [jnp.zeros([elements])], []
    )


def gpu_memory(reset_peak: bool = False) -> tuple[int, int] | None:
    """The bytes in use on a GPU, and their peak, which JAX cannot reset; None on a CPU."""
    del reset_peak
    device = jax.devices()[0]
    if device.platform == "cpu":
        return None
    found = device.memory_stats()
    return found["bytes_in_use"], found["peak_bytes_in_use"]
