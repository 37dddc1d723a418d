"""A cluster on this machine: its workers run scenarios, and each saves what it saw.

`python -m cluster_script FOLDER WORKERS SCENARIO...`, best by `helpers.run_command`: the workers
are forks of this process, so that none of them spends seconds on imports. The last line that is
printed is the list of their exit statuses.
"""

import ctypes
import gc
import json
import os
import pathlib
import pickle
import signal
import sys
import time
import traceback

# A safety net for a cluster that hangs; it takes a minute or two.
LIMIT_SECONDS = 600
# For the others, once a worker has failed: to find that out, and to say so.
GRACE_SECONDS = 90


def work(folder, addresses, index, names):
    """What one worker does. It ends when all are done, since none must be lost before."""
    import tensorflow as tf
    from cluster_scenarios import KILLED, SCENARIOS

    cluster = {"worker": addresses}
    task = {"type": "worker", "index": index}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
    # As in `conftest.py`.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    for name in names:
        gc.freeze()
        started, cpu = time.perf_counter(), time.process_time()
        place = folder / str(index) / name
        place.mkdir(parents=True)
        seen = {**SCENARIOS, **KILLED}[name](strategy, place)
        place.with_suffix(".pickle").write_bytes(pickle.dumps(seen))
        took = time.perf_counter() - started
        print(f"{name}: {took:.1f} s, {time.process_time() - cpu:.1f} of CPU", flush=True)
        gc.collect()  # young, as in `conftest.py`
    if not names[-1].startswith("killed"):
        every = [folder / str(i) / f"{names[-1]}.pickle" for i in range(len(addresses))]
        while not all(path.exists() for path in every):
            time.sleep(0.01)


def fork(function, *arguments):
    """A process that runs the function; it ends with this one, however that ends."""
    parent = os.getpid()
    if child := os.fork():
        return child
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    status = 1
    try:
        if os.getppid() == parent:
            function(*arguments)
            status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def wait(workers):
    """The exit status of each process; negative if it was killed by a signal."""
    statuses, until = {}, time.monotonic() + LIMIT_SECONDS
    while len(statuses) < len(workers):
        for worker in workers:
            if worker not in statuses:
                done, status = os.waitpid(worker, os.WNOHANG)
                if done:
                    statuses[worker] = os.waitstatus_to_exitcode(status)
                    if statuses[worker]:
                        until = min(until, time.monotonic() + GRACE_SECONDS)
                elif time.monotonic() > until:
                    os.kill(worker, signal.SIGKILL)
        time.sleep(0.01)
    return [statuses[worker] for worker in workers]


def main(folder, count, *names):
    from benchmarks.local_cluster import free_addresses

    addresses = free_addresses(int(count))
    workers = [
        fork(work, pathlib.Path(folder), addresses, index, names) for index in range(int(count))
    ]
    print(json.dumps(wait(workers)))


if __name__ == "__main__":
    main(*sys.argv[1:])
