"""Contenders on TensorFlow: Keras optimizers in a `tf.function`, and its momentum kernel."""

import functools
from typing import Any
from unittest import mock

import tensorflow as tf

from benchmarks.speed import variables
from benchmarks.speed.contenders import on_keras
from benchmarks.speed.contenders.on_keras import Model
from keras_lars._backends import tensorflow_clusters, tensorflow_xla

MODULES = ("tensorflow",)


class Update(on_keras.Update):
    """Variables, and a traced function that updates them with given gradients."""

    def __init__(
        self, function: tf.types.experimental.PolymorphicFunction, gradients: list, own: list
    ):
        super().__init__(own)
        self._function, self._gradients = function, gradients

    @functools.cached_property
    def _traced(self) -> tf.types.experimental.ConcreteFunction:
        """Avoids the search for a trace in each call.

        In a training, gradients are not arguments, so that search is trivial.
        """
        return self._function.get_concrete_function(self._gradients)

    def step(self) -> None:
        self._traced(self._gradients)
        # On a CPU the call returns when the function has run; on a GPU it may return earlier.
        if tf.config.list_logical_devices("GPU"):
            tf.test.experimental.sync_devices()

    def launches(self) -> int:
        if self._traced.function_def.attr["_XlaMustCompile"].b:
            return 1
        definition = self._traced.graph.as_graph_def()
        bodies = [definition.node, *(each.node_def for each in definition.library.function)]
        return sum(node.attr["_XlaMustCompile"].b for body in bodies for node in body)


def keras(
    model: Model,
    optimizer: str,
    xla: bool = False,
    sharing: tensorflow_clusters.Sharing | None = None,
    **arguments: Any,
) -> Update:
    own, built = on_keras.build(model, optimizer, **arguments)
    choose = (lambda on_cpu: sharing) if sharing else tensorflow_clusters.sharing
    compiled = tensorflow_xla.CompiledUpdates()  # no clusters of another contender are reused

    @tf.function(jit_compile=xla, autograph=False)
    def apply(gradients: list) -> None:
        with (
            mock.patch.object(tensorflow_clusters, "sharing", choose),
            mock.patch.object(tensorflow_xla, "COMPILED", compiled),
        ):
            built.apply(gradients, own)

    return Update(apply, model.gradients, [variable.value for variable in own])


def native(model: Model) -> Update:
    """The kernel of TensorFlow's own momentum optimizer, called for one variable at a time."""
    own = [tf.Variable(weight) for weight in variables.weights(model.shapes)]
    velocities = [tf.Variable(tf.zeros(shape)) for shape in model.shapes.values()]

    @tf.function(autograph=False)
    def apply(gradients: list) -> None:
        for variable, velocity, gradient in zip(own, velocities, gradients):
            tf.raw_ops.ResourceApplyMomentum(
                var=variable.handle,
                accum=velocity.handle,
                lr=model.hyper.learning_rate,
                grad=gradient,
                momentum=model.hyper.momentum,
            )

    return Update(apply, model.gradients, own)


def adder(elements: int) -> Update:
    """Adds 1 to an array in place, which reads and writes it once."""
    array = tf.Variable(tf.zeros([elements]))

    @tf.function(jit_compile=True, autograph=False)
    def add(gradients: list) -> None:
        array.assign_add(tf.ones([elements]))

    return Update(add, [], [array])


def gpu_memory(reset_peak: bool = False) -> tuple[int, int] | None:
    """The bytes in use on a GPU, and their peak since the last reset; None on a CPU."""
    if not tf.config.list_logical_devices("GPU"):
        return None
    if reset_peak:
        tf.config.experimental.reset_memory_stats("GPU:0")
    found = tf.config.experimental.get_memory_info("GPU:0")
    return found["current"], found["peak"]
