"""One worker of a training that is continued with other numbers of workers; run by hand.

    export PYTHONPATH=.:tests
    python -m benchmarks.local_cluster --workers=3 -- python -m support.replicas_script FOLDER 5
    python -m benchmarks.local_cluster --workers=2 -- python -m support.replicas_script FOLDER 5
    python -m benchmarks.local_cluster --workers=4 -- python -m support.replicas_script FOLDER 0

The last argument is the number of batches after which the last worker is killed (0 for never). The
chief prints its state at the start and after each epoch: a digest of the values that must be the
same on all replicas, and the sums and means of those that are summed or averaged over replicas.
`test_backup_replicas.py` compares them in one process.
"""

import hashlib
import json
import os
import signal
import sys

import keras_lars

strategy = keras_lars.multi_worker.strategy()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from keras_lars import _replicas  # noqa: E402
from support.models import FEATURES, normal  # noqa: E402

FOLDER, KILL_AFTER = sys.argv[1], int(sys.argv[2])
WORKERS = len(_replicas.workers(strategy))
BATCH, STEPS, EPOCHS = 24, 3, 4


def summary(model):
    strategy, same, sums, means = model.distribute_strategy, [], [], []
    variables = [variable.value for variable in [*model.variables, *model.optimizer.variables]]
    statistics = {id(variable.value) for variable in model.non_trainable_variables}
    for variable, rows in zip(variables, _replicas.read_all(variables, strategy), strict=True):
        if id(variable) in statistics:
            means.append(float(rows.mean()))
        elif variable.aggregation == tf.VariableAggregation.SUM:
            sums.append(float(rows.sum()))
        else:
            assert np.array_equal(rows, np.repeat(rows[:1], len(rows), 0))
            same.append(rows[0].tobytes())
    return {
        "iteration": int(model.optimizer.iterations),
        "the same": hashlib.sha256(b"".join(same)).hexdigest()[:16],
        "sums": [round(value, 6) for value in sums],
        "means": [round(value, 6) for value in means],
    }


class Look(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.batches = 0

    def tell(self, what):
        found = summary(self.model)  # all workers take part in this
        if _replicas.is_chief(strategy):
            print(what, json.dumps(found), flush=True)

    def on_train_begin(self, logs=None):
        self.tell(f"{WORKERS} workers begin with:")

    def on_epoch_end(self, epoch, logs=None):
        self.tell(f"{WORKERS} workers after epoch {epoch}:")

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        is_last = strategy.cluster_resolver.task_id == WORKERS - 1
        if self.batches == KILL_AFTER and is_last:
            os.kill(os.getpid(), signal.SIGKILL)


keras.utils.set_random_seed(0)
with strategy.scope():
    layers = [keras.layers.Dense(FEATURES), keras.layers.BatchNormalization()]
    model = keras.Sequential([keras.Input((FEATURES,)), *layers, keras.layers.Dense(1)])
    model = keras_lars.multi_worker.prepare(model)
    model.compile(keras_lars.LARS(0.5, gradient_accumulation_steps=5), "mse", jit_compile=False)
backup = keras_lars.callbacks.BackupAndRestore(FOLDER, save_freq=2, allow_other_replicas=True)
inputs, targets = normal(1, (STEPS * BATCH, FEATURES)), normal(2, (STEPS * BATCH, 1))
callbacks = [backup, Look()]
model.fit(inputs, targets, BATCH, EPOCHS, verbose=0, callbacks=callbacks, shuffle=False)
