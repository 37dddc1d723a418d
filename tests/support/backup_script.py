"""Two trainings, on one device and on two replicas, in processes that are killed.

`python -m support.backup_script PHASE FOLDER`, where PHASE is one of

- `die`: starts both, and is killed while one is in mid-epoch and the other has written half a
  backup.
- `end`: resumes both, trains them to the end, and leaves the final states and logs in the folder.

One signal kills both, since one is started in the middle of the other. Two processes would cost
more: starting TensorFlow takes longer than both trainings.
"""

import io
import json
import os
import pathlib
import signal
import sys

import numpy as np
import tensorflow as tf

from support import every_test  # noqa: F401, before TensorFlow starts: it makes two devices
from support.backups import After, Training, state_of

_, PHASE, FOLDER = sys.argv
SAVE_FREQ = 4


def die_while_saving(save_number):
    """Makes this process die when half of this save is on disk."""
    save, saved = np.savez, 0

    def save_half(file, **arrays):
        nonlocal saved
        saved += 1
        if saved < save_number:
            return save(file, **arrays)
        whole = io.BytesIO()
        save(whole, **arrays)
        file.write(whole.getvalue()[: whole.tell() // 2])
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    np.savez = save_half


def begin(name, after=None):
    return trainings[name].begin(FOLDER / name, SAVE_FREQ, after)


def die_in_training_two():
    die_while_saving(4)  # in the second epoch, since each epoch's end is saved too
    begin("two")


def end(name):
    model, logs = begin(name)
    np.savez(FOLDER / name, *state_of(model))
    (FOLDER / f"{name}.json").write_text(json.dumps(logs))


if __name__ == "__main__":
    FOLDER = pathlib.Path(FOLDER)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    trainings = {"one": Training("accumulation"), "two": Training("loss scale", strategy)}
    if PHASE == "die":
        begin("one", After(9, die_in_training_two))
    else:
        for name in trainings:
            end(name)
