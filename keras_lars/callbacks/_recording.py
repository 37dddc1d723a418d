"""What the monitors share: which updates are recorded, by which worker, and where to."""

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar, get_args

import keras

from keras_lars import _arguments, _chief, _fit_checks
from keras_lars._monitoring import record
from keras_lars._monitoring.record import Kind
from keras_lars._monitoring.recorder import Recorder
from keras_lars._types import Format
from keras_lars.optimizer import LARS

_FORMATS = get_args(Format)
R = TypeVar("R", bound=record.AnyRow)


class RecordingCallback(keras.callbacks.Callback, Generic[R]):
    """Writes what the optimizer keeps of some of its updates, on the chief only.

    A subclass sets `_kind` and `_argument`, and implements `_measured` and `_rows`. An existing
    record is continued from the update at which a `fit` begins.
    """

    _kind: Kind[R]
    _argument: str  # the argument of `LARS` that makes it keep anything

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        update_freq: Literal["epoch"] | int,
        formats: "Format | Sequence[Format]",
        verbose: bool,
    ):
        super().__init__()
        self.log_dir = _arguments.folder("log_dir", log_dir)
        self.update_freq = update_freq
        self.formats = _checked_formats(formats)
        self.verbose = _arguments.one_of(False, True)("verbose", verbose)
        writers = [record.writer(name, self.log_dir, self._kind) for name in self.formats]
        self._recorder = Recorder(self._kind.monitor, writers)
        self._has_begun = False  # whether this `fit` has a record
        self._is_chief = True
        self._epoch, self._is_in_epoch = 0, False
        self._batches = 0  # of this epoch so far
        self._update = 0  # the last known one
        self._batches_to_wait = 0  # before the next record can be due

    def _measured(self, optimizer: LARS) -> Mapping[str | int, Any]:
        """What the optimizer keeps of the last update. Empty if there was none."""
        raise NotImplementedError

    def _rows(
        self, optimizer: LARS, measured: Mapping[str | int, Any], update: int, epoch: float
    ) -> list[R]:
        raise NotImplementedError

    def _lars(self) -> LARS:
        """The optimizer that records, even if it is wrapped for loss scaling."""
        optimizer = getattr(self.model, "optimizer", None)
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        if not isinstance(inner, LARS):
            raise ValueError(
                "The optimizer of the model must be `keras_lars.LARS` or a `LossScaleOptimizer` "
                f"around it for `{self._kind.monitor}`. Received: {type(inner).__name__}"
            )
        if not getattr(inner, self._argument):
            raise ValueError(
                f"`{self._kind.monitor}` needs `LARS({self._argument}=True)`. "
                f"Received: {self._argument}=False"
            )
        return inner

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Check the optimizer and the folder before anything is trained."""
        self._lars()
        self._is_chief = _chief.is_chief(self.model)
        self._has_begun, self._batches_to_wait = False, 0
        if self._is_chief:
            self._recorder.check()
            self._check_folder()

    def _check_folder(self) -> None:
        """Raise ValueError if the folder cannot be written to, before an epoch was trained."""
        try:
            self.log_dir.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.log_dir) as file:
                file.write(bytes(1))
        except OSError as error:
            raise ValueError(
                "`log_dir` must be a folder that can be written to. Received: "
                f"log_dir={str(self.log_dir)!r} ({error.strerror or error})"
            ) from error

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Read the number of updates, because other callbacks may have restored the optimizer."""
        self._epoch, self._batches, self._is_in_epoch = epoch, 0, True
        _fit_checks.at_epoch_begin(self, epoch)
        if self._is_chief:
            self._update = updates_of(self._lars())

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Record if due."""
        # Not `batch`: the version of Keras decides if it is the first or last of an execution.
        self._batches += self.model.steps_per_execution
        self._batches_to_wait -= self.model.steps_per_execution
        # On JAX, reading anything from the model synchronizes its whole state.
        if self._is_chief and isinstance(self.update_freq, int) and self._batches_to_wait <= 0:
            self._record_if_due(self.update_freq)
        # Before `BackupAndRestore` may end the run.
        if self._batches >= ((self.params or {}).get("steps") or math.inf):
            self._record_epoch()

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Record if `update_freq` is "epoch": the validation of the epoch may be interrupted.

        The last batch is not known as such if the data are of unknown length.
        """
        if self._is_in_epoch:
            self._record_epoch()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Record if `update_freq` is "epoch"."""
        self._record_epoch()
        self._is_in_epoch = False
        if self._is_chief:
            self._recorder.end_epoch(updates_of(self._lars()))

    def _record_epoch(self) -> None:
        if not self._is_chief or self.update_freq != "epoch":
            return
        optimizer = self._lars()
        before, self._update = self._update, updates_of(optimizer)
        if self._update != before:
            self._record(optimizer, self._update, self._epoch + 1.0)

    def _record_if_due(self, every: int) -> None:
        optimizer = self._lars()
        before, self._update = self._update, updates_of(optimizer)
        # An execution of several steps may pass the update that is due. Its last one is recorded.
        if _due_until(self._update, every) > _due_until(before, every):
            steps = (self.params or {}).get("steps")
            epoch = float(self._epoch)
            if steps:
                # The last execution of an epoch may have fewer steps.
                epoch = (self._epoch * steps + min(self._batches, steps)) / steps
            self._record(optimizer, self._update, epoch)
        next_update = _due_until(self._update, every) * every + 1
        micro_batches = int(keras.ops.convert_to_numpy(optimizer._micro_batches))
        until_then = optimizer._accumulation.micro_batches(next_update)
        self._batches_to_wait = until_then - micro_batches

    def _record(self, optimizer: LARS, update: int, epoch: float) -> None:
        measured = self._measured(optimizer)
        if not measured:  # restored, but not updated since
            return
        if not self._has_begun:
            self._begin(optimizer, update)
            self._has_begun = True
        rows = self._rows(optimizer, measured, update, epoch)
        self._recorder.add(update, rows)
        self._look_at(optimizer, rows)

    def _begin(self, optimizer: LARS, update: int) -> None:
        """Prepare the first record of a `fit`. A subclass may override this."""

    def _look_at(self, optimizer: LARS, rows: list[R]) -> None:
        """Inspect the rows of a record. A subclass may override this."""


def _due_until(update: int, every: int) -> int:
    """How many of the updates up to this one are recorded."""
    return (update - 1) // every + 1


def updates_of(optimizer: LARS) -> int:
    """The number of updates so far."""
    return int(keras.ops.convert_to_numpy(optimizer.iterations))


def checked_update_freq(value: object, or_epoch: bool) -> Any:
    """Check for an integer, or, with `or_epoch`, "epoch"."""
    if or_epoch and isinstance(value, str) and value == "epoch":
        return value
    try:
        return int(_arguments.integer(minimum=1)("update_freq", value))
    except ValueError:
        if not or_epoch:
            raise
        rule = f"'epoch', or an integer from 1 to {_arguments.LARGEST_INTEGER}"
        raise _arguments.refusal("update_freq", rule, value) from None


def _checked_formats(value: object) -> list[str]:
    formats = [value] if isinstance(value, str) else value
    if isinstance(formats, list | tuple) and all(isinstance(each, str) for each in formats):
        known = {*formats} & {*_FORMATS}
        if formats and len(known) == len(formats):  # a repeated format would write each row twice
            return [*formats]
    rule = f"one of {', '.join(map(repr, _FORMATS))}, or a list of them without repetition"
    raise _arguments.refusal("formats", rule, value)
