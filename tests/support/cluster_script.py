"""Runs scenarios on a cluster on this machine; each worker saves what it observed.

`helpers.run_command` runs `python -m support.cluster_script FOLDER WORKERS SCENARIO...`. The last
line of the output is the list of the workers' exit statuses.
"""

import gc
import json
import os
import pathlib
import pickle
import sys
import time

from support.forked_workers import Workers

# A limit in case a cluster hangs; it usually takes a minute or two.
LIMIT_SECONDS = 600
# Once a worker has failed, the time for the others to notice and report it.
GRACE_SECONDS = 90


def work(folder, count, names, index):
    """Runs one worker. It ends when all workers are done, since none may be lost before."""
    import tensorflow as tf

    from support.cluster_scenarios import KILLED, SCENARIOS

    # As in `every_test.py`.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    for name in names:
        gc.freeze()
        started, cpu = time.perf_counter(), time.process_time()
        place = folder / str(index) / name
        place.mkdir(parents=True)
        seen = {**SCENARIOS, **KILLED}[name](strategy, place)
        part = place.with_suffix(".part")
        part.write_bytes(pickle.dumps(seen))
        os.rename(part, place.with_suffix(".pickle"))
        took = time.perf_counter() - started
        print(f"{name}: {took:.1f} s, {time.process_time() - cpu:.1f} of CPU", flush=True)
        gc.collect()  # early, as in `every_test.py`
    if not names[-1].startswith("killed"):
        every = [folder / str(i) / f"{names[-1]}.pickle" for i in range(count)]
        while not all(path.exists() for path in every):
            time.sleep(0.01)


def main(folder, count, *names):
    from benchmarks.local_cluster import free_addresses

    folder, count = pathlib.Path(folder), int(count)
    workers = Workers(lambda index: work(folder, count, names, index), free_addresses(count))
    workers.wait(LIMIT_SECONDS, lambda statuses: None not in statuses or any(statuses))
    workers.wait(GRACE_SECONDS)
    workers.end()
    print(json.dumps(workers.statuses))


if __name__ == "__main__":
    main(*sys.argv[1:])
