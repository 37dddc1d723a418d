"""Callbacks for stopping, logging and evaluating that Keras and this package do not have."""

import contextlib
import itertools
import pathlib
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import keras

import keras_lars
from benchmarks import run_folder


def updates_of(model: keras.Model) -> int:
    """The number of updates made so far."""
    return int(keras.ops.convert_to_numpy(model.optimizer.iterations))


class _Received(KeyboardInterrupt):
    """A signal has arrived, and no update is being made."""


class Stop(keras.callbacks.Callback):
    """Stops on SIGTERM, SIGINT or SIGHUP, and saves a backup. Put it last.

    A scheduler sends SIGTERM some time before it kills a process. Ctrl-C sends SIGINT, and a
    terminal that closes SIGHUP. A signal that is ignored, as under `nohup`, stays so. The current
    update is finished. All else is stopped at once, because a validation may take longer than a
    scheduler waits. It is repeated when the run resumes. A second Ctrl-C has its usual effect, and
    other signals that are repeated have none, because a scheduler may send two before it kills.
    Several workers cannot save here, because a signal reaches them at different updates, so their
    `backup` is None. `BackupAndRestore` itself saves when one of them receives SIGTERM.
    """

    def __init__(self, backup: keras_lars.callbacks.BackupAndRestore | None):
        super().__init__()
        self.backup = backup
        self.has_begun = False  # whether the callbacks before this one let the training begin
        self._is_between_updates = False
        self._received: int | None = None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handles the signals in the block. A no-op outside the main thread, as Python requires."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[int, Any] = {}

        def receive(number: int, frame: Any) -> None:
            if number == signal.SIGINT:
                signal.signal(number, before[number])
            if self._received is None:
                self._received = number
                self._stop_if_asked()

        hang_up = getattr(signal, "SIGHUP", signal.SIGTERM)  # Windows has none
        for number in {signal.SIGTERM, signal.SIGINT, hang_up}:
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, receive)
        try:
            yield
        except _Received as error:
            name = signal.Signals(error.args[0]).name
            is_saved = self.backup is not None and self.backup.save()
            saved = "saved" if is_saved else "to be continued from the last backup"
            message = f"interrupted by {name} after update {updates_of(self.model)}, {saved}"
            raise KeyboardInterrupt(message) from None
        finally:
            for received, handler in before.items():
                signal.signal(received, handler)

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.has_begun = True

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self._is_between_updates = False

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._is_between_updates = True
        self._stop_if_asked()

    def on_test_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._stop_if_asked()  # in case Python could not raise when the signal arrived

    def _stop_if_asked(self) -> None:
        if self._received is None or not self._is_between_updates:
            return
        if not self.model.stop_training:  # it has diverged
            raise _Received(self._received)


class StopAtDivergence(keras.callbacks.TerminateOnNaN):
    """Stops a training run when its loss is no longer finite, and records the update."""

    update: int | None = None  # the first whose loss was not finite, counted from 1

    def on_batch_end(self, batch: int, logs: dict | None = None) -> None:
        super().on_batch_end(batch, logs)
        if self.model.stop_training and self.update is None:
            self.update = updates_of(self.model)


class Measure(keras.callbacks.Callback):
    """Logs the learning rate of the last update of each epoch, and evaluates training images.

    The images, if there are any, are evaluated like held-out images after some epochs, which are
    counted from 1.
    """

    def __init__(self, schedule: Any, batches: Any, epochs: list[int]):
        super().__init__()
        self.schedule, self.batches, self.epochs = schedule, batches, epochs

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        logs["learning_rate"] = float(self.schedule(self.model.optimizer.iterations - 1))
        if self.batches is not None and epoch + 1 in self.epochs:
            found = self.model.evaluate(self.batches, verbose=0, return_dict=True)
            logs.update(train_loss=found["loss"], train_accuracy=found["accuracy"])


class History(keras.callbacks.Callback):
    """Writes a CSV file with one row per epoch, where values that were not evaluated are blank.

    If it cannot be written, as on a full disk, a warning is given. The next epoch tries again, and
    the end of the training raises.

    `start` is the epoch at which the run resumes. Earlier rows of the file are kept, with all their
    columns. Later ones were written after the backup, and are written again.
    """

    def __init__(self, path: pathlib.Path, start: int, has_training_columns: bool):
        super().__init__()
        self.path = path
        names = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"]
        if has_training_columns:
            names += ["train_loss", "train_accuracy"]
        found = {row.get("epoch"): row for row in run_folder.read_table(path)}
        self.rows = [found.get(epoch, {"epoch": epoch}) for epoch in range(start)]
        self.names = list(dict.fromkeys(itertools.chain(names, *self.rows)))

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        found = {name: logs[name] for name in self.names if name in logs}
        self.rows.append({"epoch": epoch, **found})
        try:
            run_folder.write_table(self.path, self.names, self.rows)
        except OSError as error:
            warnings.warn(
                f"The history of epoch {epoch + 1} could not be written ({error}), and training "
                "continues.",
                stacklevel=2,
            )

    def on_train_end(self, logs: dict | None = None) -> None:
        run_folder.write_table(self.path, self.names, self.rows)
