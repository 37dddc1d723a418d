"""The strategy that `--strategy` asks for, or one clear line about why there is none.

Clusters are the package's business. Where none is asked for, neither Keras nor TensorFlow, which
take seconds, is imported until `start` is called.
"""

import os
from typing import TYPE_CHECKING, Any

from benchmarks.data.data_set import Shard
from benchmarks.recipe import RecipeError

if TYPE_CHECKING:
    import tensorflow as tf

STRATEGIES = ("none", "mirrored", "multi_worker")


def is_chief(strategy: str) -> bool:
    """Whether this process is the one of all workers that prints, and writes files.

    Raises:
        RecipeError: If it should be in a cluster and finds none, or a malformed one.
    """
    if strategy != "multi_worker":
        return True
    if os.environ.get("TF_CONFIG"):
        from keras_lars import _cluster

        try:
            cluster, kind, index = _cluster.parse(os.environ["TF_CONFIG"])
        except _cluster.ClusterError as error:
            raise RecipeError(str(error)) from error
        return kind == "chief" or (index == 0 and "chief" not in cluster)
    if all(name in os.environ for name in ("SLURM_PROCID", "SLURM_STEP_NODELIST")):
        return os.environ["SLURM_PROCID"] == "0"
    raise RecipeError(
        "--strategy=multi_worker needs the environment variable TF_CONFIG, or to run under Slurm "
        "by srun. Received: neither"
    )


def start(strategy: str, replicas: int, seconds: float) -> "tf.distribute.Strategy":
    """The strategy; of a cluster, once all workers are there. Call it before anything else runs.

    Args:
        strategy: One of `STRATEGIES`.
        replicas: How many `"mirrored"` has on a machine without GPUs, as logical CPUs.
        seconds: How long to wait for the other workers.

    Raises:
        RecipeError: If it cannot be made, or another worker does not come.
    """
    import tensorflow as tf

    if strategy == "none":
        return tf.distribute.get_strategy()
    if strategy == "mirrored":
        return tf.distribute.MirroredStrategy(_devices(replicas))
    from keras_lars import _cluster

    try:
        if os.environ.get("TF_CONFIG"):
            resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        else:
            resolver = _cluster.slurm_resolver()
        own = resolver.cluster_spec().task_address(resolver.task_type, resolver.task_id)
        others = [address for address in _cluster.tasks(resolver) if address != own]
        _cluster.meet(own, others, seconds)
        return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except _cluster.ClusterError as error:
        raise RecipeError(str(error)) from error
    except tf.errors.OpError as error:
        raise RecipeError(f"the cluster cannot be started: {error.message}") from error


def shard(strategy: "tf.distribute.Strategy") -> Shard:
    """Which of all workers this one is."""
    from keras_lars import _cluster

    resolver = strategy.cluster_resolver
    if not resolver or not resolver.task_type:
        return Shard(0, 1)
    tasks = _cluster.tasks(resolver)
    own = resolver.cluster_spec().task_address(resolver.task_type, resolver.task_id)
    return Shard(tasks.index(own), len(tasks))


def _devices(replicas: int) -> list[str] | None:
    import tensorflow as tf

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
