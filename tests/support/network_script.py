"""Cuts links between workers on a network in mid-epoch, and starts all workers again.

`helpers.run_command` runs `python -m support.network_script FOLDER WORKERS HOW...`. Each HOW is
"switch" or "machine", the end at which the last worker's link is cut, or "between": the last two
workers reach the first one, but not each other. The observations are printed last, as JSON.
"""

import json
import pathlib
import pickle
import sys
import time

from support import local_network
from support.forked_workers import Workers

# Long enough for a busy machine, so that no loss is reported before it happens.
HEARTBEAT_SECONDS = 5
LIMIT_SECONDS = 200
INTERRUPTED = 75


def train(folder, reached, index):
    """Trains to the end or until a worker is lost; returns a status like `benchmarks.train`."""
    import tensorflow as tf
    from tensorflow.python.eager import context

    import keras_lars

    tf.config.experimental.enable_tensor_float_32_execution(False)
    strategy = keras_lars.multi_worker.strategy(heartbeat_seconds=HEARTBEAT_SECONDS)
    # The timeout that TensorFlow uses, which would otherwise be its own default.
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


def wait_until_reached(workers, reached):
    """Waits until all workers have reached the point where they wait, or one has failed."""
    every = [reached / str(index) for index in range(len(workers.processes))]
    workers.wait(LIMIT_SECONDS, lambda s: any(s) or all(path.exists() for path in every))


def main(folder, count, *hows):
    folder, count = pathlib.Path(folder), int(count)
    try:
        network = local_network.Network()
    except local_network.NoNamespacesError as error:
        print(json.dumps({"refused": str(error)}))
        return
    addresses = [f"{local_network.address(index)}:2222" for index in range(count)]
    whole, again = folder / "whole", folder / "again"
    for place in (whole, again):
        place.mkdir()

    def run(place, reached=None):
        return Workers(lambda index: train(place, reached, index), addresses, network)

    def statuses(workers):
        workers.wait(LIMIT_SECONDS)
        workers.end()
        return workers.statuses

    seen = {"whole": statuses(run(whole)), "lost": [], "seconds": []}
    for how in hows:
        reached = folder / how
        reached.mkdir()
        workers, last = run(again, reached), count - 1
        wait_until_reached(workers, reached)
        if how == "switch":
            network.cut(last)
        elif how == "machine":
            network.pull_out(workers.processes[last])
        else:
            network.part(last - 1, last)
        (reached / "go on").touch()
        started = time.monotonic()
        seen["lost"].append(statuses(workers))
        seen["seconds"].append(time.monotonic() - started)
        for index in range(count):
            error = again / f"{index}.error"
            if error.exists():
                error.rename(reached / error.name)
    seen["again"] = statuses(run(again))
    print(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
