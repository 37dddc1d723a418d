"""How soon the workers of a cluster find out that one of them is lost.

While TensorFlow waits for another worker it keeps Python's lock, so that nothing else runs. It does
not where the same functions of its C library are called by `ctypes`.
"""

import contextlib
import ctypes
import threading
import time
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python import _pywrap_tensorflow_internal, pywrap_tfe
from tensorflow.python.eager import context

# What TensorFlow raises where another worker is lost. The last is of the one that is cut off from
# the first worker, which watches over all, and of those that wait in vain for one to join.
LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)


def set_timeouts(addresses: dict[str, list[str]], lost: float, registered: float) -> None:
    """Have the strategy that is made next use these; TensorFlow has no public way to say so.

    Args:
        addresses: Of the workers, by kind, the chief's kind first.
        lost: Seconds without a sign of life after which a worker is lost.
        registered: Seconds after which a worker that is there but does not join is.
    """
    # An empty message of this type, which has changed its module several times.
    jobs = tf.compat.v1.ConfigProto().experimental.coordination_config.coordinated_job_list
    for kind, workers in addresses.items():
        jobs.add(name=kind, num_tasks=len(workers))
    # All but the times are as the strategy itself would have it.
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=f"/job:{jobs[0].name}/replica:0/task:0",
        cluster_register_timeout_in_ms=round(registered * 1000),
        heartbeat_timeout_in_ms=round(lost * 1000),
        coordinated_jobs=list(jobs),
    )


@contextlib.contextmanager
def joined_within(seconds: float) -> Iterator[None]:
    """The strategy that is made in here joins its cluster within so many seconds, or raises.

    TensorFlow would wait for an hour for a worker that is lost meanwhile. It still does so, in a
    thread that is left behind, and refuses to do anything else in this process.

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
    """Abort what workers exchange once one of these tasks cannot be reached; in a thread.

    The first worker only knows who reaches it, and not who reaches whom.

    Args:
        tasks: The other workers, such as /job:worker/replica:0/task:1.
        seconds: For how long they may fail to answer.
    """
    threading.Thread(target=_watch, args=(tasks, seconds / 2), daemon=True).start()


def _watch(tasks: list[str], seconds: float) -> None:
    while True:
        time.sleep(seconds)
        for task in tasks:
            if fault := _fault(task, seconds):  # the one or the other may just have been paused
                time.sleep(seconds)
                fault = _fault(task, seconds)
            if fault:
                reason = fault.message.partition("\n")[0]
                context.context().abort_collective_ops(
                    tf.errors.UNAVAILABLE, f"{task} cannot be reached: {reason}"
                )
                return


def _fault(task: str, seconds: float) -> tf.errors.OpError | None:
    """Why the task does not answer, if it does not."""
    milliseconds = ctypes.c_int64(round(seconds * 1000))
    try:
        handle = context.context()._handle
        _call("TFE_CollectiveOpsCheckPeerHealth", handle, task.encode(), milliseconds)
    except tf.errors.OpError as error:
        return error
    return None


def _call(name: str, handle: object, *arguments: Any) -> None:
    """A function of TensorFlow's C library that takes a context, more arguments and a status."""
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
