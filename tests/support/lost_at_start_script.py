"""Loses a worker while the cluster starts, after all workers have met.

`helpers.run_command` runs `python -m support.lost_at_start_script FOLDER INDEX SIGNAL`. Of three
workers, the one with this index gets the signal. Errors are written to the folder, and the exit
statuses are printed last, as JSON.
"""

import ctypes
import json
import os
import pathlib
import signal
import sys

from support.forked_workers import Workers

INTERRUPTED = 75
LIMIT_SECONDS = 200


def start(folder, lost, number, index):
    import tensorflow as tf

    import keras_lars
    from keras_lars import _cluster_start

    meet = _cluster_start._meet

    def meet_and_be_lost(*arguments):
        meet(*arguments)
        if index == lost:
            os.kill(os.getpid(), number)

    _cluster_start._meet, _cluster_start._JOIN_SECONDS = meet_and_be_lost, 1.0
    try:
        keras_lars.multi_worker.strategy(LIMIT_SECONDS, heartbeat_seconds=1)
    except keras_lars.multi_worker.WorkerLostError as error:
        (folder / f"{index}.error").write_text(str(error))
    try:
        tf.constant(0.0)
    except tf.errors.AbortedError:  # raised without waiting
        # Exit as Python would, although a thread of TensorFlow is left.
        ctypes.pythonapi.Py_Exit(INTERRUPTED)


def main(folder, lost, name):
    from benchmarks.local_cluster import free_addresses

    folder, lost, number = pathlib.Path(folder), int(lost), signal.Signals[name]
    workers = Workers(lambda index: start(folder, lost, number, index), free_addresses(3))
    others = [index for index in range(3) if index != lost]
    workers.wait(LIMIT_SECONDS, lambda statuses: None not in [statuses[i] for i in others])
    workers.end()
    print(json.dumps(workers.statuses))


if __name__ == "__main__":
    main(*sys.argv[1:])
