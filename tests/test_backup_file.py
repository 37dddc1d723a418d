"""The file of a backup: read as it was written, and whole or not there."""

import os

import numpy as np
import pytest
import tensorflow as tf
from backups import InterruptionError, refusal

from keras_lars import _replicas
from keras_lars.callbacks import _backup_file
from keras_lars.callbacks._backup_file import Backup, Position

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
