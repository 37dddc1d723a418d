"""What the replicas of a `tf.distribute` strategy hold, and what they agree on."""

import functools
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from keras_lars._cluster import KINDS

PerReplica: TypeAlias = tf.types.experimental.distributed.PerReplica


def true_on_all(flag: tf.Tensor) -> tf.Tensor:
    """Whether a replica's boolean is true on all of them: asked, and answered, in each."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return flag
    is_false = tf.cast(tf.logical_not(flag), tf.float32)
    return tf.equal(context.all_reduce(tf.distribute.ReduceOp.SUM, is_false), 0.0)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one of all workers that writes files."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    if resolver.task_type == "worker" and "chief" in resolver.cluster_spec().jobs:
        return False
    return resolver.task_id == 0


def workers(strategy: tf.distribute.Strategy) -> list[str]:
    """The addresses of all workers, the chief's first; none without a cluster."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return []
    jobs = resolver.cluster_spec().as_dict()
    return [address for kind in KINDS for address in jobs.get(kind, [])]


def exchange(numbers: tuple[int, ...], strategy: tf.distribute.Strategy) -> list[tuple[int, ...]]:
    """The integers that the worker of each replica gives; all workers must call it together."""
    if strategy.num_replicas_in_sync == 1:
        return [tuple(numbers)]
    per_replica = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant([numbers], tf.int64)
    )
    return [tuple(row) for row in _gather(per_replica, strategy).tolist()]


def gather(values: np.ndarray, strategy: tf.distribute.Strategy) -> np.ndarray:
    """The array that the worker of each replica gives, of shape (replicas, *shape).

    All workers must call it together.
    """
    if strategy.num_replicas_in_sync == 1:
        return values[np.newaxis]
    per_replica = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(values[np.newaxis])
    )
    return _gather(per_replica, strategy)


def _gather(per_replica: PerReplica, strategy: tf.distribute.Strategy) -> np.ndarray:
    """`strategy.gather` along the first axis, traced once: by itself it is traced at every call.

    Each shape has a function of its own, since TensorFlow warns of one that is traced for many.
    """
    first = strategy.experimental_local_results(per_replica)[0]
    kept = vars(strategy).setdefault("_keras_lars_gathers", {})
    key = tuple(first.shape), first.dtype
    if key not in kept:
        # No closure either, by which such functions would count as one.
        kept[key] = tf.function(functools.partial(strategy.gather, axis=0), autograph=False)
    return kept[key](per_replica).numpy()


def read(variable: tf.Variable, strategy: tf.distribute.Strategy) -> np.ndarray:
    """A copy of the value on the first replica of this worker."""
    return np.array(strategy.experimental_local_results(variable)[0].numpy())


def write(variable: tf.Variable, value: np.ndarray, strategy: tf.distribute.Strategy) -> None:
    """Give all replicas of this worker one value."""
    for component in strategy.experimental_local_results(variable):
        component.assign(value)


def read_all(
    variables: Sequence[tf.Variable], strategy: tf.distribute.Strategy
) -> list[np.ndarray]:
    """The values on all replicas of all workers, of shape (replicas, *shape) for each variable.

    Every worker must call it at the same time.
    """
    components = [strategy.experimental_local_results(variable) for variable in variables]
    if strategy.num_replicas_in_sync == 1:
        return [np.array(component[0].numpy())[np.newaxis] for component in components]

    # Bytes as int32: one exchange for all dtypes, also those that cannot be exchanged.
    def packed(context: tf.distribute.experimental.ValueContext) -> tf.Tensor:
        replica = context.replica_id_in_sync_group
        data = b"".join(local[replica % len(local)].numpy().tobytes() for local in components)
        data += bytes(-len(data) % 4)
        return tf.constant(np.frombuffer(np.int32(replica).tobytes() + data, np.int32)[np.newaxis])

    per_replica = strategy.experimental_distribute_values_from_function(packed)
    rows = _gather(per_replica, strategy)
    rows = rows[np.argsort(rows[:, 0]), 1:]  # gathered by device, and then by worker
    values, start = [], 0
    for variable in variables:
        dtype = variable.dtype.as_numpy_dtype
        shape = (len(rows), *variable.shape)
        end = start + int(np.prod(variable.shape)) * np.dtype(dtype).itemsize
        data = np.ascontiguousarray(rows).view(np.uint8)[:, start:end]
        values.append(np.frombuffer(data.tobytes(), dtype).reshape(shape))
        start = end
    return values


def write_all(
    variables: Sequence[tf.Variable], values: Sequence[np.ndarray], strategy: tf.distribute.Strategy
) -> None:
    """Give each replica its own value; the opposite of `read_all`, and done by each worker."""

    def unpack(context: tf.distribute.experimental.ValueContext) -> tf.Tensor:
        replica = context.replica_id_in_sync_group
        for variable, rows in zip(variables, values):
            local = strategy.experimental_local_results(variable)
            local[replica % len(local)].assign(rows[replica])
        return tf.constant(0)

    strategy.experimental_distribute_values_from_function(unpack)
