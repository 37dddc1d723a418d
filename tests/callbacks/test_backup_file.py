"""The file of a backup: read as it was written, and whole or not there."""

import functools
import os
import stat

import numpy as np
import pytest
import tensorflow as tf
from support.backups import InterruptionError, refusal

from keras_lars import _replicas
from keras_lars.callbacks import _backup_file
from keras_lars.callbacks._backup_file import Spec
from keras_lars.callbacks._backup_header import Header, Position

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


def header_of(epoch, batch, identity, names=None):
    return Header(Position(epoch, batch, identity), 4, "LARS", names=names or {})


def named(arrays):
    return [f"variable_{i}" for i in range(len(arrays))]


def test_all_dtypes_are_read_as_they_were_written(tmp_path):
    dtypes = [np.dtype(tf.as_dtype(name).as_numpy_dtype) for name in DTYPES]
    arrays = [odd_values(dtype, shape) for dtype in dtypes for shape in [(3, 2), (3,), (), (0, 2)]]
    path = tmp_path / "backup.npz"
    saved = {"shared": arrays, "metric": arrays[:1], "replica": []}
    names = {kind: named(values) for kind, values in saved.items()}
    header = header_of(1, 2, 3, names)
    _backup_file.write(path, header, saved)
    assert _backup_file.read_header(path) == header
    expected = {
        kind: [Spec(name, each.shape, each.dtype.type) for name, each in zip(names[kind], arrays)]
        for kind, arrays in saved.items()
    }
    for kinds in (["shared", "replica"], ["metric"]):
        found = _backup_file.read(path, header, {kind: expected[kind] for kind in kinds})
        assert list(found) == kinds
        for kind in kinds:
            assert_same_bits(found[kind], saved[kind])


def test_another_dtype_of_the_same_width_is_refused(tmp_path):
    path, header = tmp_path / "backup.npz", header_of(1, 2, 3)
    halves = np.zeros(2, tf.bfloat16.as_numpy_dtype)
    _backup_file.write(path, header, {"shared": [halves]})
    expected = {"shared": [Spec("w", (2,), np.float16)]}
    assert refusal(_backup_file.read, path, header, expected) == (
        f"The backup `{path}` is of another model or optimizer: its `shared_0` is uint16 of shape "
        "(2,). Received: float16 of shape (2,)"
    )


@pytest.mark.slow
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
    _backup_file.write(path, header_of(number, 0, number, {"shared": ["w"]}), arrays)


def read_one(path):
    expected = {"shared": [Spec("w", (1000,), np.float32)]}
    header = _backup_file.read_header(path)
    (array,) = _backup_file.read(path, header, expected)["shared"]
    return header.position.epoch, *{*array.tolist()}


def half_of_one(file, *arguments, **arrays):
    file.write(b"PK\x03\x04 the beginning of one")
    raise InterruptionError


def without_an_array(save, file, **arrays):
    del arrays["shared_0"]
    save(file, **arrays)


def with_a_changed_bit(save, file, **arrays):
    arrays["shared_0"] = arrays["shared_0"] + np.float32(1)
    save(file, **arrays)


@pytest.mark.parametrize(
    ("failing", "error"),
    [
        ("savez", InterruptionError),
        ("fsync", InterruptionError),
        ("replace", InterruptionError),
        (without_an_array, OSError),
        (with_a_changed_bit, OSError),
    ],
)
def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path, monkeypatch, failing, error):
    path = tmp_path / "backup.npz"
    write_one(path, 1, 10.0)

    def fail(*arguments):
        raise InterruptionError

    with monkeypatch.context() as patched:
        if failing == "savez":
            patched.setattr(np, "savez", half_of_one)
        elif isinstance(failing, str):
            patched.setattr(os, failing, fail)
        else:  # what is read back is not what was to be written
            patched.setattr(np, "savez", functools.partial(failing, np.savez))
        with pytest.raises(error):
            write_one(path, 2, 20.0)
    assert [each.name for each in tmp_path.iterdir()] == ["backup.npz"]
    assert read_one(path) == (1, 10.0)
    write_one(path, 3, 30.0)
    assert read_one(path) == (3, 30.0)


def test_it_is_on_the_disk_before_it_is_renamed(tmp_path, monkeypatch):
    path, done = tmp_path / "backup.npz", []
    sync, rename = os.fsync, os.replace

    def synchronize(descriptor):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        done.append("folder" if is_folder else os.fstat(descriptor).st_size)
        sync(descriptor)

    def replace(source, target):
        done.append(os.stat(source).st_size)
        rename(source, target)

    monkeypatch.setattr(os, "fsync", synchronize)
    monkeypatch.setattr(os, "replace", replace)
    write_one(path, 1, 10.0)
    assert done == [path.stat().st_size, path.stat().st_size, "folder"]


def test_temporary_files_are_new_ones(tmp_path, monkeypatch):
    """What lies at their name is neither overwritten nor followed: it may be a planted link."""
    path, precious = tmp_path / "backup.npz", tmp_path / "precious"
    precious.write_text("precious")
    assert len({_backup_file.part_of(path) for _ in range(100)}) == 100
    link = tmp_path / "link"
    link.symlink_to(precious)
    monkeypatch.setattr(_backup_file, "part_of", lambda path: link)
    with pytest.raises(FileExistsError):
        write_one(path, 1, 10.0)
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_is_kept_under_another_name(tmp_path, monkeypatch, has_links):
    if not has_links:
        monkeypatch.setattr(os, "link", fails_without_links)
    path, name = tmp_path / "backup.npz", tmp_path / "epoch.npz"
    for number in (1, 2):
        write_one(path, number, 10.0 * number)
        _backup_file.keep(path, name)
        write_one(path, 9, 90.0)
        assert read_one(name) == (number, 10.0 * number)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["backup.npz", "epoch.npz"]


def fails_without_links(source, target):
    raise OSError("Operation not supported")
