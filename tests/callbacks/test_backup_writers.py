"""Two trainings of one folder: neither destroys what the other has written."""

import concurrent.futures
import contextlib
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from support.backups import (
    After,
    InterruptionError,
    Training,
    assert_as_if_not_interrupted,
    refusal,
)

from keras_lars.callbacks import (
    BackupAndRestore,
    _backup_file,
    _backup_folder,
    _backup_header,
    _backup_lock,
)
from keras_lars.callbacks._backup_file import Spec
from keras_lars.callbacks._backup_header import Header, Position

pytestmark = pytest.mark.slow

# The lock is a module of the standard library alone: without TensorFlow it starts at once.
HOLDER = """
import os, pathlib, runpy, sys, time
lock = runpy.run_path(sys.argv[1])
lock["acquire"].__globals__["PATIENCE"] = 0.0
try:
    lock["acquire"](pathlib.Path(sys.argv[2]))
except BlockingIOError as error:
    sys.exit(f"in use by {error}")
if sys.argv[3:] == ["with a child"] and not os.fork():
    os.close(1)
    time.sleep(60)
print("held", os.getpid(), flush=True)
sys.stdin.read()
"""


def holder_of(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, _backup_lock.__file__, str(folder), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def held(folder, *arguments):
    """Another process that trains in this folder, as far as one can see."""
    with holder_of(folder, *arguments) as holder:
        assert holder.stdout.readline() == f"held {holder.pid}\n"
        try:
            yield holder
        finally:
            holder.kill()


def test_a_folder_in_which_a_living_process_trains_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(_backup_lock, "PATIENCE", 0.0)
    training = Training()
    training.interrupt(tmp_path, 4, 4)
    _backup_lock.release(tmp_path)  # this process lives on
    before = (tmp_path / "backup.npz").read_bytes()
    with held(tmp_path) as holder:
        message = refusal(training.begin, tmp_path, 4)
        assert message.startswith(
            "`backup_dir` must be a folder for this training run alone. Received: "
            f"backup_dir='{tmp_path}', in which process {holder.pid} on "
        )
        assert (tmp_path / "backup.npz").read_bytes() == before
    # It is killed, and nothing has to be put in order by hand.
    assert (tmp_path / "backup.lock").exists()
    assert_as_if_not_interrupted(training, *training.begin(tmp_path, 4), first_epoch=0)
    assert not (tmp_path / "backup.lock").exists()


def test_the_lock_is_held_until_fit_ends(tmp_path):
    def other_process():
        with holder_of(tmp_path) as holder:
            return holder.communicate("")

    training, seen = Training(), []
    training.begin(tmp_path, 4, After(3, lambda: seen.append(other_process())))
    assert seen == [("", f"in use by process {os.getpid()} on {os.uname().nodename}\n")]
    output, error = other_process()
    assert (output.split()[0], error) == ("held", "")


def test_a_child_of_a_process_that_was_killed_does_not_hold_the_lock(tmp_path):
    with held(tmp_path, "with a child") as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert _backup_lock.acquire(tmp_path) is None
        _backup_lock.release(tmp_path)


def test_a_lock_file_that_is_a_link_is_not_written_to(tmp_path):
    precious, folder = tmp_path / "precious", tmp_path / "folder"
    precious.write_text("precious")
    folder.mkdir()
    for link in (os.symlink, os.link):
        link(precious, folder / "backup.lock")
        message = refusal(Training().begin, folder)
        assert message.startswith("`backup_dir` must be a folder that can be written to. Received:")
        assert precious.read_text() == "precious"
        (folder / "backup.lock").unlink()


def test_what_a_killed_process_left_is_removed(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "backup.npz.part").symlink_to(precious)  # its name in 0.1.0
    (folder / "backup.npz.0123456789abcdef.part").write_bytes(b"half of one")
    Training().begin(folder)
    assert [path.name for path in folder.iterdir()] == ["backup.npz"]
    assert precious.read_text() == "precious"


# --- where there are no locks ---------------------------------------------------------------------


def without_locks(monkeypatch):
    monkeypatch.setattr(_backup_lock, "fcntl", None)


@pytest.mark.filterwarnings("ignore:The folder .* cannot be locked")
def test_a_training_that_finds_the_backup_of_another_one_stops(tmp_path, monkeypatch):
    without_locks(monkeypatch)
    training, other = Training("adam"), Training()
    written = []

    def train_another():
        with pytest.raises(InterruptionError):
            other.begin(tmp_path, 2, After(9))
        written.append((tmp_path / "backup.npz").read_bytes())

    with pytest.raises(RuntimeError, match="Another training run uses the folder") as error:
        training.begin(tmp_path, 4, After(3, train_another))
    assert str(tmp_path) in str(error.value)
    # What the other one has written is whole, and it goes on from there.
    assert [(tmp_path / "backup.npz").read_bytes()] == written
    assert_as_if_not_interrupted(other, *other.begin(tmp_path, 2), first_epoch=1)


@pytest.mark.filterwarnings("ignore:The folder .* cannot be locked")
def test_one_that_was_read_and_replaced_stops_a_training_as_well(tmp_path, monkeypatch):
    """Metrics are read late, in the first batch that is skipped."""
    without_locks(monkeypatch)
    training = Training()
    training.interrupt(tmp_path, 4, 9)
    restore, replacement = training.model(), BackupAndRestore(tmp_path)

    def write_another(logs=None):
        _backup_file.write(replacement._folder.file, header(5), {})

    callback = After(100)
    callback.on_train_begin = write_another
    with pytest.raises(RuntimeError, match="Another training run uses the folder"):
        training.fit(restore, BackupAndRestore(tmp_path, 4), callback)


@pytest.mark.parametrize("delete", ["next_fit", True])
def test_at_the_end_it_is_a_warning_and_the_model_can_be_saved(tmp_path, delete):
    def write_another():
        _backup_file.write(tmp_path / "backup.npz", header(5), {})

    training = Training()
    with pytest.warns(match="Another training run uses the folder"):
        training.begin(tmp_path, 100, After(18, write_another), delete_checkpoint=delete)
    assert _backup_file.read_header(tmp_path / "backup.npz") == header(5)


def test_the_backup_of_a_later_version_is_that_of_another_training(tmp_path, monkeypatch):
    def write_another():
        with monkeypatch.context() as patched:
            patched.setattr(_backup_header, "VERSION", 3)
            _backup_file.write(tmp_path / "backup.npz", header(5)._replace(version=3), {})

    with pytest.raises(RuntimeError, match="Another training run uses the folder"):
        Training().begin(tmp_path, 4, After(3, write_another))


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def lockf(descriptor, operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(_backup_lock.fcntl, "lockf", lockf)
    with pytest.warns(match=r"cannot be locked \(\[Errno 37\] No locks available\)\. If another"):
        _backup_folder.BackupFolder(tmp_path).begin()


def header(number):
    return Header(Position(number, 0, number), 1, "LARS", names={"shared": ["w"]})


def test_writers_at_once_leave_a_whole_file(tmp_path):
    """Whoever reads sees one backup or the other, never parts of both."""
    path = tmp_path / "backup.npz"
    expected = {"shared": [Spec("w", (1000,), np.dtype("float32"))]}

    def write(first):
        for number in range(first, first + 30):
            _backup_file.write(path, header(number), {"shared": [np.full(1000, number, "f")]})

    def read():
        seen = 0
        while not all(writer.done() for writer in writers):
            found = _backup_file.read_header(path)
            arrays = _backup_file.read(path, found, expected) if found else None
            if arrays is not None:  # otherwise it was replaced in between
                assert {*arrays["shared"][0]} == {found.position.epoch}
                seen += 1
        return seen

    with concurrent.futures.ThreadPoolExecutor() as pool:
        writers = [pool.submit(write, first) for first in (1, 101, 201)]
        seen = read()
        for writer in writers:
            writer.result()
    assert seen
    assert [each.name for each in tmp_path.iterdir()] == ["backup.npz"]
