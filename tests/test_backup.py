"""A training that is interrupted and begun again ends with the bits of one that was not."""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import shutil
import signal
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import run_command
from models import FEATURES, assert_equal, normal, numbers

import keras_lars
from keras_lars import _replicas
from keras_lars.callbacks import BackupAndRestore, _backup_file
from keras_lars.callbacks._backup_file import Backup, Position

SAMPLES, BATCH, STEPS, EPOCHS = 44, 8, 6, 3  # the last batch of an epoch is a short one
INPUTS, TARGETS = normal(1, (SAMPLES, FEATURES)), normal(2, (SAMPLES, 1))


class InterruptionError(Exception):
    pass


class After(keras.callbacks.Callback):
    """Does something when so many executions are over: by default, ends `fit` with an error."""

    def __init__(self, executions, action=None):
        super().__init__()
        self.left = executions
        self.action = action or self.interrupt

    def interrupt(self):
        raise InterruptionError

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            self.action()


class Record(keras.callbacks.Callback):
    """What each epoch reports."""

    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append({"epoch": epoch, **logs})


def falling_rate():
    return keras.optimizers.schedules.PolynomialDecay(0.1, EPOCHS * STEPS, 0.01, power=2.0)


def make_lars(**options):
    return keras_lars.LARS(falling_rate(), trust_coefficient=0.5, **options)


# Most backups below are taken after 6 or 8 batches. These are no multiples of 5: gradients wait by
# then, averages are not the weights, and finite steps have been counted.
OPTIMIZERS = {
    "lars": make_lars,
    "accumulation": lambda: make_lars(gradient_accumulation_steps=5),
    "average": lambda: make_lars(use_ema=True, ema_overwrite_frequency=5),
    "loss scale": lambda: keras_lars.LossScaleOptimizer(make_lars(), dynamic_growth_steps=5),
    "adam": lambda: keras.optimizers.Adam(0.01),
}


def shuffled(epoch):
    order = tf.random.experimental.stateless_shuffle(tf.range(SAMPLES), seed=tf.stack([7, epoch]))
    slices = tf.data.Dataset.from_tensor_slices(order)
    return slices.batch(BATCH).map(lambda i: (tf.gather(INPUTS, i), tf.gather(TARGETS, i)))


def make_model(optimizer, **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(FEATURES, activation="tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer, "mse", **{"metrics": ["mae"], **options})
    return model


@dataclasses.dataclass(frozen=True)
class Training:
    optimizer: str = "lars"
    strategy: Any = None
    arrays: bool = False  # with validation, in place of shuffled data
    steps_per_execution: int = 1

    def model(self):
        with self.strategy.scope() if self.strategy else contextlib.nullcontext():
            return make_model(
                OPTIMIZERS[self.optimizer](), steps_per_execution=self.steps_per_execution
            )

    def fit(self, model, backup=None, after=None, **options):
        """What each epoch reports; `backup` and `after` are callbacks."""
        record = Record()
        options = {"epochs": EPOCHS, "shuffle": False, "verbose": 0, **options}
        options["callbacks"] = [each for each in (backup, record, after) if each]
        if self.arrays:
            validation = INPUTS[:BATCH], TARGETS[:BATCH]
            model.fit(
                INPUTS, TARGETS, batch_size=BATCH, **{"validation_data": validation, **options}
            )
        else:
            # By itself, and not of the callback, which an uninterrupted training does without.
            data = tf.data.Dataset.range(tf.int64.max).flat_map(shuffled)
            if backup:
                data = backup.epochs(shuffled)
            model.fit(data, **{"steps_per_epoch": STEPS, **options})
        return record.epochs

    def begin(self, folder, save_freq="epoch", after=None, **options):
        """A new process, as it were, that goes on from the folder: its model and its logs."""
        model = self.model()
        return model, self.fit(model, BackupAndRestore(folder, save_freq, **options), after)

    def interrupt(self, folder, save_freq, *executions):
        """A process that ends after so many executions, and another one for each more number."""
        for count in executions:
            with pytest.raises(InterruptionError):
                self.begin(folder, save_freq, After(count))


def variables_of(model):
    """All that the rest of the training depends on."""
    return [*model.variables, *model.optimizer.variables]


def state_of(model):
    """Every number of them, on each replica."""
    return [
        np.array(component.numpy())
        for variable in variables_of(model)
        for component in model.distribute_strategy.experimental_local_results(variable.value)
    ]


@functools.cache
def uninterrupted(training):
    """The model, which must stay as it is, and the logs."""
    model = training.model()
    return model, training.fit(model)


def assert_as_if_not_interrupted(training, model, logs, first_epoch):
    expected, all_logs = uninterrupted(training)
    assert_equal(state_of(model), state_of(expected))
    assert logs == all_logs[first_epoch:]


def position_in(folder):
    backup = BackupAndRestore(folder)
    return backup.epoch, backup.batch


# --- where and how it is interrupted --------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimizer", "save_freq"),
    [*((name, 4) for name in OPTIMIZERS), ("accumulation", "epoch")],
)
def test_on_one_device(tmp_path, optimizer, save_freq):
    training = Training(optimizer)
    training.interrupt(tmp_path, save_freq, 9)
    assert position_in(tmp_path) == (1, 2 if save_freq == 4 else 0)
    assert_as_if_not_interrupted(training, *training.begin(tmp_path, save_freq), first_epoch=1)


def test_it_saves_when_it_is_told_to(tmp_path):
    training = Training("accumulation")
    backup = BackupAndRestore(tmp_path)

    def save_and_stop():
        backup.save()
        raise InterruptionError

    with pytest.raises(InterruptionError):
        training.fit(training.model(), backup, After(9, save_and_stop))
    assert position_in(tmp_path) == (1, 3)

    # While batches are skipped there is nothing to be saved, and nothing is lost.
    backup = BackupAndRestore(tmp_path)
    with pytest.raises(InterruptionError):
        training.fit(training.model(), backup, After(2, save_and_stop))
    assert position_in(tmp_path) == (1, 3)
    assert_as_if_not_interrupted(training, *training.begin(tmp_path, "epoch"), first_epoch=1)


@pytest.mark.parametrize(
    ("settings", "save_freq"),
    [({"optimizer": "accumulation"}, 4), ({"optimizer": "average", "arrays": True}, "epoch")],
    ids=["accumulation", "average"],
)
def test_on_two_replicas(tmp_path, strategy, settings, save_freq):
    training = Training(strategy=strategy, **settings)
    training.interrupt(tmp_path, save_freq, 9)
    assert position_in(tmp_path) == (1, 2 if save_freq == 4 else 0)
    assert_as_if_not_interrupted(training, *training.begin(tmp_path, save_freq), first_epoch=1)


def test_replicas_differ(strategy):
    # Otherwise it would do above to save the numbers of one of them.
    training = Training("accumulation", strategy)
    model, _ = uninterrupted(training)
    state = state_of(model)
    differing = {
        variable.path.split("/")[-1]
        for variable, first, second in zip(
            variables_of(model), state[::2], state[1::2], strict=True
        )
        if not np.array_equal(first, second)
    }
    assert {"moving_mean", "moving_variance"} < differing
    assert any("accumulator" in name for name in differing)


@pytest.mark.parametrize(
    ("save_freq", "executions", "position", "first_epoch"),
    [
        (4, [3], (0, 0), 0),  # nothing was saved: begins afresh
        (4, [5], (0, 4), 0),
        (4, [12], (1, 6), 1),  # with the epoch's last batch: its end is yet to come
        (6, [18], (2, 6), 2),
        (4, [9, 8], (1, 6), 1),
        (4, [11, 1], (1, 2), 1),  # while it skips what it has seen
    ],
)
def test_anywhere(tmp_path, save_freq, executions, position, first_epoch):
    training = Training()
    training.interrupt(tmp_path, save_freq, *executions)
    assert position_in(tmp_path) == position
    assert_as_if_not_interrupted(training, *training.begin(tmp_path, save_freq), first_epoch)


@pytest.mark.parametrize(
    ("arrays", "steps", "executions", "position"),
    [
        (True, 1, 9, (1, 2)),
        (True, 4, 4, (1, 8)),  # the last execution has two batches to read, and counts as four
        (False, 2, 5, (1, 4)),
    ],
)
def test_executions_and_arrays(tmp_path, arrays, steps, executions, position):
    training = Training(arrays=arrays, steps_per_execution=steps)
    training.interrupt(tmp_path, 2, executions)
    assert position_in(tmp_path) == position
    assert_as_if_not_interrupted(training, *training.begin(tmp_path, 2), first_epoch=1)


def test_a_killed_process(tmp_path, strategy):
    """`backup_script.py`, killed in mid-epoch, killed as it writes, and left to end."""

    def run(phase):
        done = run_command("backup_script", phase, tmp_path)
        assert done.returncode == (0 if phase == "end" else -signal.SIGKILL), done.stderr[-4000:]

    trainings = {"one": Training("accumulation"), "two": Training("loss scale", strategy)}
    run("die_in_epoch")
    for name in trainings:
        assert position_in(tmp_path / name) == (1, 2)
    run("die_in_writing")
    for name in trainings:
        whole, part = tmp_path / name / "backup.npz", tmp_path / name / "backup.npz.part"
        assert position_in(tmp_path / name) == (1, 6)
        assert 0 < part.stat().st_size < whole.stat().st_size
    run("end")
    for name, training in trainings.items():
        assert not (tmp_path / name).exists()
        model, logs = uninterrupted(training)
        with np.load(tmp_path / f"{name}.npz") as file:
            assert_equal([file[f"arr_{i}"] for i in range(len(file.files))], state_of(model))
        assert json.loads((tmp_path / f"{name}.json").read_text()) == logs[1:]


# --- the batches ----------------------------------------------------------------------------------


class Watched(keras.Sequential):
    """Notes the targets of each batch that it is trained on."""

    def train_step(self, data):
        self.seen.append(data[1].numpy().ravel().tolist())
        return super().train_step(data)


def watched():
    keras.utils.set_random_seed(0)
    model = Watched([keras.Input((FEATURES,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(), "mse", run_eagerly=True)
    model.seen = []
    return model


@pytest.mark.parametrize("executions", [9, 12, 15])
def test_batches_are_trained_on_once_and_in_order(tmp_path, executions):
    def run(folder, after=None):
        model, backup = watched(), BackupAndRestore(folder, save_freq=1)
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

    before = run(tmp_path / "interrupted", executions)
    assert before == all_of_them[:executions]
    assert run(tmp_path / "interrupted") == all_of_them[executions:]


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


# --- when it is over ------------------------------------------------------------------------------


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


# --- the file -------------------------------------------------------------------------------------

DTYPES = ["float16", "bfloat16", "float32", "float64", "int8", "int64", "uint32", "bool"]


def odd_values(dtype, shape):
    """Any bits, and so also NaN and infinities, but for booleans."""
    size = int(np.prod(shape)) * dtype.itemsize
    data = np.random.default_rng(0).integers(0, 2 if dtype.kind == "b" else 256, size, np.uint8)
    return np.frombuffer(data.tobytes(), dtype).reshape(shape)


def assert_same_bits(actual, expected):
    assert [each.tobytes() for each in actual] == [each.tobytes() for each in expected]
    assert [each.shape for each in actual] == [each.shape for each in expected]
    assert [each.dtype for each in actual] == [each.dtype for each in expected]


def test_all_dtypes_are_read_as_they_were_written(tmp_path):
    dtypes = [np.dtype(tf.as_dtype(name).as_numpy_dtype) for name in DTYPES]
    arrays = [odd_values(dtype, shape) for dtype in dtypes for shape in [(3, 2), (3,), (), (0, 2)]]
    path = tmp_path / "backup.npz"
    saved = {"shared": arrays, "metric": arrays[:1], "replica": []}
    _backup_file.write(path, Backup(Position(1, 2, 3), 4, "LARS", saved))
    assert _backup_file.read_position(path) == (1, 2, 3)
    expected = {
        kind: [(each.shape, each.dtype.type) for each in arrays] for kind, arrays in saved.items()
    }
    for kinds in (["shared", "replica"], ["metric"]):
        found = _backup_file.read(path, {kind: expected[kind] for kind in kinds}, 4, "LARS")
        assert list(found) == kinds
        for kind in kinds:
            assert_same_bits(found[kind], saved[kind])


def test_another_dtype_of_the_same_width_is_refused(tmp_path):
    path = tmp_path / "backup.npz"
    halves = np.zeros(2, tf.bfloat16.as_numpy_dtype)
    _backup_file.write(path, Backup(Position(1, 2, 3), 1, "LARS", {"shared": [halves]}))
    expected = {"shared": [((2,), np.float16)]}
    assert refusal(_backup_file.read, path, expected, 1, "LARS") == (
        f"The backup `{path}` is of another model or optimizer: its `shared_0` is uint16 of shape "
        "(2,). Received: float16 of shape (2,)"
    )


def test_each_replicas_values_are_read_and_written(strategy):
    shapes = [(3,), (), (0, 2), (2, 2)]  # together no multiple of four bytes
    dtypes = [tf.as_dtype(name) for name in DTYPES]
    with strategy.scope():
        variables = [
            tf.Variable(
                tf.zeros(shape, dtype),
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
            for dtype in dtypes
            for shape in shapes
        ]
    values = [
        odd_values(np.dtype(dtype.as_numpy_dtype), (2, *shape))
        for dtype in dtypes
        for shape in shapes
    ]
    _replicas.write_all(variables, values, strategy)
    for variable, rows in zip(variables, values, strict=True):
        components = strategy.experimental_local_results(variable)
        assert_same_bits([component.numpy() for component in components], [*rows])
    assert_same_bits(_replicas.read_all(variables, strategy), values)


def write_one(path, number, value):
    arrays = {"shared": [np.full(1000, value, "float32")]}
    _backup_file.write(path, Backup(Position(number, 0, number), 1, "LARS", arrays))


def read_one(path):
    expected = {"shared": [((1000,), np.float32)]}
    (array,) = _backup_file.read(path, expected, 1, "LARS")["shared"]
    return _backup_file.read_position(path).epoch, *{*array.tolist()}


@pytest.mark.parametrize("failing", ["savez", "fsync", "replace"])
def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path, monkeypatch, failing):
    path = tmp_path / "backup.npz"
    write_one(path, 1, 10.0)

    def fail(file, *arguments, **arrays):
        if failing == "savez":
            file.write(b"PK\x03\x04 the beginning of one")
        raise InterruptionError

    with monkeypatch.context() as patched:
        patched.setattr(np if failing == "savez" else os, failing, fail)
        with pytest.raises(InterruptionError):
            write_one(path, 2, 20.0)
    assert (tmp_path / "backup.npz.part").exists()
    assert read_one(path) == (1, 10.0)
    write_one(path, 3, 30.0)
    assert read_one(path) == (3, 30.0)
    assert [each.name for each in tmp_path.iterdir()] == ["backup.npz"]


def test_it_is_on_the_disk_before_it_is_renamed(tmp_path, monkeypatch):
    path, done = tmp_path / "backup.npz", []
    sync = os.fsync

    def synchronize(descriptor):
        done.append(os.fstat(descriptor).st_size)
        sync(descriptor)

    rename = os.replace

    def replace(source, target):
        done.append(os.stat(source).st_size)
        rename(source, target)

    monkeypatch.setattr(os, "fsync", synchronize)
    monkeypatch.setattr(os, "replace", replace)
    write_one(path, 1, 10.0)
    assert done == [path.stat().st_size] * 2


# --- what is refused ------------------------------------------------------------------------------


def refusal(call, *arguments, **options):
    with pytest.raises(ValueError) as error:
        call(*arguments, **options)
    return str(error.value)


@pytest.mark.parametrize("save_freq", [0, -1, True, False, None, "batch", 1.5])
def test_a_bad_save_freq(tmp_path, save_freq):
    assert refusal(BackupAndRestore, tmp_path, save_freq) == (
        "`save_freq` must be 'epoch' or an integer of at least 1. "
        f"Received: save_freq={save_freq!r}"
    )


def test_a_folder_without_a_name():
    message = "`backup_dir` must name a folder. Received: backup_dir=''"
    assert refusal(BackupAndRestore, "") == message


def test_a_folder_that_is_a_file(tmp_path):
    path = tmp_path / "file"
    path.touch()
    message = f"`backup_dir` must name a folder. Received a file: backup_dir='{path}'"
    assert refusal(BackupAndRestore, path) == message


def test_a_model_that_is_not_built(tmp_path):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    assert refusal(
        model.fit, INPUTS, TARGETS, callbacks=[BackupAndRestore(tmp_path)], verbose=0
    ) == (
        "`BackupAndRestore` needs a model that is built before `fit`: give it an input shape, or "
        f"call it on a batch. Received: {model!r}"
    )


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


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [keras.layers.Dense(3), keras.layers.BatchNormalization()],
            "its `shared_0` is float32 of shape (4, 4). Received: float32 of shape (4, 3)",
        ),
        (
            [keras.layers.Dense(4)],
            "it holds 13 arrays of shared. Received: a training that has 9",
        ),
        (
            [keras.layers.Dense(4), keras.layers.BatchNormalization(dtype="float64")],
            "its `shared_2` is float32 of shape (4,). Received: float64 of shape (4,)",
        ),
        (
            [keras.layers.Dense(4), keras.layers.BatchNormalization()],
            "it holds 3 arrays of replica. Received: a training that has 2",  # of Dropout
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


def test_a_backup_with_other_metrics(folder):
    model = make_model(make_lars(), metrics=[])
    assert refusal_of(model, folder) == (
        "The backup `FILE` is of another model or optimizer: it holds 4 arrays of metric. "
        "Received: a training that has 2"
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
        (
            lambda: make_lars(gradient_accumulation_steps=2),
            "is of another model or optimizer: it holds 3 arrays of replica. "
            "Received: a training that has 9",
        ),
    ],
    ids=["class", "wrapper", "options"],
)
def test_the_backup_of_another_optimizer(folder, optimizer, message):
    model = make_model(optimizer())
    assert refusal_that_leaves_alone(model, folder) == f"The backup `FILE` {message}"


def test_the_backup_of_another_number_of_replicas(folder, strategy):
    model = Training(strategy=strategy).model()
    assert refusal_that_leaves_alone(model, folder) == (
        "The backup `FILE` must be restored by as many replicas as wrote it, which are 1. "
        "Received: 2 replicas"
    )


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
        "`steps_per_epoch` must be the number of batches of an epoch, of which `make_epoch` "
        "returns 6. Received: steps_per_epoch=5"
    )
    assert fit(lambda epoch: shuffled(epoch).filter(lambda *_: True)) == (
        "`steps_per_epoch` must be given with the data of `epochs`, as a multiple of "
        "`steps_per_execution`, which is 1. Received: steps_per_epoch=None"
    )
    model.steps_per_execution = 4
    assert fit(shuffled, steps_per_epoch=6).endswith("which is 4. Received: steps_per_epoch=6")


def test_an_epoch_that_has_become_too_short(folder):
    model = Training().model()
    assert refusal_of(model, folder, steps_per_epoch=3, epochs=2) == (
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
    assert beginning == f"The backup `{path}` cannot be read; delete it to start afresh."
    assert received


def test_a_file_that_is_damaged_inside_is_refused(folder):
    path = folder / "backup.npz"
    data = bytearray(path.read_bytes())
    with np.load(path) as file:
        position = data.index(file["shared_0"].tobytes())
    data[position] ^= 1
    path.write_bytes(data)
    # Its beginning is as it should be, and so is that of each of its arrays.
    assert refusal_that_leaves_alone(Training().model(), folder) == (
        "The backup `FILE` cannot be read; delete it to start afresh. "
        "Received: Bad CRC-32 for file 'shared_0.npy'"
    )


def test_a_file_of_another_version(folder, monkeypatch):
    monkeypatch.setattr(_backup_file, "_VERSION", 2)
    path = folder / "backup.npz"
    assert refusal(BackupAndRestore, folder) == (
        f"The backup `{path}` must be of version 2; delete it to start afresh. Received: version 1"
    )


# --- why there is one -----------------------------------------------------------------------------


@pytest.mark.parametrize("save_freq", ["epoch", 4])
def test_the_one_of_keras_ends_with_other_weights(tmp_path, save_freq):
    """Fails once Keras is repaired; then what the docstring says of it may go."""
    training = Training("adam")
    options = {"steps_per_epoch": STEPS, "epochs": EPOCHS, "shuffle": False, "verbose": 0}
    for first_epoch, after in ((0, [After(9)]), (1, [])):
        model = training.model()
        # The order that the epochs have in an uninterrupted training: it is not at fault.
        data = tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(shuffled)
        backup = keras.callbacks.BackupAndRestore(str(tmp_path / "backup"), save_freq)
        with contextlib.suppress(InterruptionError):
            model.fit(data, callbacks=[backup, *after], **options)
    # It is trained twice on two batches, where it goes on from the beginning of the epoch.
    trained_twice = 2 if save_freq == 4 else 0
    assert int(model.optimizer.iterations) == EPOCHS * STEPS + trained_twice
    expected, _ = uninterrupted(training)
    pairs = zip(numbers(model.trainable_variables), numbers(expected.trainable_variables))
    assert any(np.any(weights != others) for weights, others in pairs)
