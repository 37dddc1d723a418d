"""Contenders under `MirroredStrategy`, on two logical CPUs, against one replica without it.

What a strategy adds to the update itself is told apart from the all-reduce: TensorFlow lets a
strategy be given its own `tf.distribute.CrossDeviceOps`, and one that returns each replica's value
as it is does no all-reduce. The replicas are then given gradients as if these were summed already.
With the all-reduce each is given half.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

REPLICAS = 2

# Before TensorFlow starts, which the first tensor makes it do.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * REPLICAS
)

from benchmarks.speed.contenders import keras_optimizers, on_tensorflow  # noqa: E402
from benchmarks.speed.variables import Hyperparameters, Shapes  # noqa: E402

MODULES = on_tensorflow.MODULES
gradients, adder = on_tensorflow.gradients, on_tensorflow.adder
gpu_memory = on_tensorflow.gpu_memory


class AlreadySummed(tf.distribute.ReductionToOneDevice):
    """Leaves each replica the value that it has."""

    def reduce_implementation(self, reduce_op, per_replica_value, destinations, options):
        del reduce_op, destinations, options
        return per_replica_value

    def batch_reduce_implementation(self, reduce_op, value_destination_pairs, options):
        del reduce_op, options
        return [value for value, _ in value_destination_pairs]


def update(
    shapes: Shapes,
    gradients: list,
    hyper: Hyperparameters,
    optimizer: str,
    replicas: int,
    all_reduce: bool = False,
) -> on_tensorflow.Update:
    if replicas == 1:
        return on_tensorflow.keras(shapes, gradients, hyper, optimizer)
    strategy = _strategy(all_reduce)
    with strategy.scope():
        own, built = keras_optimizers.build(shapes, hyper, optimizer)

    @tf.function(autograph=False)
    def apply(gradients: list) -> None:
        strategy.run(lambda *of_replica: built.apply(list(of_replica), own), args=tuple(gradients))

    gradients = _per_replica(strategy, gradients, 1 / REPLICAS if all_reduce else 1.0)
    return on_tensorflow.Update(apply, gradients, [variable.value for variable in own])


def all_reduce(shapes: Shapes, gradients: list, hyper: Hyperparameters) -> on_tensorflow.Update:
    """The sum over replicas to where the variables are, and nothing else."""
    del hyper
    strategy = _strategy(all_reduce=True)
    with strategy.scope():
        own = [variable.value for variable in keras_optimizers.keras_variables(shapes)]

    @tf.function(autograph=False)
    def reduce(gradients: list) -> list:
        pairs = list(zip(gradients, own))
        return strategy.extended.batch_reduce_to(tf.distribute.ReduceOp.SUM, pairs)

    return on_tensorflow.Update(reduce, _per_replica(strategy, gradients, 1.0), own)


@functools.cache  # the collectives of two strategies in a process collide
def _strategy(all_reduce: bool) -> tf.distribute.MirroredStrategy:
    devices = [f"CPU:{i}" for i in range(REPLICAS)]
    return tf.distribute.MirroredStrategy(devices, None if all_reduce else AlreadySummed())


def _per_replica(strategy: tf.distribute.Strategy, gradients: list, factor: float) -> list:
    def of(gradient: tf.Tensor) -> Callable:
        return lambda context: tf.multiply(gradient, factor)

    return [strategy.experimental_distribute_values_from_function(of(g)) for g in gradients]
