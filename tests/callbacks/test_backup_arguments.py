"""Arguments that `BackupAndRestore` takes and refuses, in words."""

import re

import keras
import numpy as np
import pytest
from support.backups import INPUTS, TARGETS, refusal

from keras_lars.callbacks import BackupAndRestore

TOO_LARGE = 2**63
NOT_COUNTS = [0, -1, True, False, None, "batch", 1.5, TOO_LARGE, b"epoch", np.array(["epoch", "b"])]


@pytest.mark.parametrize("save_freq", NOT_COUNTS, ids=repr)
def test_a_bad_save_freq(tmp_path, save_freq):
    too_large = f" and <= {2**63 - 1}" if save_freq is TOO_LARGE else ""
    assert refusal(BackupAndRestore, tmp_path, save_freq) == (
        f"`save_freq` must be 'epoch' or an integer >= 1{too_large}. "
        f"Received: save_freq={save_freq!r}"
    )


def test_integers_that_cannot_be_printed_are_described(tmp_path):
    message = refusal(BackupAndRestore, tmp_path, 10**5000)
    assert message.endswith("Received: save_freq=an integer of about 5000 digits")


def test_integers_and_booleans_of_numpy_are_taken(tmp_path):
    backup = BackupAndRestore(tmp_path, np.int64(2), np.bool_(False), np.uint8(3), np.bool_(True))
    taken = backup.save_freq, backup.delete_checkpoint, backup.max_failed_saves
    assert (*taken, backup.allow_other_replicas) == (2, False, 3, True)
    assert [type(each) for each in taken] == [int, bool, int]


@pytest.mark.parametrize(
    ("name", "rule", "values"),
    [
        ("delete_checkpoint", "True, False or 'next_fit'", ["false", "True", 0, 1, None]),
        ("max_failed_saves", "an integer >= 0, or None", [-1, True, "1"]),
        ("allow_other_replicas", "True or False", ["false", 1, None]),
    ],
)
def test_other_arguments(tmp_path, name, rule, values):
    for value in values:
        assert refusal(BackupAndRestore, tmp_path, **{name: value}) == (
            f"`{name}` must be {rule}. Received: {name}={value!r}"
        )


@pytest.mark.parametrize("backup_dir", [None, "", b"x", 3, 1.5, ["x"]], ids=repr)
def test_what_is_no_path(backup_dir):
    assert refusal(BackupAndRestore, backup_dir) == (
        "`backup_dir` must be a path: a non-empty string or a `pathlib.Path`. "
        f"Received: backup_dir={backup_dir!r}"
    )


@pytest.mark.parametrize(("backup_dir", "why"), [("a\0b", "null"), ("x" * 5000, "too long")])
def test_a_path_that_cannot_be_used(backup_dir, why):
    message = refusal(BackupAndRestore, backup_dir)
    rule = f"`backup_dir` must be a path that the system accepts .*{why}.* Received: "
    assert re.match(rule, message)


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
