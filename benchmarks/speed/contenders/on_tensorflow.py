"""Contenders of TensorFlow: Keras optimizers in a `tf.function`, and its momentum kernel."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.speed import settings
from benchmarks.speed.contenders import keras_optimizers
from benchmarks.speed.settings import Hyperparameters
from benchmarks.speed.variables import Shapes

MODULES = ("tensorflow",)


class Update:
    """Variables and a traced function that updates them by the gradients that it is given."""

    def __init__(self, function: Callable, gradients: list, variables: list[tf.Variable]):
        self._function, self._gradients, self._variables = function, gradients, variables
        self._traced = None

    def prepare(self) -> None:
        """Nothing: what is done here before a step would not be timed."""

    def step(self) -> None:
        if self._traced is None:
            # Without the search for the right trace at each call, which in a training, where
            # gradients are no arguments, has nothing to look at.
            self._traced = self._function.get_concrete_function(self._gradients)
        self._traced(self._gradients)
        synchronize()

    def weights(self) -> list[np.ndarray]:
        return [np.array(variable) for variable in self._variables]


def synchronize() -> None:
    # A CPU has run a function when the call returns; a GPU may not have.
    if tf.config.list_logical_devices("GPU"):
        tf.test.experimental.sync_devices()


def gradients(shapes: Shapes, hyper: Hyperparameters) -> list[tf.Tensor]:
    return [
        tf.constant(settings.gradient(position, shape, hyper))
        for position, shape in enumerate(shapes.values())
    ]


def keras(
    shapes: Shapes,
    gradients: list,
    hyper: Hyperparameters,
    optimizer: str,
    xla: bool = False,
    **arguments: Any,
) -> Update:
    variables = keras_optimizers.variables(shapes)
    optimizer = keras_optimizers.optimizer(optimizer, hyper, **arguments)
    optimizer.build(variables)

    @tf.function(jit_compile=xla, autograph=False)
    def apply(gradients):
        optimizer.apply(gradients, variables)

    return Update(apply, gradients, [variable.value for variable in variables])


def native(shapes: Shapes, gradients: list, hyper: Hyperparameters) -> Update:
    """The kernel that TensorFlow's own momentum optimizer called, one variable after the other."""
    variables = [tf.Variable(settings.weight(i, s)) for i, s in enumerate(shapes.values())]
    velocities = [tf.Variable(tf.zeros(shape)) for shape in shapes.values()]

    @tf.function(autograph=False)
    def apply(gradients):
        for variable, velocity, gradient in zip(variables, velocities, gradients):
            tf.raw_ops.ResourceApplyMomentum(
                var=variable.handle,
                accum=velocity.handle,
                lr=hyper.learning_rate,
                grad=gradient,
                momentum=hyper.momentum,
            )

    return Update(apply, gradients, variables)


def adder(elements: int) -> Callable[[], None]:
    """Adds 1 to an array in place: reads it once and writes it once."""
    array = tf.Variable(tf.zeros([elements]))

    @tf.function(jit_compile=True, autograph=False)
    def add():
        array.assign_add(tf.ones([elements]))

    def run():
        add()
        synchronize()

    return run


def peak_bytes() -> int | None:
    """The most that was ever used of a GPU's memory, or None on a CPU."""
    if not tf.config.list_logical_devices("GPU"):
        return None
    return tf.config.experimental.get_memory_info("GPU:0")["peak"]


def used_bytes() -> int | None:
    if not tf.config.list_logical_devices("GPU"):
        return None
    return tf.config.experimental.get_memory_info("GPU:0")["current"]


def reset_peak() -> None:
    if tf.config.list_logical_devices("GPU"):
        tf.config.experimental.reset_memory_stats("GPU:0")
