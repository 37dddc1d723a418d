"""Starts a cluster once all of its workers are there."""

import concurrent.futures
import contextlib
import errno
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator

import tensorflow as tf

from keras_lars._cluster import Cluster
from keras_lars._keras import heartbeat

# The cluster of this process: TensorFlow can start only one, and only once.
_started: list[tuple[Cluster, tf.distribute.Strategy]] = []


class StartError(RuntimeError):
    """The cluster cannot be started. The message is one line."""


# TensorFlow's default.
HEARTBEAT_SECONDS = 10.0

# Once all workers have answered, one may join this much later than another, in addition to a pause,
# because its GPUs may take longer to start. After that it counts as lost.
_JOIN_SECONDS = 40.0

# How long this worker still answers, so that one with another cluster can learn of the mismatch.
_ANSWERS_ON_SECONDS = 1.0

# How many workers are asked at once: one that cannot be reached takes the whole timeout.
_AT_ONCE = 64

# What a worker answers while it waits for the others. A TensorFlow server answers something else.
# Such a server may still run at a worker that has not noticed yet that all workers restart.
_ANSWER = "keras_lars: {task}, {state}\n"
_HERE, _HAS_MET_ALL = "here", "has met all"


def start(
    cluster: Cluster, seconds: float, heartbeat_seconds: float = HEARTBEAT_SECONDS
) -> tf.distribute.Strategy:
    """Start the cluster, and return its strategy. A second call returns the same strategy.

    Args:
        cluster: The cluster of this worker.
        seconds: How long to wait for the other workers.
        heartbeat_seconds: How long a worker may send no heartbeat.

    Raises:
        StartError: If TensorFlow or the port is already in use, or if a worker does not start.
        tf.errors.OpError: One of `heartbeat.LOST`, if a worker is lost after it has started.
    """
    for known, strategy in _started:
        if known == cluster:
            return strategy
    _refuse_late_start()
    resolver = _resolver(cluster)
    _meet(cluster, seconds)
    joined = _JOIN_SECONDS + heartbeat_seconds
    heartbeat.set_timeouts(cluster.addresses, heartbeat_seconds, joined)
    try:
        with heartbeat.joined_within(joined):
            strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except heartbeat.LOST:
        raise
    except tf.errors.OpError as error:
        message = " ".join(error.message.split())
        raise StartError(f"the cluster cannot be started: {message}") from error
    heartbeat.watch(_other_tasks(cluster), heartbeat_seconds)
    _started.append((cluster, strategy))
    return strategy


def _other_tasks(cluster: Cluster) -> list[str]:
    """TensorFlow's names of the other workers."""
    return [
        f"/job:{kind}/replica:0/task:{index}"
        for kind, addresses in cluster.addresses.items()
        for index, address in enumerate(addresses)
        if address != cluster.own
    ]


def _resolver(cluster: Cluster) -> tf.distribute.cluster_resolver.ClusterResolver:
    """The cluster in TensorFlow's form, with all GPUs that this process can see, if any."""
    gpus = tf.config.get_visible_devices("GPU")
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(cluster.addresses),
        task_type=cluster.kind,
        task_id=cluster.index,
        rpc_layer="grpc",
        num_accelerators={
            "GPU": sum(len(tf.config.get_logical_device_configuration(g) or [g]) for g in gpus)
        },
    )


def _refuse_late_start() -> None:
    """Raise StartError if TensorFlow has set up its devices, before other workers are kept waiting.

    There is no public way to ask. But once it has, this setting cannot be changed.
    """
    threads = tf.config.threading.get_inter_op_parallelism_threads()
    try:
        tf.config.threading.set_inter_op_parallelism_threads(threads + 1)
    except RuntimeError as error:
        raise StartError(
            "`strategy()` must be called before TensorFlow sets up its devices. Creating any "
            "tensor, variable, model or dataset does that, so call it right after the imports. "
            "Received: TensorFlow is already initialized"
        ) from error
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def _meet(cluster: Cluster, seconds: float) -> None:
    """Return once each worker has met all others.

    TensorFlow would wait even for a worker that never starts. If a port is in use, it would say
    only that it could not start a server. If the workers are given different clusters, it would
    report one of them as lost.
    """
    until = time.monotonic() + seconds
    others = _tasks(cluster)
    task = others.pop(cluster.own)

    def wait(state: str, is_enough: Callable[[str], bool], received: str) -> None:
        missing = list(others)
        answer = _ANSWER.format(task=task, state=state).encode()
        with (
            _answering(cluster.own, answer),
            concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool,
        ):
            while missing := [
                each
                for each, said in zip(missing, pool.map(_said_by, missing))
                if not is_enough(_state(said, each, others[each]))
            ]:
                if time.monotonic() > until:
                    raise StartError(
                        f"all workers must start within {seconds:g} seconds (`startup_seconds`). "
                        f"Received: {received} {', '.join(missing)}"
                    )
                time.sleep(0.1)

    wait(_HERE, lambda said: said in (_HERE, _HAS_MET_ALL), "no answer from")
    # Some may still be looking for this worker. Those that have stopped answering have met all.
    wait(_HAS_MET_ALL, lambda said: said != _HERE, "workers that have not reached the others:")


def _tasks(cluster: Cluster) -> dict[str, str]:
    """The workers by address, in words such as `worker 1 of 4`."""
    return {
        address: f"{kind} {index} of {len(cluster.workers)}"
        for kind, addresses in cluster.addresses.items()
        for index, address in enumerate(addresses)
    }


def _state(said: str, address: str, expected: str) -> str:
    """What a worker answers about its state; empty if it is no worker that waits.

    Raises:
        StartError: If it takes itself for another one. The names of hosts may differ: a worker may
            know itself by another name than the others do.
    """
    found = re.fullmatch(_ANSWER.format(task="(.*)", state="(.*)"), said)
    if not found:
        return ""
    if found[1] != expected:
        time.sleep(_ANSWERS_ON_SECONDS)
        raise StartError(
            "all workers must be given the same cluster, and each its own task in it. "
            f"Received: an answer from {found[1]} at {address}, which is the address of {expected}"
        )
    return found[2]


@contextlib.contextmanager
def _answering(own: str, answer: bytes) -> Iterator[None]:
    """Sends this answer to everyone who connects to this worker's address."""
    with socket.socket() as listener:
        # As in TensorFlow's server: a port that was just closed is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("", _port(own)))
        except OSError as error:
            reason = "is in use" if error.errno == errno.EADDRINUSE else error.strerror
            raise StartError(
                f"the port of this worker must be free. Received: {own}, which {reason}"
            ) from error
        listener.listen()
        listener.settimeout(0.1)
        is_over = threading.Event()
        thread = threading.Thread(target=_answer, args=(listener, answer, is_over), daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()


def _answer(listener: socket.socket, answer: bytes, is_over: threading.Event) -> None:
    while not is_over.is_set():
        # Nobody connected in time, or the connection is already closed.
        with contextlib.suppress(OSError), listener.accept()[0] as connection:
            connection.sendall(answer)


def _said_by(address: str) -> str:
    place = address.rpartition(":")[0], _port(address)
    try:
        with socket.create_connection(place, timeout=5) as connection:
            return connection.recv(128).decode(errors="replace")
    except OSError:  # in some clusters not even its name is known before it starts
        return ""


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
