"""The strategy that `--strategy` asks for, or one clear line about why there is none.

A cluster is found where its launcher left it: in TF_CONFIG, as Kubernetes operators set it, or in
the variables of Slurm. Until `start` is called TensorFlow is not needed, which takes seconds.
"""

import errno
import json
import os
import socket
import time
from typing import TYPE_CHECKING, Any

from benchmarks.data.data_set import Shard
from benchmarks.recipe import RecipeError
from benchmarks.words import counted

if TYPE_CHECKING:
    import tensorflow as tf

STRATEGIES = ("none", "mirrored", "multi_worker")

# Of the tasks of a cluster, those that train.
_KINDS = ("chief", "worker")


def is_chief(strategy: str) -> bool:
    """Whether this process is the one of all workers that prints, and writes files.

    Raises:
        RecipeError: If it should be in a cluster and finds none, or a malformed one.
    """
    if strategy != "multi_worker":
        return True
    if os.environ.get("TF_CONFIG"):
        cluster, kind, index = _parse(os.environ["TF_CONFIG"])
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
    if os.environ.get("TF_CONFIG"):
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    else:
        resolver = slurm_resolver()
    own = resolver.cluster_spec().task_address(resolver.task_type, resolver.task_id)
    _meet(own, [address for address in _tasks(resolver) if address != own], seconds)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except tf.errors.OpError as error:
        raise RecipeError(f"the cluster cannot be started: {error.message}") from error


def shard(strategy: "tf.distribute.Strategy") -> Shard:
    """Which of all workers this one is."""
    resolver = strategy.cluster_resolver
    if not resolver or not resolver.task_type:
        return Shard(0, 1)
    tasks = _tasks(resolver)
    own = resolver.cluster_spec().task_address(resolver.task_type, resolver.task_id)
    return Shard(tasks.index(own), len(tasks))


def _tasks(resolver: "tf.distribute.cluster_resolver.ClusterResolver") -> list[str]:
    """The addresses of all workers, the chief's first."""
    jobs = resolver.cluster_spec().as_dict()
    return [address for kind in _KINDS for address in jobs.get(kind, [])]


def _parse(text: str) -> tuple[dict, str, int]:
    """The cluster, and the kind and index of this task."""
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        kind, index = task["type"], int(task["index"])
        _check_cluster(cluster)
        if not 0 <= index < len(cluster[kind]):
            raise ValueError("its task is not in its cluster")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise RecipeError(
            'TF_CONFIG must be JSON such as {"cluster": {"worker": ["host:port", ...]}, "task": '
            f'{{"type": "worker", "index": 0}}}}. Received: {text} ({reason})'
        ) from error
    if kind not in _KINDS:
        raise RecipeError(
            "TF_CONFIG's task must be of type chief or worker, since this program neither serves "
            f"parameters nor evaluates apart. Received: {kind}"
        )
    return cluster, kind, index


def _check_cluster(cluster: dict) -> None:
    every = [address for addresses in cluster.values() for address in addresses]
    for address in every:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise ValueError(f"{address} is no host:port")
    if len(set(every)) < len(every):
        raise ValueError("an address is there twice")


def slurm_resolver() -> "tf.distribute.cluster_resolver.ClusterResolver":
    """Slurm's tasks as workers, each with the GPUs that Slurm lets it see, if any.

    TensorFlow's own resolver counts the GPUs of the node by nvidia-smi, which CPU nodes lack, and
    fails where there are none. What it says of GPUs is not used.
    """
    import tensorflow as tf

    resolvers = tf.distribute.cluster_resolver
    try:
        slurm = resolvers.SlurmClusterResolver(
            gpus_per_node=10**6, gpus_per_task=1, auto_set_gpu=False
        )
        cluster = slurm.cluster_spec()
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        raise RecipeError(f"Slurm's variables cannot be read: {error}") from error
    kind, index = slurm.get_task_info()
    return resolvers.SimpleClusterResolver(
        cluster,
        task_type=kind,
        task_id=index,
        rpc_layer="grpc",
        num_accelerators={"GPU": len(tf.config.list_physical_devices("GPU"))},
    )


def _devices(replicas: int) -> list[str] | None:
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return None  # all of them
    (cpu, *_) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * replicas
    )
    return [f"CPU:{i}" for i in range(replicas)]


def _meet(own: str, others: list[str], seconds: float) -> None:
    """Return once all workers listen at their addresses.

    TensorFlow would wait for ever, holding Python's lock, and of a port that is in use it would say
    no more than that it could not start a server.
    """
    with socket.socket() as listener:
        # As TensorFlow's server does: a port whose last user has just gone is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("", _port(own)))
        except OSError as error:
            reason = "is in use" if error.errno == errno.EADDRINUSE else error.strerror
            raise RecipeError(
                f"the port of this worker must be free. Received: {own}, which {reason}"
            ) from error
        listener.listen(len(others))
        missing, until = list(others), time.monotonic() + seconds
        while missing := [address for address in missing if not _answers(address)]:
            if time.monotonic() > until:
                raise RecipeError(
                    f"all workers must start within "
                    f"{counted(seconds, 'second', spec='g')} (--startup_seconds). "
                    f"Received: no answer from {', '.join(missing)}"
                )
            time.sleep(0.1)
    # From here on TensorFlow's server answers those who come later.


def _answers(address: str) -> bool:
    try:
        with socket.create_connection((address.rpartition(":")[0], _port(address)), timeout=5):
            return True
    except OSError:  # nor is its name known before it starts, in some clusters
        return False


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def summary(strategy: "tf.distribute.Strategy") -> dict[str, Any]:
    """What it is, for the files of a run."""
    return {
        "strategy": type(strategy).__name__.strip("_"),
        "replicas": strategy.num_replicas_in_sync,
        "workers": shard(strategy).count,
    }
