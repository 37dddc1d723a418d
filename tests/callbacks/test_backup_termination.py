"""SIGTERM ends a training only after a backup. test_lost_workers.py has it on several workers."""

import os
import signal
import threading
import warnings

import keras
import pytest
import tensorflow as tf
from support.backups import (
    BATCH,
    EPOCHS,
    INPUTS,
    STEPS,
    TARGETS,
    After,
    InterruptionError,
    Training,
    assert_as_if_not_interrupted,
    position_in,
    state_of,
)
from support.models import assert_equal

from keras_lars.callbacks import BackupAndRestore, _backup_file, _termination
from keras_lars.callbacks._backup_folder import BackupFolder
from keras_lars.callbacks._termination import Termination
from keras_lars.multi_worker import WorkerLostError

pytestmark = pytest.mark.slow


class EndedError(BaseException):
    """Takes the place of the end of the process."""


def send():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(autouse=True)
def no_handler(monkeypatch):
    """The default handler, whose effect is an exception."""

    def end(number):
        assert number == signal.SIGTERM
        assert signal.getsignal(number) == signal.SIG_DFL
        raise EndedError

    monkeypatch.setattr(signal, "raise_signal", end)
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("save_freq", ["epoch", 4])
def test_a_backup_is_saved_after_the_batch(tmp_path, save_freq):
    training = Training("accumulation")
    with pytest.raises(EndedError):
        training.fit(training.model(), BackupAndRestore(tmp_path, save_freq), After(8, send))
    assert position_in(tmp_path) == (1, 3)  # the batch after the signal
    begun = training.begin(tmp_path, save_freq)
    assert_as_if_not_interrupted(training, *begun, first_epoch=1)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_backup_that_cannot_be_saved(tmp_path, monkeypatch):
    def write(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(BackupFolder, "write", write)
    training = Training()
    with pytest.warns(match=r"\(disk full\).*, and the process ends\."), pytest.raises(EndedError):
        training.fit(training.model(), BackupAndRestore(tmp_path, 100), After(3, send))


def test_the_last_whole_epoch_is_kept(tmp_path):
    """Another number of replicas can continue from there, as it could without this backup."""
    with pytest.raises(EndedError):
        Training().begin(tmp_path, after=After(8, send))
    folder = BackupFolder(tmp_path)
    assert folder.whole_epoch(folder.header()).position[:2] == (1, 0)


class InValidation(keras.callbacks.Callback):
    """Sends the signal in the validation of the first epoch."""

    def on_test_begin(self, logs=None):
        send()


def test_a_validation_is_repeated(tmp_path):
    training = Training(arrays=True)
    with pytest.raises(EndedError):
        training.fit(training.model(), BackupAndRestore(tmp_path), InValidation())
    assert position_in(tmp_path) == (0, STEPS)
    assert_as_if_not_interrupted(training, *training.begin(tmp_path), first_epoch=0)


def fit_swapping(folder, *others):
    model = Training("average").model()
    callbacks = [keras.callbacks.SwapEMAWeights(), BackupAndRestore(folder), *others]
    options = {"epochs": EPOCHS, "shuffle": False, "verbose": 0, "callbacks": callbacks}
    options["validation_data"] = INPUTS[:BATCH], TARGETS[:BATCH]
    model.fit(INPUTS, TARGETS, BATCH, **options)
    return state_of(model)


def test_weights_that_are_swapped_in_a_validation_are_not_saved(tmp_path):
    with pytest.raises(EndedError):
        fit_swapping(tmp_path / "ended", InValidation())
    assert position_in(tmp_path / "ended") == (1, 1)  # the batch after the validation
    assert_equal(fit_swapping(tmp_path / "ended"), fit_swapping(tmp_path / "whole"))


def test_after_the_last_batch_training_is_finished(tmp_path):
    with pytest.raises(EndedError):
        Training().begin(tmp_path, after=After(EPOCHS * STEPS, send))
    assert _backup_file.read_header(tmp_path / "backup.npz").finished_epochs == EPOCHS


def test_after_a_fit_that_failed_it_has_its_effect_at_once(tmp_path):
    training = Training()
    training.interrupt(tmp_path, "epoch", 8)
    training.interrupt(tmp_path, "epoch", 1)  # the second one knows the handler of before
    with pytest.raises(EndedError):
        send()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_another_fit_after_one_that_failed_does_not_note_it(tmp_path):
    training = Training()
    training.interrupt(tmp_path, "epoch", 8)
    after = After(2, send)
    with pytest.raises(EndedError):
        training.fit(training.model(), after=after)  # which has no backup to save
    assert after.left == 0


def test_what_a_fit_that_failed_has_noted_ends_the_next_one(tmp_path):
    def send_and_fail():
        send()
        raise InterruptionError

    with pytest.raises(InterruptionError):
        Training().begin(tmp_path, after=After(8, send_and_fail))
    with pytest.raises(EndedError):
        Training().begin(tmp_path)
    assert position_in(tmp_path) == (1, 1)


def test_a_child_process_ends_at_once(tmp_path):
    """Also one that is forked in a callback, and so has the stack of `fit`."""
    statuses = []

    def fork():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # TensorFlow has threads
            child = os.fork()
        if not child:
            try:
                send()
            except EndedError:
                os._exit(0)
            finally:
                os._exit(1)
        statuses.append(os.waitpid(child, 0)[1])

    Training().begin(tmp_path, after=After(8, fork))
    assert statuses == [0]


def test_a_handler_that_is_set_meanwhile_is_kept(tmp_path):
    def own(number, frame):
        pass

    Training().begin(tmp_path, after=After(8, lambda: signal.signal(signal.SIGTERM, own)))
    assert signal.getsignal(signal.SIGTERM) == own


def test_one_callback_is_enough(tmp_path):
    """Two of them in a cluster would each pass the signal to the other."""
    training, model, found = Training(), Training().model(), []

    def begin():
        Termination(lambda *numbers: [numbers]).begin(model)
        found.append(signal.getsignal(signal.SIGTERM).__self__)

    backup = BackupAndRestore(tmp_path)
    training.fit(model, backup, After(8, begin))
    assert found == [backup._session.termination]


@pytest.mark.parametrize("own", [lambda number, frame: None, signal.SIG_IGN])
def test_a_handler_of_the_user_is_left_alone(tmp_path, own):
    signal.signal(signal.SIGTERM, own)
    training = Training()
    assert_as_if_not_interrupted(training, *training.begin(tmp_path, after=After(8, send)), 0)
    assert signal.getsignal(signal.SIGTERM) == own


def test_outside_the_main_thread_nothing_is_handled(tmp_path):
    training, found = Training(), []
    thread = threading.Thread(target=lambda: found.append(training.begin(tmp_path)))
    thread.start()
    thread.join()
    assert_as_if_not_interrupted(training, *found[0], first_epoch=0)


def workers(count, seconds_of_batch, monkeypatch):
    """The terminations of workers that ask each other in turn, and how often they did."""
    clock, told, asked = [0.0], {}, []
    monkeypatch.setattr(_termination.time, "monotonic", lambda: clock[0])

    def exchange_of(index):
        def exchange(*numbers):
            told[index] = numbers
            asked.append(index)
            return [told.get(other, numbers) for other in range(count)]

        return exchange

    found = [Termination(exchange_of(index)) for index in range(count)]

    def batch(is_training=True):
        clock[0] += seconds_of_batch
        for each in found:
            each.check(lambda: None, is_training)

    return found, batch, asked


def test_workers_ask_each_other_every_few_seconds(monkeypatch):
    _, batch, asked = workers(1, 0.01, monkeypatch)
    for _ in range(1000):  # 10 seconds
        batch()
    assert 4 <= len(asked) <= 6


def test_how_often_does_not_depend_on_batches_that_are_skipped(tmp_path, monkeypatch):
    _, batch, asked = workers(1, 0.01, monkeypatch)
    for _ in range(1000):
        batch(is_training=False)
    assert not asked

    seen = []
    Training().interrupt(tmp_path, 2, 2)
    monkeypatch.setattr(Termination, "check", lambda self, save, training: seen.append(training))
    Training().begin(tmp_path)
    assert seen == [False] * 2 + [True] * (EPOCHS * STEPS - 2)


def test_a_worker_that_was_not_asked_to_end_says_that_another_was(monkeypatch):
    """Also if the other has ended before this one knows that both have saved."""
    (first, second), batch, _ = workers(2, 10.0, monkeypatch)
    batch()
    first.is_asked, saved = True, []
    with pytest.raises(EndedError):
        first.check(lambda: saved.append(1), True)

    def save():
        saved.append(2)
        raise tf.errors.UnavailableError(None, None, "Collective ops is aborted")

    with pytest.raises(WorkerLostError, match=r"has received SIGTERM.* Restart all workers"):
        second.check(save, True)
    assert saved == [1, 2]
