"""The header of a backup, which anybody may have written: read whole, or refused in words."""

import io
import json
import zipfile

import numpy as np
import pytest
from support.backups import refusal

from keras_lars.callbacks import BackupAndRestore, _backup_file, _backup_header
from keras_lars.callbacks._backup_file import Spec
from keras_lars.callbacks._backup_header import Header, Position

HEADER = Header(Position(1, 2, 3), 4, "LARS", {"state_version": 1}, {"shared": ["w"]}, 0.5, 6, 7)
FIRST = {"version": 1, "epoch": 1, "batch": 2, "identity": 3, "replicas": 4, "optimizer": "LARS"}


def test_it_is_read_as_it_was_written():
    assert _backup_header.decode(_backup_header.encode(HEADER)) == HEADER


OPTIONAL = ("schedule", "batches")  # earlier backups of the same version have none


@pytest.mark.parametrize(("name", "value"), [("schedule", "{}"), ("batches", 8)])
def test_optional_entries(name, value):
    for each in (value, None):
        header = HEADER._replace(**{name: each})
        assert _backup_header.decode(_backup_header.encode(header)) == header
    assert _backup_header.decode(changed(**{name: "gone"})) == HEADER


def test_that_of_version_0_1_0_is_read():
    header = _backup_header.decode(json.dumps(FIRST).encode())
    assert header == Header(Position(1, 2, 3), 4, "LARS", version=1)


def changed(**changes):
    about = json.loads(_backup_header.encode(HEADER)) | changes
    return json.dumps({name: value for name, value in about.items() if value != "gone"}).encode()


REQUIRED = [name for name in json.loads(changed()) if name not in OPTIONAL]
COUNT = "an integer from 0 to 2**63 - 1"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        *((changed(**{name: "gone"}), f"lacks `{name}`") for name in REQUIRED),
        (changed(schedule=1.0), "`schedule` of its header must be a string"),
        (changed(batches=0), "`batches` of its header must be an integer from 1 to"),
        (changed(epoch=-1), f"`epoch` of its header must be {COUNT}, but is -1"),
        (changed(batch=2**63), f"`batch` of its header must be {COUNT}, but is 92233720368547758"),
        (changed(identity=10**400), f"must be {COUNT}, but is 'an integer of 1329 bits'"),
        (changed(epoch=1.0), f"must be {COUNT}, but is 1.0"),
        (changed(epoch=True), f"must be {COUNT}, but is True"),
        (changed(epoch="1"), f"must be {COUNT}, but is '1'"),
        (changed(replicas=0), "must be an integer from 1 to"),
        (changed(version=None), "must be an integer from 1 to"),
        (changed(version=3), "version 3"),
        (changed(optimizer=["LARS"]), "`optimizer` of its header must be a string"),
        (changed(state="LARS"), "must be an object or null"),
        (changed(names={"shared": [1]}), "must be an object of lists of strings"),
        (changed(names=[]), "must be an object of lists of strings"),
        (changed(learning_rate=[0.5]), "must be a float or null"),
        (b"[1]", "not a JSON object"),
        (b"", "Expecting value"),
        (b"[" * 100_000, "nested too deeply"),
        (b"\xff\xfe{}", "codec"),
        (b"\xef\xbb\xbf" + changed(), "BOM"),
        (b'{"version": ' + b"9" * 5000 + b"}", "digits"),
    ],
)
def test_what_is_refused(data, reason):
    assert reason in refusal(_backup_header.decode, data)


def written(path, **members):
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)


def array(shape, data=b"1234", dtype="|u1"):
    """An array as `np.save` writes it, but for a header that may lie."""
    stream = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + data


def test_a_damaged_header_is_refused_when_the_callback_is_made(tmp_path):
    path = tmp_path / "backup.npz"
    data = changed(epoch=-3)
    written(path, about=array((len(data),), data))
    assert refusal(BackupAndRestore, tmp_path) == (
        f"The backup `{path}` cannot be read; delete it to start over. Received: "
        f"`epoch` of its header must be {COUNT}, but is -3"
    )


WRONG = [(10**13,), (2**32, 2**32), (10**30,), (-1,), (-2, -2), (0,), (3,), (5,)]


@pytest.mark.parametrize("shape", WRONG, ids=str)
def test_an_array_must_be_as_large_as_it_says(tmp_path, shape):
    path = tmp_path / "backup.npz"
    refused = f"The backup `{path}` cannot be read; delete it to start over. Received: "
    written(path, about=array(shape))
    assert refusal(BackupAndRestore, tmp_path).startswith(refused)

    data = _backup_header.encode(HEADER)
    written(path, about=array((len(data),), data), shared_0=array(shape, dtype="<f4"))
    expected = {"shared": [Spec("w", shape, np.dtype("float32"))]}
    assert refusal(_backup_file.read, path, HEADER, expected).startswith(refused)


@pytest.mark.parametrize("dtype", ["|O", "<f99", "no dtype"])
def test_objects_and_unknown_dtypes_are_not_read(tmp_path, dtype):
    written(tmp_path / "backup.npz", about=array((1,), b"12345678", dtype))
    assert "cannot be read" in refusal(BackupAndRestore, tmp_path)


def test_compressed_arrays_are_not_read(tmp_path):
    """A small file of them may be a giant one in memory."""
    data = np.frombuffer(_backup_header.encode(HEADER), np.uint8)
    np.savez_compressed(tmp_path / "backup.npz", about=data)
    assert refusal(BackupAndRestore, tmp_path).endswith("`about` is compressed")
