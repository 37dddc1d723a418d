"""Contenders under `MirroredStrategy` on two logical CPUs, compared to one replica without it.

This separates the cost of the all-reduce from the other costs of a strategy. A strategy takes
`tf.distribute.CrossDeviceOps`, and ops that return each replica's value unchanged do no all-reduce.
The replicas then get gradients that are already summed. With the all-reduce, each gets half.
"""

import functools

import tensorflow as tf

REPLICAS = 2

# Must be set before TensorFlow starts, which the first tensor triggers.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * REPLICAS
)

from benchmarks.speed.contenders import on_keras, on_tensorflow  # noqa: E402
from benchmarks.speed.contenders.on_keras import Model  # noqa: E402

MODULES = on_tensorflow.MODULES
keras = on_tensorflow.keras  # one replica
adder, gpu_memory = on_tensorflow.adder, on_tensorflow.gpu_memory


class AlreadySummed(tf.distribute.ReductionToOneDevice):
    """Leaves the value of each replica unchanged."""

    def reduce_implementation(self, reduce_op, per_replica_value, destinations, options):
        return per_replica_value

    def batch_reduce_implementation(self, reduce_op, value_destination_pairs, options):
        return [value for value, _ in value_destination_pairs]


def replicated(model: Model, optimizer: str, all_reduce: bool) -> on_tensorflow.Update:
    strategy = _strategy(all_reduce)
    with strategy.scope():
        own, built = on_keras.build(model, optimizer)

    @tf.function(autograph=False)
    def apply(gradients: list) -> None:
        strategy.run(lambda *of_replica: built.apply(list(of_replica), own), args=tuple(gradients))

    gradients = _per_replica(strategy, model.gradients, 1 / REPLICAS if all_reduce else 1.0)
    return on_tensorflow.Update(apply, gradients, [variable.value for variable in own])


def all_reduce(model: Model) -> on_tensorflow.Update:
    """Only the all-reduce: sums gradients over replicas, on the devices of the variables."""
    strategy = _strategy(all_reduce=True)
    with strategy.scope():
        own = [variable.value for variable in on_keras.keras_variables(model.shapes)]

    @tf.function(autograph=False)
    def reduce(gradients: list) -> list:
        pairs = list(zip(gradients, own))
        return strategy.extended.batch_reduce_to(tf.distribute.ReduceOp.SUM, pairs)

    return on_tensorflow.Update(reduce, _per_replica(strategy, model.gradients, 1.0), own)


@functools.cache  # the collectives of two strategies in a process collide
def _strategy(all_reduce: bool) -> tf.distribute.MirroredStrategy:
    devices = [f"CPU:{i}" for i in range(REPLICAS)]
    return tf.distribute.MirroredStrategy(devices, None if all_reduce else AlreadySummed())


def _per_replica(strategy: tf.distribute.Strategy, gradients: list, factor: float) -> list:
    distribute = strategy.experimental_distribute_values_from_function
    return [distribute(lambda context, g=g: tf.multiply(g, factor)) for g in gradients]
