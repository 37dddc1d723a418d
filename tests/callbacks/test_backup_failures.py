"""Saves that fail: said with what is left, cleared away, and no reason to end a training."""

import errno
import os
import re
import shutil

import numpy as np
import pytest
from support.backups import (
    EPOCHS,
    After,
    InterruptionError,
    Training,
    assert_as_if_not_interrupted,
    position_in,
    refusal,
)

from keras_lars.callbacks import BackupAndRestore, _backup_file

pytestmark = pytest.mark.slow


def full_disk(monkeypatch, *numbers):
    """Lets the saves of these numbers, counted from 1, find no space after a few bytes."""
    save, count = np.savez, 0

    def savez(file, **arrays):
        nonlocal count
        count += 1
        if count in numbers:
            file.write(b"half of one")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(file, **arrays)

    monkeypatch.setattr(np, "savez", savez)


@pytest.mark.parametrize("kind", ["file", "read-only", "full"])
def test_the_folder_is_tested_before_the_first_batch(tmp_path, monkeypatch, kind):
    folder, batches = tmp_path / "a" / "b", []
    backup = BackupAndRestore(folder)
    if kind == "file":
        (tmp_path / "a").touch()
        error = os.strerror(errno.ENOTDIR)
    elif kind == "full":
        error = os.strerror(errno.ENOSPC)

        def create(path):
            raise OSError(errno.ENOSPC, error)

        monkeypatch.setattr(_backup_file, "create", create)
    else:
        error = os.strerror(errno.EROFS)
        folder.mkdir(parents=True)
        opened = os.open

        def read_only(path, flags, *arguments, **options):
            if flags & os.O_CREAT:
                raise OSError(errno.EROFS, error)
            return opened(path, flags, *arguments, **options)

        monkeypatch.setattr(os, "open", read_only)
    training = Training()
    after = After(1, lambda: batches.append(1))
    assert refusal(training.fit, training.model(), backup, after) == (
        "`backup_dir` must be a folder that can be written to. Received: "
        f"backup_dir='{folder}' ({error})"
    )
    assert batches == []


def test_training_goes_on_without_a_save_that_failed(tmp_path, monkeypatch):
    training = Training()
    full_disk(monkeypatch, 2)
    model, backup = training.model(), BackupAndRestore(tmp_path, 4)
    seen = []
    after = After(8, lambda: seen.append(sorted(path.name for path in tmp_path.iterdir())))
    message = (
        f"The backup after 2 batches of epoch 2 could not be written into '{tmp_path}' ([Errno 28] "
        "No space left on device). The last backup, after 4 batches of epoch 1, is still there, "
        "and training continues."
    )
    with pytest.warns(match=re.escape(message)):
        logs = training.fit(model, backup, after)
    assert seen == [["backup.lock", "backup.npz"]]  # nothing of the one that failed
    assert_as_if_not_interrupted(training, model, logs, first_epoch=0)


def test_the_last_good_one_is_what_the_next_process_goes_on_from(tmp_path, monkeypatch):
    training = Training()
    full_disk(monkeypatch, 2, 3)
    with pytest.warns(match="training continues"):
        training.interrupt(tmp_path, 4, 13)
    assert position_in(tmp_path) == (0, 4)
    assert_as_if_not_interrupted(training, *training.begin(tmp_path, 4), first_epoch=0)


@pytest.mark.parametrize(("failing", "ends"), [([1, 2], True), ([1, 3], False)])
def test_failures_in_a_row_end_a_training_where_that_is_asked_for(
    tmp_path, monkeypatch, failing, ends
):
    training = Training()
    full_disk(monkeypatch, *failing)
    if not ends:
        with pytest.warns(match="continues") as caught:
            training.begin(tmp_path, max_failed_saves=1)
        pattern = "There is no backup|The last backup.* epoch 2"
        ours = [str(each.message) for each in caught if each.category is UserWarning]
        assert [re.search(pattern, message)[0] for message in ours] == [
            "There is no backup",
            "The last backup, at the end of epoch 2",
        ]
        return
    with pytest.warns(match="There is no backup"), pytest.raises(OSError) as error:
        training.begin(tmp_path, max_failed_saves=1)
    assert str(error.value) == (
        f"The backup at the end of epoch 2 could not be written into '{tmp_path}' ([Errno 28] No "
        "space left on device). There is no backup. 2 saves in a row failed"
    )


def test_save_says_whether_it_has_saved(tmp_path, monkeypatch):
    training = Training()
    full_disk(monkeypatch, 1)
    backup, said = BackupAndRestore(tmp_path), []

    def save_and_stop():
        said.extend(backup.save() for _ in range(2))
        raise InterruptionError

    with pytest.warns(match="training continues"), pytest.raises(InterruptionError):
        training.fit(training.model(), backup, After(3, save_and_stop))
    assert said == [False, True]


def test_a_folder_that_is_gone_is_made_anew(tmp_path):
    training = Training()
    folder = tmp_path / "folder"
    model, backup = training.model(), BackupAndRestore(folder, 4)
    with pytest.warns(match=f"'{folder}' is gone, and the backup with it. It is created again"):
        logs = training.fit(model, backup, After(5, lambda: shutil.rmtree(folder)))
    assert_as_if_not_interrupted(training, model, logs, first_epoch=0)
    assert [path.name for path in folder.iterdir()] == ["backup.npz"]
    assert len(logs) == EPOCHS


def test_a_save_that_is_interrupted_after_its_last_step(tmp_path, monkeypatch):
    """What it has written is of this run, although it could not say so."""
    training, write = Training(), _backup_file.write

    def interrupted(*arguments):
        write(*arguments)
        raise KeyboardInterrupt

    backup = BackupAndRestore(tmp_path, 4)
    with monkeypatch.context() as patch:
        patch.setattr(_backup_file, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            training.fit(training.model(), backup)
    assert backup.save()
    assert position_in(tmp_path) == (0, 4)
