"""Lets the workers of a cluster detect soon that one of them is lost.

While TensorFlow waits for another worker it holds Python's lock, so no other thread runs. It does
not if the same functions of its C library are called through `ctypes`.
"""

import contextlib
import ctypes
import threading
import time
from collections.abc import Iterator

import tensorflow as tf
from tensorflow.python import _pywrap_tensorflow_internal, pywrap_tfe
from tensorflow.python.eager import context

# What TensorFlow raises if another worker is lost. The last one is raised by a worker that is cut
# off from the first worker, which monitors all, and by those that wait in vain for one to join.
LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)


def set_timeouts(addresses: dict[str, list[str]], lost: float, registered: float) -> None:
    """Set the timeouts of the next strategy. TensorFlow has no public way to do so.

    Args:
        addresses: The addresses of the workers, by kind, the chief's kind first.
        lost: Seconds without a heartbeat after which a worker counts as lost.
        registered: Seconds without joining after which a worker counts as lost.
    """
    # An empty message. Its class cannot be imported, because it has often changed its module.
    jobs = tf.compat.v1.ConfigProto().experimental.coordination_config.coordinated_job_list
    for kind, workers in addresses.items():
        jobs.add(name=kind, num_tasks=len(workers))
    # Everything but the timeouts is what the strategy itself would set.
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=f"/job:{jobs[0].name}/replica:0/task:0",
        cluster_register_timeout_in_ms=round(registered * 1000),
        heartbeat_timeout_in_ms=round(lost * 1000),
        coordinated_jobs=list(jobs),
    )


@contextlib.contextmanager
def joined_within(seconds: float) -> Iterator[None]:
    """A context in which a new strategy joins its cluster within this many seconds, or raises.

    TensorFlow would wait for an hour for a worker that is lost meanwhile. After an error it still
    waits, in a thread that is left behind, and no other cluster can be joined in this process.

    Raises:
        tf.errors.OpError: One of `LOST`, if another worker does not join.
    """
    ended = threading.Event()
    errors: list[Exception] = []

    def join(handle: object, server: bytes) -> None:
        try:
            _call("TFE_EnableCollectiveOps", handle, server, ctypes.c_size_t(len(server)))
        except Exception as error:
            errors.append(error)
        ended.set()

    def join_in_time(handle: object, server: bytes) -> None:
        threading.Thread(target=join, args=(handle, server), daemon=True).start()
        if not ended.wait(seconds):
            message = f"a task has not joined the cluster within {seconds:g} seconds"
            errors.append(tf.errors.DeadlineExceededError(None, None, message))
        if errors:
            if isinstance(errors[0], LOST):
                pywrap_tfe.TFE_EnableCollectiveOps = _refuse
            raise errors[0]

    original, pywrap_tfe.TFE_EnableCollectiveOps = pywrap_tfe.TFE_EnableCollectiveOps, join_in_time
    try:
        yield
    finally:
        if pywrap_tfe.TFE_EnableCollectiveOps is join_in_time:
            pywrap_tfe.TFE_EnableCollectiveOps = original


def _refuse(handle: object, server: bytes) -> None:
    raise tf.errors.AbortedError(None, None, "this process could not join its cluster")


def watch(tasks: list[str], seconds: float) -> None:
    """Start a thread that aborts all exchanges once one of these tasks cannot be reached.

    TensorFlow's own check does not notice if two workers reach the first one, but not each other.

    Args:
        tasks: The other workers, such as /job:worker/replica:0/task:1.
        seconds: How long a task may fail to answer.
    """
    threading.Thread(target=_watch, args=(tasks, seconds / 2), daemon=True).start()


def _watch(tasks: list[str], seconds: float) -> None:
    while True:
        time.sleep(seconds)
        for task in tasks:
            if fault := _fault(task, seconds):  # either side may just have been paused
                time.sleep(seconds)
                fault = _fault(task, seconds)
            if fault:
                reason = fault.message.partition("\n")[0]
                context.context().abort_collective_ops(
                    tf.errors.UNAVAILABLE, f"{task} cannot be reached: {reason}"
                )
                return


def _fault(task: str, seconds: float) -> tf.errors.OpError | None:
    """Why the task does not answer, or None if it does."""
    milliseconds = ctypes.c_int64(round(seconds * 1000))
    try:
        handle = context.context()._handle
        _call("TFE_CollectiveOpsCheckPeerHealth", handle, task.encode(), milliseconds)
    except tf.errors.OpError as error:
        return error
    return None


def _call(name: str, handle: object, *arguments: object) -> None:
    """Call a function of TensorFlow's C library that takes a context, arguments and a status."""
    library = ctypes.CDLL(_pywrap_tensorflow_internal.__file__)
    library.TF_NewStatus.restype = ctypes.c_void_p
    library.TF_Message.restype = ctypes.c_char_p
    prototype = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
    pointer = prototype(("PyCapsule_GetPointer", ctypes.pythonapi))(handle, None)
    status = ctypes.c_void_p(library.TF_NewStatus())
    try:
        getattr(library, name)(ctypes.c_void_p(pointer), *arguments, status)
        if code := library.TF_GetCode(status):
            message = library.TF_Message(status).decode(errors="replace")
            raise tf.compat.v1.errors.exception_type_from_error_code(code)(None, None, message)
    finally:
        library.TF_DeleteStatus(status)
