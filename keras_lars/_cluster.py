"""A cluster is found where its launcher left it.

In TF_CONFIG, as Kubernetes operators set it, or in the variables of Slurm. Until a resolver is made
TensorFlow is not needed, which takes seconds.
"""

import errno
import json
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

# Of the tasks of a cluster, those that train.
KINDS = ("chief", "worker")


class ClusterError(ValueError):
    """A cluster that cannot be: the message is one line."""


def tasks(resolver: "tf.distribute.cluster_resolver.ClusterResolver") -> list[str]:
    """The addresses of all workers, the chief's first."""
    jobs = resolver.cluster_spec().as_dict()
    return [address for kind in KINDS for address in jobs.get(kind, [])]


def parse(text: str) -> tuple[dict, str, int]:
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
        raise ClusterError(
            'TF_CONFIG must be JSON such as {"cluster": {"worker": ["host:port", ...]}, "task": '
            f'{{"type": "worker", "index": 0}}}}. Received: {text} ({reason})'
        ) from error
    if kind not in KINDS:
        raise ClusterError(
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
        raise ClusterError(f"Slurm's variables cannot be read: {error}") from error
    kind, index = slurm.get_task_info()
    return resolvers.SimpleClusterResolver(
        cluster,
        task_type=kind,
        task_id=index,
        rpc_layer="grpc",
        num_accelerators={"GPU": len(tf.config.list_physical_devices("GPU"))},
    )


def meet(own: str, others: list[str], seconds: float) -> None:
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
            raise ClusterError(
                f"the port of this worker must be free. Received: {own}, which {reason}"
            ) from error
        listener.listen(len(others))
        missing, until = list(others), time.monotonic() + seconds
        while missing := [address for address in missing if not _answers(address)]:
            if time.monotonic() > until:
                raise ClusterError(
                    f"all workers must start within {seconds:g} seconds (--startup_seconds). "
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
