"""A training that goes on sees each batch once, and begins and ends where it should."""

import contextlib

import keras
import numpy as np
import pytest
from backups import (
    EPOCHS,
    STEPS,
    TARGETS,
    After,
    InterruptionError,
    Training,
    assert_as_if_not_interrupted,
    position_in,
    shuffled,
)
from models import FEATURES, assert_equal

from keras_lars.callbacks import BackupAndRestore


class Watched(keras.Sequential):
    """Notes the targets of each batch that it is trained on."""

    def train_step(self, data):
        self.seen.append(data[1].numpy().ravel().tolist())
        return super().train_step(data)


def test_batches_are_trained_on_once_and_in_order(tmp_path):
    model = Watched([keras.Input((FEATURES,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(), "mse", run_eagerly=True)

    def run(folder, after=None):
        model.seen, backup = [], BackupAndRestore(folder, save_freq=1)
        with contextlib.suppress(InterruptionError):
            model.fit(
                backup.epochs(shuffled),
                epochs=EPOCHS,
                steps_per_epoch=STEPS,
                shuffle=False,
                verbose=0,
                callbacks=[backup, *([After(after)] if after else [])],
            )
        return model.seen

    all_of_them = run(tmp_path / "uninterrupted")
    assert len(all_of_them) == EPOCHS * STEPS
    orders = [np.concatenate(all_of_them[i : i + STEPS]) for i in range(0, EPOCHS * STEPS, STEPS)]
    for i, order in enumerate(orders):
        assert_equal([np.sort(order)], [np.sort(TARGETS.ravel()).astype("float64")])
        assert np.any(order != orders[i - 1])

    # In mid-epoch, and with the last batch of an epoch, whose end is yet to come.
    for executions in (9, 12, 15):
        folder = tmp_path / str(executions)
        assert run(folder, executions) == all_of_them[:executions]
        assert run(folder) == all_of_them[executions:]


def test_data_that_begin_elsewhere_are_refused(tmp_path):
    training = Training()
    model, backup = training.model(), BackupAndRestore(tmp_path)
    data = backup.epochs(shuffled)
    options = {"epochs": EPOCHS, "steps_per_epoch": STEPS, "shuffle": False, "verbose": 0}
    with pytest.raises(InterruptionError):
        model.fit(data, callbacks=[backup, After(9)], **options)
    for wrong in ({}, {"initial_epoch": 2}):
        with pytest.raises(ValueError) as error:
            model.fit(data, callbacks=[backup], **options, **wrong)
        assert str(error.value) == (
            "The data of `epochs` must be made anew for every `fit`, and `initial_epoch` be 0. "
            "Received: data from epoch 0 on, in a training that begins with epoch 1"
        )
    # Made anew by the same callback, they begin with what is in the folder by now.
    logs = training.fit(model, backup)
    assert_as_if_not_interrupted(training, model, logs, first_epoch=1)


def test_the_backup_is_deleted_with_its_folder(tmp_path):
    folder = tmp_path / "a" / "b"
    training = Training()
    training.interrupt(folder, 4, 9)
    (folder / "backup.npz.part").write_bytes(b"of a process that was killed")
    training.begin(folder, 100)  # which saves nothing that would take its place
    assert list(tmp_path.iterdir()) == [folder.parent]
    assert not folder.exists()


def test_other_files_stay(tmp_path):
    training = Training()
    training.interrupt(tmp_path, 4, 9)
    (tmp_path / "mine").touch()
    backup = BackupAndRestore(tmp_path, 4)
    model = training.model()
    training.fit(model, backup)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert (backup.epoch, backup.batch) == (0, 0)

    # What was restored is over: a second training begins at the beginning, with or without it.
    assert [log["epoch"] for log in training.fit(model, epochs=1)] == [0]
    assert [log["epoch"] for log in training.fit(model, backup, epochs=2)] == [0, 1]
    assert int(model.optimizer.iterations) == (EPOCHS + 1 + 2) * STEPS


def test_a_training_that_is_done_stays_done(tmp_path):
    training = Training("average")  # whose weights `fit` overwrites at its very end
    training.begin(tmp_path, delete_checkpoint=False)
    assert [path.name for path in tmp_path.iterdir()] == ["backup.npz"]
    model, logs = training.begin(tmp_path, delete_checkpoint=False)
    assert logs == []
    assert_as_if_not_interrupted(training, model, logs, first_epoch=EPOCHS)
    assert position_in(tmp_path) == (EPOCHS, 0)
    assert [log["epoch"] for log in training.fit(model, epochs=1)] == [0]
    # And one that is to be longer goes on.
    assert [log["epoch"] for log in training.fit(model, BackupAndRestore(tmp_path), epochs=4)] == [
        3
    ]


def test_nothing_is_left_of_a_fit_that_was_interrupted(tmp_path):
    training = Training()
    training.interrupt(tmp_path, 4, 9)
    model, backup = training.model(), BackupAndRestore(tmp_path, 4)
    with pytest.raises(InterruptionError):
        training.fit(model, backup, After(1))  # in the first of two batches that it skips
    # The next one, in this process, skips these two and no more.
    with pytest.raises(InterruptionError):
        training.fit(model, backup, After(5))
    assert int(model.optimizer.iterations) == STEPS + 5
    # One without the callback knows nothing of all that.
    assert [log["epoch"] for log in training.fit(model, epochs=1)] == [0]
    assert_as_if_not_interrupted(training, model, training.fit(model, backup), first_epoch=1)


def test_nothing_is_left_of_a_fit_that_had_nothing_to_do(tmp_path):
    training = Training()
    training.interrupt(tmp_path, 4, 9)
    model, backup = training.model(), BackupAndRestore(tmp_path, 4, delete_checkpoint=False)
    assert training.fit(model, backup, epochs=1) == []  # nor anything of the epoch to skip from
    assert [log["epoch"] for log in training.fit(model, epochs=1)] == [0]
    assert int(model.optimizer.iterations) == 8 + STEPS
    (tmp_path / "backup.npz").unlink()
    assert [log["epoch"] for log in training.fit(model, backup, epochs=1)] == [0]
