"""Backups and data that `BackupAndRestore` refuses, in words."""

import errno
import os
import pathlib
import shutil

import keras
import numpy as np
import pytest
from support.backups import (
    BATCH,
    INPUTS,
    TARGETS,
    Training,
    falling_rate,
    make_lars,
    make_model,
    refusal,
    shuffled,
    state_of,
)
from support.models import FEATURES, assert_equal

import keras_lars
from keras_lars.callbacks import BackupAndRestore, _backup_file, _backup_header


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with the backup of a training on one device, after batch 4 of epoch 0."""
    folder = tmp_path_factory.mktemp("saved")
    Training().interrupt(folder, 4, 4)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of it, for one test."""
    return pathlib.Path(shutil.copytree(saved, tmp_path / "folder"))


def refusal_of(model, folder, **options):
    """The message with which `fit` refuses the backup."""
    options = {"batch_size": BATCH, "shuffle": False, "verbose": 0, **options}
    message = refusal(model.fit, INPUTS, TARGETS, callbacks=[BackupAndRestore(folder)], **options)
    return message.replace(str(folder / "backup.npz"), "FILE")


def refusal_that_leaves_alone(model, folder):
    """The same; and the model is as it was."""
    with model.distribute_strategy.scope():
        model.optimizer.build(model.trainable_variables)
    before = state_of(model)
    message = refusal_of(model, folder)
    assert_equal(state_of(model), before)
    return message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [keras.layers.Dense(3), keras.layers.BatchNormalization()],
            "its `shared_0` is float32 of shape (4, 4). Received: float32 of shape (4, 3)",
        ),
        (
            [keras.layers.Dense(4)],
            "it holds 13 arrays of kind 'shared'. Received: a training run with 9",
        ),
        (
            [keras.layers.Dense(4), keras.layers.BatchNormalization(dtype="float64")],
            "its `shared_2` is float32 of shape (4,). Received: float64 of shape (4,)",
        ),
        (
            [keras.layers.Dense(4), keras.layers.BatchNormalization()],
            "it holds 3 arrays of kind 'replica'. Received: a training run with 2",  # of Dropout
        ),
    ],
    ids=["shapes", "count", "dtypes", "seeds"],
)
def test_the_backup_of_another_model(folder, layers, message):
    layers = [type(layer).from_config(layer.get_config()) for layer in layers]
    model = keras.Sequential([keras.Input((FEATURES,)), *layers, keras.layers.Dense(1)])
    model.compile(make_lars(), "mse")
    message = f"The backup `FILE` is of another model or optimizer: {message}"
    assert refusal_that_leaves_alone(model, folder) == message


def with_names(*names):
    names = iter(names)
    model = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(FEATURES, name=next(names)),
            keras.layers.BatchNormalization(name=next(names)),
            keras.layers.Dense(FEATURES, name=next(names)),
        ],
        name=next(names, None),
    )
    model.compile(make_lars(), "mse", run_eagerly=True)
    return model


@pytest.mark.slow
def test_layers_with_other_names(tmp_path):
    def fit(*names):
        backup = BackupAndRestore(tmp_path, delete_checkpoint=False)
        with_names(*names).fit(INPUTS, INPUTS, BATCH, callbacks=[backup], verbose=0)

    def refused(*names):
        return refusal(fit, *names).replace(str(tmp_path / "backup.npz"), "FILE")

    fit("left_3", "normal", "right_4")
    message = "The backup `FILE` is of another model or optimizer: its"
    # The shapes are the same.
    assert refused("right_4", "normal", "left_3") == (
        f"{message} `shared_0` is of 'left/kernel'. Received: 'right/kernel'"
    )
    assert refused("left_3", "other", "right_4") == (
        f"{message} `shared_2` is of 'normal/gamma'. Received: 'other/gamma'"
    )
    # Keras counts on in one process, and the model's own name comes and goes.
    fit("left_13", "normal", "right_21", "named")


@pytest.mark.slow
def test_a_backup_with_other_metrics(folder):
    model = make_model(make_lars(), metrics=[])
    assert refusal_of(model, folder) == (
        "The backup `FILE` is of another model or optimizer: it holds 4 arrays of kind 'metric'. "
        "Received: a training run with 2"
    )


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        # Its slots are as many as those of LARS, and of the same shapes.
        (
            lambda: keras.optimizers.SGD(falling_rate(), momentum=0.9),
            "is of another optimizer, LARS. Received: SGD",
        ),
        (
            lambda: keras_lars.LossScaleOptimizer(make_lars()),
            "is of another optimizer, LARS. Received: LossScaleOptimizer of LARS",
        ),
        # Its velocities lack the learning rate.
        (
            lambda: make_lars(momentum_form="learning_rate_outside"),
            "is of an optimizer with another kind of state, {'class': 'LARS', "
            "'momentum_form': 'classic', 'state_version': 1}. Received: {'class': 'LARS', "
            "'momentum_form': 'learning_rate_outside', 'state_version': 1}",
        ),
        (
            lambda: make_lars(gradient_accumulation_steps=2),
            "is of another model or optimizer: it holds 3 arrays of kind 'replica'. "
            "Received: a training run with 9",
        ),
    ],
    ids=["class", "wrapper", "form", "options"],
)
def test_the_backup_of_another_optimizer(folder, optimizer, message):
    model = make_model(optimizer())
    assert refusal_that_leaves_alone(model, folder) == f"The backup `FILE` {message}"


@pytest.mark.slow
def test_slots_of_another_kind(tmp_path):
    """RMSprop has one slot of each variable with momentum, and another one without."""
    model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(1)])

    def fit(**options):
        model.compile(keras.optimizers.RMSprop(**options), "mse", run_eagerly=True)
        backup = BackupAndRestore(tmp_path, delete_checkpoint=False)
        model.fit(INPUTS, TARGETS, BATCH, callbacks=[backup], verbose=0)

    fit(momentum=0.9)
    assert refusal(fit, centered=True).endswith(
        "its `shared_6` is of 'dense/kernel: momentum'. Received: 'dense/kernel: average_gradient'"
    )


@pytest.mark.slow
def test_the_backup_of_another_number_of_replicas(folder, strategy):
    model = Training(strategy=strategy).model()
    assert refusal_that_leaves_alone(model, folder) == (
        "The backup `FILE` must be restored by as many replicas as wrote it (1), unless "
        "`allow_other_replicas=True`. Received: 2 replicas"
    )


@pytest.mark.slow
def test_other_steps_per_execution(folder):
    assert refusal_that_leaves_alone(Training(steps_per_execution=3).model(), folder) == (
        "`steps_per_execution` must divide the 4 batches after which the backup was taken. "
        "Received: 3"
    )
    training = Training(arrays=True, steps_per_execution=4)
    model = training.model()
    training.fit(model, BackupAndRestore(folder), epochs=1)
    assert int(model.optimizer.iterations) == 6  # four that were done before, and two


def test_epochs_of_the_data_are_those_of_fit(tmp_path):
    model = Training().model()

    def fit(make_epoch, **options):
        backup = BackupAndRestore(tmp_path)
        data = backup.epochs(make_epoch)
        return refusal(model.fit, data, callbacks=[backup], shuffle=False, verbose=0, **options)

    assert fit(shuffled, steps_per_epoch=5) == (
        "`steps_per_epoch` must be the number of batches that `make_epoch` returns, 6. "
        "Received: steps_per_epoch=5"
    )
    assert fit(lambda epoch: shuffled(epoch).filter(lambda *_: True)) == (
        "`steps_per_epoch` must be given with the data of `epochs`, as a multiple of "
        "`steps_per_execution`, which is 1. Received: steps_per_epoch=None"
    )
    model = Training(steps_per_execution=4).model()
    assert fit(shuffled, steps_per_epoch=6).endswith("which is 4. Received: steps_per_epoch=6")


def test_an_epoch_that_has_become_too_short(folder):
    model = Training().model()
    with pytest.warns(match="That epoch had 6 batches, and those of this `fit` have 3, so"):
        message = refusal_of(model, folder, steps_per_epoch=3, epochs=2)
    assert message == (
        "An epoch must have at least the 4 batches after which the backup was taken. "
        "Received: 3 batches"
    )


def truncated(path):
    path.write_bytes(path.read_bytes()[:-100])


def emptied(path):
    path.write_bytes(b"")


def something_else(path):
    path.write_text("something else")


def with_other_arrays(path):
    with open(path, "wb") as file:
        np.savez(file, w=np.zeros(3))


def a_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "damage", [truncated, emptied, something_else, with_other_arrays, a_folder]
)
def test_a_damaged_file_is_refused_at_once(folder, damage):
    damage(folder / "backup.npz")
    beginning, received, _ = refusal(BackupAndRestore, folder).partition(" Received: ")
    path = folder / "backup.npz"
    assert beginning == f"The backup `{path}` cannot be read; delete it to start over."
    assert received


def test_a_file_that_may_be_readable_later(folder, monkeypatch):
    """Nobody is told to delete it, and training does not start over."""
    path, lstat = folder / "backup.npz", os.lstat
    error = OSError(errno.EIO, os.strerror(errno.EIO))

    def fail(given, *arguments, **options):
        if given == path:
            raise error
        return lstat(given, *arguments, **options)

    monkeypatch.setattr(os, "lstat", fail)
    monkeypatch.setattr(_backup_file.zipfile, "ZipFile", fail)
    assert refusal(BackupAndRestore, folder) == (
        f"The backup `{path}` cannot be read. Received: {error}"
    )


def test_a_file_that_is_damaged_inside_is_refused(folder):
    path = folder / "backup.npz"
    data = bytearray(path.read_bytes())
    with np.load(path) as file:
        position = data.index(file["shared_0"].tobytes())
    data[position] ^= 1
    path.write_bytes(data)
    # Its beginning is as it should be, and so is that of each of its arrays.
    assert refusal_that_leaves_alone(Training().model(), folder) == (
        "The backup `FILE` cannot be read; delete it to start over. "
        "Received: Bad CRC-32 for file 'shared_0.npy'"
    )


def test_a_file_of_another_version(folder, monkeypatch):
    monkeypatch.setattr(_backup_header, "VERSION", 1)
    monkeypatch.setattr(_backup_header, "_READABLE", (1,))
    path = folder / "backup.npz"
    assert refusal(BackupAndRestore, folder) == (
        f"The backup `{path}` must be of version 1; continue with the later `keras_lars` that "
        "wrote it, or delete it to start over. Received: version 2"
    )
