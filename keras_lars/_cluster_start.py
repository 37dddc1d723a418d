"""A cluster is started once all of its workers are there."""

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Iterator

import tensorflow as tf

from keras_lars._cluster import Cluster
from keras_lars._keras import heartbeat
from keras_lars._start_guard import ended_after

# What this process has started: TensorFlow starts one cluster in a process, and only once.
_started: list[tuple[Cluster, tf.distribute.Strategy]] = []


class StartError(RuntimeError):
    """A cluster that cannot be started: the message is one line."""


# As TensorFlow has it.
HEARTBEAT_SECONDS = 10.0

# For what TensorFlow does besides, such as starting GPUs.
_GRACE_SECONDS = 60.0


def start(
    cluster: Cluster, seconds: float, heartbeat_seconds: float = HEARTBEAT_SECONDS
) -> tf.distribute.Strategy:
    """The strategy of the cluster; the same one if it is started already.

    Args:
        cluster: Of which this process is a worker.
        seconds: How long to wait for the other workers.
        heartbeat_seconds: How long a worker may give no sign of life.

    Raises:
        StartError: If TensorFlow is in use already, or the port is, or a worker does not come.
    """
    for known, strategy in _started:
        if known == cluster:
            return strategy
    _refuse_late_start()
    _meet(cluster.own, [a for a in cluster.workers if a != cluster.own], seconds)
    # All are there by now, but one may still be lost. If it does not register TensorFlow says so,
    # and if it is lost right after that, nobody does.
    registered = min(max(seconds, 10.0), 86400.0)
    heartbeat.set_timeouts(cluster.addresses, heartbeat_seconds, registered)
    try:
        with ended_after(registered + _GRACE_SECONDS):
            strategy = tf.distribute.MultiWorkerMirroredStrategy(_resolver(cluster))
    except tf.errors.OpError as error:
        message = " ".join(error.message.split())
        raise StartError(f"the cluster cannot be started: {message}") from error
    _started.append((cluster, strategy))
    return strategy


def _resolver(cluster: Cluster) -> tf.distribute.cluster_resolver.ClusterResolver:
    """For TensorFlow, with all GPUs that this process may use, if any."""
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
    """Raise if TensorFlow has its devices already, before other workers are kept waiting.

    There is no public way to ask. But this setting cannot be changed any more from then on.
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


def _meet(own: str, others: list[str], seconds: float) -> None:
    """Return once all workers listen at their addresses.

    TensorFlow would wait forever, holding Python's lock, and for a port that is in use it would say
    only that it could not start a server.
    """
    with _listening(own):
        missing, until = list(others), time.monotonic() + seconds
        while missing := [address for address in missing if not _answers(address)]:
            if time.monotonic() > until:
                raise StartError(
                    f"all workers must start within {seconds:g} seconds (`startup_seconds`). "
                    f"Received: no answer from {', '.join(missing)}"
                )
            time.sleep(0.1)
    # From here on TensorFlow's server answers those who come later.


@contextlib.contextmanager
def _listening(own: str) -> Iterator[None]:
    """Answers at this worker's address: whoever connects, and however many there are."""
    with socket.socket() as listener:
        # As TensorFlow's server does: a port whose last user has just gone is free.
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
        thread = threading.Thread(target=_accept, args=(listener, is_over), daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()


def _accept(listener: socket.socket, is_over: threading.Event) -> None:
    while not is_over.is_set():
        with contextlib.suppress(OSError):  # nobody came in time, or is gone already
            listener.accept()[0].close()


def _answers(address: str) -> bool:
    try:
        with socket.create_connection((address.rpartition(":")[0], _port(address)), timeout=5):
            return True
    except OSError:  # nor is its name known before it starts, in some clusters
        return False


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
