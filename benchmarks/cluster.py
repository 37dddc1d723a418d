"""The strategy that `--strategy` names, or a one-line error.

`keras_lars` finds and starts clusters. Without a cluster, Keras and TensorFlow, which take seconds
to import, are imported only by `start`.
"""

from typing import TYPE_CHECKING, Any

from benchmarks.data.data_set import Shard
from benchmarks.lazy import tf
from benchmarks.recipe import RecipeError

if TYPE_CHECKING:
    from keras_lars._cluster import Cluster

STRATEGIES = ("none", "mirrored", "multi_worker")


def is_chief(strategy: str) -> bool:
    """Whether this process is the one worker that prints and writes files."""
    return strategy != "multi_worker" or _find().is_chief


def _find() -> "Cluster":
    """The cluster. Raises RecipeError if its variables are missing or malformed."""
    from keras_lars import _cluster

    try:
        found = _cluster.find()
    except _cluster.ClusterError as error:
        raise RecipeError(str(error)) from error
    if found is None:
        raise RecipeError(
            "--strategy=multi_worker needs the environment variable TF_CONFIG, or Slurm's, which "
            "srun sets. Received: neither"
        )
    return found


def start(strategy: str, replicas: int, seconds: float) -> "tf.distribute.Strategy":
    """Creates the strategy, and waits for the workers of a cluster. Call it before anything else.

    `replicas` is the number of logical CPUs that "mirrored" uses on a machine without GPUs.

    Raises:
        RecipeError: If the strategy cannot be created, or another worker does not start in time.
        tf.errors.OpError: If a worker is lost after its start.
    """
    if strategy == "none":
        return tf.distribute.get_strategy()
    if strategy == "mirrored":
        return tf.distribute.MirroredStrategy(_devices(replicas))
    from keras_lars import _cluster_start

    try:
        return _cluster_start.start(_find(), seconds)
    except _cluster_start.StartError as error:
        raise RecipeError(str(error)) from error


def shard(strategy: "tf.distribute.Strategy") -> Shard:
    """The index of this worker, and the number of workers."""
    from keras_lars import _replicas

    workers, resolver = _replicas.workers(strategy), strategy.cluster_resolver
    if not workers:
        return Shard(0, 1)
    own = resolver.cluster_spec().task_address(resolver.task_type, resolver.task_id)
    return Shard(workers.index(own), len(workers))


def _devices(replicas: int) -> list[str] | None:
    if tf.config.list_physical_devices("GPU"):
        return None  # the strategy then uses all GPUs
    (cpu, *_) = tf.config.list_physical_devices("CPU")
    logical = [tf.config.LogicalDeviceConfiguration()] * replicas
    tf.config.set_logical_device_configuration(cpu, logical)
    return [f"CPU:{i}" for i in range(replicas)]


def summary(strategy: "tf.distribute.Strategy") -> dict[str, Any]:
    """The strategy and its numbers of replicas and workers, as run folders record them."""
    return {
        "strategy": type(strategy).__name__.strip("_"),
        "replicas": strategy.num_replicas_in_sync,
        "workers": shard(strategy).count,
    }
