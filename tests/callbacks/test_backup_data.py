"""A training that goes on sees each batch once, and begins and ends where it should."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.backups import (
    EPOCHS,
    STEPS,
    TARGETS,
    After,
    InterruptionError,
    Training,
    assert_as_if_not_interrupted,
    position_in,
    shuffled,
    state_of,
)
from support.models import FEATURES, assert_equal

from keras_lars.callbacks import BackupAndRestore, _backup_folder

pytestmark = pytest.mark.slow


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
            "The data of `epochs` must be created again for every `fit`, and `initial_epoch` must "
            "be 0. Received: data from epoch 0 on, in a training run that begins with epoch 1"
        )
    # Made anew by the same callback, they begin with what is in the folder by now.
    logs = training.fit(model, backup)
    assert_as_if_not_interrupted(training, model, logs, first_epoch=1)


@pytest.mark.parametrize(
    ("save_freq", "after", "changes", "reason"),
    [
        (3, 3, {}, None),
        (3, 3, {"batch_size": 3}, "That epoch had 6 batches, and those of this `fit` have 4, so"),
        (3, 3, {"shuffle": True}, "`fit` shuffles the data, in an order that depends on its prev"),
        ("epoch", 7, {"batch_size": 3, "shuffle": True}, None),
    ],
)
def test_other_batches_in_the_middle_of_an_epoch(tmp_path, save_freq, after, changes, reason):
    model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(), "mse", run_eagerly=True)

    def run(*callbacks, **changes):
        data = np.ones((12, FEATURES)), np.ones((12, 1))
        backup = BackupAndRestore(tmp_path, save_freq)
        options = {"batch_size": 2, "epochs": 3, "shuffle": False, "verbose": 0, **changes}
        model.fit(*data, callbacks=[backup, *callbacks], **options)

    with pytest.raises(InterruptionError):
        run(After(after))
    message = f"was backed up after 3 batches of epoch 1. {reason}"
    with pytest.warns(match=message) if reason else contextlib.nullcontext():
        run(**changes)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("steps", [np.int64(1), 0], ids=["of NumPy", "none"])
def test_any_number_of_steps_can_be_saved_and_restored(tmp_path, steps):
    data = tf.data.Dataset.from_tensors((np.ones((2, FEATURES)), np.ones((2, 1))))
    for epochs in (1, 2):
        model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(), "mse", run_eagerly=True)
        backup = BackupAndRestore(tmp_path, delete_checkpoint=False)
        assert backup.epoch == epochs - 1
        options = {"steps_per_epoch": steps} if steps else {}
        data = data.repeat() if steps else data.take(0)
        model.fit(data, epochs=epochs, verbose=0, callbacks=[backup], **options)


def test_the_backup_is_deleted_with_its_folder(tmp_path):
    folder = tmp_path / "a" / "b"
    training = Training()
    training.interrupt(folder, 4, 9)
    training.begin(folder, 100, delete_checkpoint=True)
    assert list(tmp_path.iterdir()) == [folder.parent]
    assert not folder.exists()


def test_other_files_stay(tmp_path):
    training = Training()
    training.interrupt(tmp_path, 4, 9)
    (tmp_path / "mine").touch()
    backup = BackupAndRestore(tmp_path, 4, delete_checkpoint=True)
    model = training.model()
    training.fit(model, backup)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert (backup.epoch, backup.batch) == (0, 0)

    # What was restored is over: a second training begins at the beginning, with or without it.
    assert [log["epoch"] for log in training.fit(model, epochs=1)] == [0]
    assert [log["epoch"] for log in training.fit(model, backup, epochs=2)] == [0, 1]
    assert int(model.optimizer.iterations) == (EPOCHS + 1 + 2) * STEPS


def as_another_process(monkeypatch):
    monkeypatch.setattr(_backup_folder, "_ended_here", set())


def test_nothing_is_deleted_before_the_model_can_be_saved(tmp_path, monkeypatch):
    training = Training("average")  # whose weights `fit` overwrites at its very end
    training.interrupt(tmp_path, 4, 9)
    backup = BackupAndRestore(tmp_path, 100)  # which saves nothing else
    model = training.model()
    training.fit(model, backup)
    assert [path.name for path in tmp_path.iterdir()] == ["backup.npz"]
    assert (backup.epoch, backup.batch) == position_in(tmp_path) == (0, 0)

    # A process that ended before it saved the model is started again.
    as_another_process(monkeypatch)
    assert position_in(tmp_path) == (EPOCHS, 0)
    model = training.model()
    with pytest.warns(match="is finished, after 3 epochs. Its final state is restored, and"):
        logs = training.fit(model, BackupAndRestore(tmp_path))
    assert logs == []
    assert_as_if_not_interrupted(training, model, logs, first_epoch=EPOCHS)

    # A longer one goes on.
    as_another_process(monkeypatch)
    logs = training.fit(model, BackupAndRestore(tmp_path), epochs=4)
    assert [log["epoch"] for log in logs] == [3]

    # In the same process the next training is another one, whichever callback it has.
    logs = training.fit(model, BackupAndRestore(tmp_path, 100), epochs=1)
    assert [log["epoch"] for log in logs] == [0]


def test_the_next_training_deletes_the_backup_as_it_begins(tmp_path, monkeypatch):
    training = Training()
    training.begin(tmp_path)
    training.interrupt(tmp_path, 100, 1)
    as_another_process(monkeypatch)
    assert position_in(tmp_path) == (0, 0)


class StopAfter(keras.callbacks.Callback):
    """As `EarlyStopping` does."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = epoch == 1


def test_a_training_that_stopped_early_is_over(tmp_path, monkeypatch):
    training = Training()
    model = training.model()
    training.fit(model, BackupAndRestore(tmp_path), StopAfter())
    end = state_of(model)
    as_another_process(monkeypatch)
    assert position_in(tmp_path) == (2, 0)
    with pytest.warns(match="is finished"):
        model, logs = training.begin(tmp_path)
    assert logs == []
    assert_equal(state_of(model), end)


def test_a_shorter_fit_leaves_a_backup_alone(tmp_path):
    training = Training()
    training.interrupt(tmp_path, 4, 9)
    before = (tmp_path / "backup.npz").read_bytes()
    assert training.fit(training.model(), BackupAndRestore(tmp_path), epochs=1) == []
    assert (tmp_path / "backup.npz").read_bytes() == before
    assert position_in(tmp_path) == (1, 2)


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
