"""One worker of the cluster that `test_multi_worker.py` starts: runs scenarios, saves what it saw.

`cluster_script.py FOLDER SCENARIO...`
"""

import pathlib
import pickle
import sys
import time

import conftest  # noqa: F401  sets up TensorFlow as for the tests
import tensorflow as tf
from cluster_scenarios import KILLED, SCENARIOS


def main(folder, *names):
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    own = pathlib.Path(folder) / str(strategy.cluster_resolver.task_id)
    for name in names:
        started = time.perf_counter()
        place = own / name
        place.mkdir(parents=True)
        seen = {**SCENARIOS, **KILLED}[name](strategy, place)
        (own / f"{name}.pickle").write_bytes(pickle.dumps(seen))
        print(f"{name}: {time.perf_counter() - started:.1f} s", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
