"""The strategy of `--strategy`, or one line that says why there is none.

Clusters are the package's business. Without one, neither Keras nor TensorFlow, which take seconds,
is imported until `start` is called.
"""

from typing import TYPE_CHECKING, Any

from benchmarks.data.data_set import Shard
from benchmarks.lazy import tf
from benchmarks.recipe import RecipeError

if TYPE_CHECKING:
    from keras_lars._cluster import Cluster

STRATEGIES = ("none", "mirrored", "multi_worker")


def is_chief(strategy: str) -> bool:
    """Whether this process is the one of all workers that prints, and writes files.

    Raises:
        RecipeError: If it should be in a cluster and finds none, or a malformed one.
    """
    if strategy != "multi_worker":
        return True
    return _find().is_chief


def _find() -> "Cluster":
    from keras_lars import _cluster

    try:
        found = _cluster.find()
    except _cluster.ClusterError as error:
        raise RecipeError(str(error)) from error
    if found is None:
        raise RecipeError(
            "--strategy=multi_worker needs the environment variable TF_CONFIG, or to run under "
            "Slurm by srun. Received: neither"
        )
    return found


def start(strategy: str, replicas: int, seconds: float) -> "tf.distribute.Strategy":
    """The strategy; of a cluster, once all workers are there. Call it before anything else runs.

    Args:
        strategy: One of `STRATEGIES`.
        replicas: How many `"mirrored"` has on a machine without GPUs, as logical CPUs.
        seconds: How long to wait for the other workers.

    Raises:
        RecipeError: If it cannot be made, or another worker does not come.
        tf.errors.OpError: If a worker is lost after it has come.
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
    """Which of all workers this one is."""
    from keras_lars import _replicas

    workers, resolver = _replicas.workers(strategy), strategy.cluster_resolver
    if not workers:
        return Shard(0, 1)
    own = resolver.cluster_spec().task_address(resolver.task_type, resolver.task_id)
    return Shard(workers.index(own), len(workers))


def _devices(replicas: int) -> list[str] | None:
    if tf.config.list_physical_devices("GPU"):
        return None  # all of them
    (cpu, *_) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * replicas
    )
    return [f"CPU:{i}" for i in range(replicas)]


def summary(strategy: "tf.distribute.Strategy") -> dict[str, Any]:
    """What it is, for the files of a run."""
    return {
        "strategy": type(strategy).__name__.strip("_"),
        "replicas": strategy.num_replicas_in_sync,
        "workers": shard(strategy).count,
    }
