"""Workers on machines of a network, of which one loses its link in mid-epoch; then all start again.

`python -m support.network_script FOLDER WORKERS HOW` by `helpers.run_command`, where HOW
is "switch" or "machine": the end at which the link is cut. What is printed last is JSON of what was
seen.
"""

import json
import pathlib
import pickle
import sys
import time

from support import local_network
from support.forked_workers import Workers

# Long enough for a machine that is busy, as the loss must not be noticed before it happens.
HEARTBEAT_SECONDS = 5
LIMIT_SECONDS = 300
INTERRUPTED = 75


def train(folder, reached, index):
    """To the end, or until a worker is lost: the exit status, as that of `benchmarks.train`."""
    import tensorflow as tf
    from tensorflow.python.eager import context

    import keras_lars

    tf.config.experimental.enable_tensor_float_32_execution(False)
    strategy = keras_lars.multi_worker.strategy(heartbeat_seconds=HEARTBEAT_SECONDS)
    # What TensorFlow has made of it, which would otherwise set its own.
    config = context.context().config.experimental.coordination_config
    (folder / f"{index}.heartbeat").write_text(str(config.heartbeat_timeout_in_ms))
    from support.cluster_scenarios import WaitAt, backed_up

    callbacks = [WaitAt(8, reached / str(index), reached / "go on")] if reached else []
    try:
        seen = backed_up(strategy, folder / "backup", *callbacks)
    except keras_lars.multi_worker.WorkerLostError as error:
        (folder / f"{index}.error").write_text(str(error))
        return INTERRUPTED
    (folder / f"{index}.pickle").write_bytes(pickle.dumps(seen["all"]))
    return 0


def main(folder, count, how):
    folder, count = pathlib.Path(folder), int(count)
    try:
        network = local_network.Network()
    except local_network.NoNamespacesError as error:
        print(json.dumps({"refused": str(error)}))
        return
    addresses = [f"{local_network.address(index)}:2222" for index in range(count)]
    whole, again, reached = (folder / name for name in ("whole", "again", "reached"))
    for place in (whole, again, reached):
        place.mkdir()

    def run(place, reached=None):
        return Workers(lambda index: train(place, reached, index), addresses, network)

    workers = run(whole)
    workers.wait(LIMIT_SECONDS)
    workers.end()
    statuses = {"whole": workers.statuses}

    workers, lost = run(again, reached), count - 1
    every = [reached / str(index) for index in range(count)]
    workers.wait(LIMIT_SECONDS, lambda s: any(s) or all(path.exists() for path in every))
    if how == "switch":
        network.cut(lost)
    else:
        network.pull_out(workers.processes[lost])
    (reached / "go on").touch()
    started = time.monotonic()
    workers.wait(LIMIT_SECONDS)
    workers.end()
    seconds = time.monotonic() - started
    statuses["lost"] = workers.statuses

    workers = run(again)
    workers.wait(LIMIT_SECONDS)
    workers.end()
    statuses["again"] = workers.statuses
    print(json.dumps({"statuses": statuses, "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
