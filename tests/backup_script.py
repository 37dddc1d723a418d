"""Two trainings, on one device and on two replicas, in processes that are killed.

`python -m backup_script PHASE FOLDER`, where PHASE is one of

- `die_in_epoch`: begins both, and is killed when both are in mid-epoch.
- `die_in_writing`: goes on with both, and is killed when both have half a backup written.
- `end`: goes on with both, to the end, and leaves the final states and the logs in the folder.

One signal ends both, since one is started in the midst of the other: TensorFlow takes longer to
start than all that is done here.
"""

import io
import json
import os
import pathlib
import signal
import sys

import conftest  # noqa: F401, before TensorFlow starts: it makes two devices
import numpy as np
import tensorflow as tf
from test_backup import After, Training, state_of

_, PHASE, FOLDER = sys.argv
SAVE_FREQ = 4


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def go_on(trainings):
    """Begins the first of them, and in its midst the others."""
    if not trainings:
        die()
    (name, training), *others = trainings
    if PHASE == "die_in_epoch":
        training.begin(FOLDER / name, SAVE_FREQ, After(9, lambda: go_on(others)))
    save = np.savez
    saved = 0

    def save_half(file, **arrays):
        nonlocal saved
        saved += 1
        if saved == 1:
            return save(file, **arrays)
        whole = io.BytesIO()
        save(whole, **arrays)
        file.write(whole.getvalue()[: whole.tell() // 2])
        file.flush()
        np.savez = save
        go_on(others)

    np.savez = save_half
    training.begin(FOLDER / name, SAVE_FREQ)


def end(name, training):
    model, logs = training.begin(FOLDER / name, SAVE_FREQ)
    np.savez(FOLDER / name, *state_of(model))
    (FOLDER / f"{name}.json").write_text(json.dumps(logs))


if __name__ == "__main__":
    FOLDER = pathlib.Path(FOLDER)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    trainings = {"one": Training("accumulation"), "two": Training("loss scale", strategy)}
    if PHASE == "end":
        for name, training in trainings.items():
            end(name, training)
    else:
        go_on([*trainings.items()])
