"""Files that are truncated, damaged or foreign are refused, and are never loaded in part.

There are three exceptions, none of them ours. HDF5 has no checksums, so a changed bit in the
numbers of a `.weights.h5` file goes unnoticed. (`.keras` files, checkpoints and backups have
checksums.) Keras loads the model's weights before the optimizer's state, so the weights stay loaded
if only the state is refused. TensorFlow restores the matching part of another model's checkpoint
before it raises.

Foreign backups and states are in `test_backup_refused.py` and `test_foreign_state.py`.
"""

import itertools
import json
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from support.models import assert_equal, batch, compiled, functional, numbers
from support.saving import make_lars, trained

from keras_lars import callbacks
from keras_lars.callbacks import _backup_file
from keras_lars.callbacks._backup_file import Spec

CUTS = [0.0, 0.001, 0.3, 0.7, 0.99, "text"]  # the fraction that is left, or other contents


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a model's files."""
    folder = tmp_path_factory.mktemp("saved")
    model = trained(functional, make_lars())
    model.save(folder / "model.keras")
    model.save_weights(folder / "model.weights.h5")
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(folder / "checkpoint")
    model.fit(*batch(0), verbose=0, callbacks=[callbacks.BackupAndRestore(folder, "epoch", False)])
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "folder")


@pytest.fixture(scope="module")
def trained_model():
    """The model that the files are loaded into. It differs from them in every array."""
    model = compiled(functional, make_lars(learning_rate=0.25), seed=100)
    model.train_on_batch(*batch(50))
    return model


@pytest.fixture
def model(trained_model):
    """The same model, restored after the test."""
    before = state(trained_model)
    yield trained_model
    for variable, value in zip(variables_of(trained_model), before, strict=True):
        variable.assign(value)


def variables_of(model):
    return [*model.weights, *model.optimizer.variables]


def state(model):
    return numbers(variables_of(model))


def refusal(load, model, error=Exception):
    """The message of the error. Checks that the model is unchanged."""
    before = state(model)
    with pytest.raises(error) as caught:
        load()
    assert_equal(state(model), before)
    return str(caught.value)


def restore(model, folder):
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    checkpoint.read(folder / "checkpoint").assert_consumed()


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(b"hello\n" * 50 if share == "text" else data[: int(share * len(data))])


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("share", CUTS)
def test_truncated_files(folder, model, share):
    path = folder / "model.keras"
    cut(path, share)
    assert "zip file" in refusal(lambda: keras.models.load_model(path), model, ValueError)
    refusal(lambda: model.load_weights(path), model, zipfile.BadZipFile)

    path = folder / "model.weights.h5"
    cut(path, share)
    assert "open file" in refusal(lambda: model.load_weights(path), model, OSError)

    path = folder / "backup.npz"
    cut(path, share)
    message = refusal(lambda: callbacks.BackupAndRestore(folder), model, ValueError)
    assert message.startswith(f"The backup `{path}` cannot be read")


@pytest.mark.parametrize("share", [None, *CUTS])
@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
def test_truncated_checkpoints(folder, model, part, share):
    path = folder / f"checkpoint.{part}"
    if share is None:
        path.unlink()
    else:
        cut(path, share)
    refusal(lambda: restore(model, folder), model)


@pytest.mark.parametrize("member", ["config.json", "model.weights.h5"])
def test_a_damaged_keras_file(folder, model, member):
    path = folder / "model.keras"
    with zipfile.ZipFile(path) as file:
        info = file.getinfo(member)
    flip(path, info.header_offset + 30 + len(member) + info.file_size // 2)
    message = refusal(lambda: keras.models.load_model(path), model, zipfile.BadZipFile)
    assert member in message
    if member == "model.weights.h5":
        refusal(lambda: model.load_weights(path), model, zipfile.BadZipFile)


@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
def test_a_damaged_checkpoint(folder, model, part):
    path = folder / f"checkpoint.{part}"
    flip(path, path.stat().st_size // 2)
    assert "checkpoint" in refusal(lambda: restore(model, folder), model, tf.errors.OpError)


@pytest.mark.slow
def test_a_backup_damaged_anywhere(folder, model):
    """It is refused or read as it was written, since not every byte of an archive matters."""
    path = folder / "backup.npz"
    header = _backup_file.read_header(path)
    with np.load(path) as file:
        expected = {
            kind: [
                Spec(name, file[f"{kind}_{i}"].shape, file[f"{kind}_{i}"].dtype)
                for i, name in enumerate(names)
            ]
            for kind, names in header.names.items()
        }
    assert list(expected) == ["shared", "replica", "metric"]

    def read():
        header = _backup_file.read_header(path)
        arrays = _backup_file.read(path, header, expected)
        return header, list(itertools.chain(*arrays.values()))

    _, arrays = read()
    data = path.read_bytes()
    refused = harmless = 0
    for place in range(0, len(data), 29):
        path.write_bytes(data)
        flip(path, place)
        try:
            read_header, read_arrays = read()
        except ValueError as error:
            refused += str(path) in str(error)
            continue
        assert read_header == header
        assert_equal(read_arrays, arrays)
        harmless += 1
    assert refused + harmless == len(range(0, len(data), 29))
    assert refused > harmless


MARKER = {"class": "LARS", "momentum_form": "classic", "state_version": 1}


def replace(name, value):
    def change(state):
        del state[name]
        state[name] = value

    return change


def marked(text):
    return replace("marker", np.frombuffer(text, np.uint8))


def change_optimizer(path, change):
    with h5py.File(path, "r+") as file:
        change(file["optimizer/vars"])


@pytest.mark.parametrize(
    "change",
    [marked(b"{'class'"), marked(b"\xff\xfe\x00"), replace("marker", np.ones(3))],
    ids=["text", "bytes", "numbers"],
)
def test_a_damaged_marker_is_an_error(folder, model, change):
    path = folder / "model.weights.h5"
    change_optimizer(path, change)
    before = numbers(model.optimizer.variables)
    message = "optimizer 'lars' cannot be loaded, because the file is damaged in `marker`"
    with pytest.raises(ValueError, match=message):
        model.load_weights(path)
    assert_equal(numbers(model.optimizer.variables), before)


class Unreadable(dict):
    def __getitem__(self, name):
        if name == "velocities_2":
            raise OSError("Can't synchronously read data")
        return super().__getitem__(name)


@pytest.mark.slow
def test_an_array_that_cannot_be_read_is_an_error(model):
    store = Unreadable()
    trained(functional, make_lars(), steps=1).optimizer.save_own_variables(store)
    message = refusal(lambda: model.optimizer.load_own_variables(store), model, ValueError)
    assert message == (
        "The state of optimizer 'lars' cannot be loaded, because the file is damaged in "
        "`velocities_2`. Its variables are unchanged. Received: Can't synchronously read data"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            marked(json.dumps({**MARKER, "state_version": 3}).encode()),
            "saved by a later version of keras_lars",
        ),
        (marked(b"[1]"), r"saved as state of \[1\]"),
        (lambda state: state.__delitem__("marker"), "no marker"),
        (lambda state: state.__delitem__("velocities_1"), r"missing \['velocities_1'\]"),
        (replace("velocities_1", np.ones(77, "float32")), "`velocities_1` is float of shape .77"),
        (replace("velocities_1", np.array([b"a"] * 4)), "`velocities_1` is .S1"),
        (replace("velocities_1", np.ones(4, complex)), "`velocities_1` is complex128"),
        (replace("iteration", np.float32(2.5)), "`iteration` is float"),
    ],
    ids=["later", "list", "no marker", "missing", "shape", "strings", "complex", "half a step"],
)
def test_a_state_that_does_not_fit_is_a_warning(folder, model, change, message):
    path = folder / "model.weights.h5"
    change_optimizer(path, change)
    with pytest.warns(UserWarning, match=message):
        model.load_weights(path)
    # All of the state is reset: nothing is half loaded.
    optimizer = model.optimizer
    assert int(optimizer.iterations) == 0
    assert float(optimizer.learning_rate) == 0.25
    assert not any(np.any(momentum) for momentum in numbers(optimizer.momentums))


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_the_file_of_another_model_is_refused(folder):
    def wider():
        inputs = keras.Input((4,))
        return keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Dense(5)(inputs)))

    model = compiled(wider, make_lars())
    model.optimizer.build(model.trainable_variables)
    with pytest.raises(ValueError, match="could not be loaded"), pytest.warns(match="not loaded"):
        model.load_weights(folder / "model.weights.h5")
