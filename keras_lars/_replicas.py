"""Reads, writes and exchanges values on the replicas of a `tf.distribute` strategy."""

import functools
import weakref
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from keras_lars._cluster import KINDS

PerReplica: TypeAlias = tf.types.experimental.distributed.PerReplica


def true_on_all(flag: tf.Tensor) -> tf.Tensor:
    """Whether a boolean is true on all replicas. Each replica must call it."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return flag
    is_false = tf.cast(tf.logical_not(flag), tf.float32)
    return tf.equal(context.all_reduce(tf.distribute.ReduceOp.SUM, is_false), 0.0)


# The strategy that `multi_worker.strategy` made last.
_started: "weakref.ref[tf.distribute.Strategy] | None" = None


def note_started(strategy: tf.distribute.Strategy) -> None:
    """Remember a strategy of several workers, for `present`."""
    global _started
    _started = weakref.ref(strategy)


def present() -> tf.distribute.Strategy:
    """The strategy in scope, or outside of a scope the one that was started, if it still exists."""
    started = None if _started is None else _started()
    if started is None or tf.distribute.has_strategy():
        return tf.distribute.get_strategy()
    return started


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the worker that writes files."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    if resolver.task_type == "worker" and "chief" in resolver.cluster_spec().jobs:
        return False
    return resolver.task_id == 0


def workers(strategy: tf.distribute.Strategy) -> list[str]:
    """The addresses of all workers, the chief's first. Empty without a cluster."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return []
    jobs = resolver.cluster_spec().as_dict()
    return [address for kind in KINDS for address in jobs.get(kind, [])]


def exchange(numbers: tuple[int, ...], strategy: tf.distribute.Strategy) -> list[tuple[int, ...]]:
    """For each replica, the integers that its worker passes. All workers must call it together."""
    if strategy.num_replicas_in_sync == 1:
        return [tuple(numbers)]
    per_replica = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant([numbers], tf.int64)
    )
    return [tuple(row) for row in _gather(per_replica, strategy).tolist()]


def gather(values: np.ndarray, strategy: tf.distribute.Strategy) -> np.ndarray:
    """For each replica, the array that its worker passes, as one array of shape (replicas, *shape).

    All workers must call it together.
    """
    if strategy.num_replicas_in_sync == 1:
        return values[np.newaxis]
    per_replica = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(values[np.newaxis])
    )
    return _gather(per_replica, strategy)


def _gather(per_replica: PerReplica, strategy: tf.distribute.Strategy) -> np.ndarray:
    """`strategy.gather` along the first axis, traced once for each shape instead of at every call.

    Each shape has its own function, because TensorFlow warns about a function with many traces.
    """
    first = strategy.experimental_local_results(per_replica)[0]
    kept = vars(strategy).setdefault("_keras_lars_gathers", {})
    key = tuple(first.shape), first.dtype
    if key not in kept:
        # Not a closure: TensorFlow would count all such closures as one function.
        kept[key] = tf.function(functools.partial(strategy.gather, axis=0), autograph=False)
    return kept[key](per_replica).numpy()


def read(variable: tf.Variable, strategy: tf.distribute.Strategy) -> np.ndarray:
    """A copy of the value on the first replica of this worker."""
    return np.array(strategy.experimental_local_results(variable)[0].numpy())


def write(variable: tf.Variable, value: np.ndarray, strategy: tf.distribute.Strategy) -> None:
    """Assign the same value on all replicas of this worker."""
    for component in strategy.experimental_local_results(variable):
        component.assign(value)


def read_all(
    variables: Sequence[tf.Variable], strategy: tf.distribute.Strategy
) -> list[np.ndarray]:
    """The values on all replicas of all workers, of shape (replicas, *shape) for each variable.

    All workers must call it together.
    """
    components = [strategy.experimental_local_results(variable) for variable in variables]
    if strategy.num_replicas_in_sync == 1:
        return [np.array(component[0].numpy())[np.newaxis] for component in components]

    # Bytes as int32: one exchange serves all dtypes, even those that cannot be gathered.
    def packed(context: tf.distribute.experimental.ValueContext) -> tf.Tensor:
        replica = context.replica_id_in_sync_group
        data = b"".join(local[replica % len(local)].numpy().tobytes() for local in components)
        data += bytes(-len(data) % 4)
        return tf.constant(np.frombuffer(np.int32(replica).tobytes() + data, np.int32)[np.newaxis])

    per_replica = strategy.experimental_distribute_values_from_function(packed)
    rows = _gather(per_replica, strategy)
    rows = rows[np.argsort(rows[:, 0]), 1:]  # the rows come sorted by device, then by worker
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
    """Assign each replica its own value, the inverse of `read_all`. Each worker must call it."""

    def unpack(context: tf.distribute.experimental.ValueContext) -> tf.Tensor:
        replica = context.replica_id_in_sync_group
        for variable, rows in zip(variables, values):
            local = strategy.experimental_local_results(variable)
            local[replica % len(local)].assign(rows[replica])
        return tf.constant(0)

    strategy.experimental_distribute_values_from_function(unpack)
