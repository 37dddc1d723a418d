"""The backups of one `fit`, which all of its workers read and write together."""

import warnings
from collections.abc import Callable

import keras
import numpy as np

from keras_lars import _replicas
from keras_lars._keras import fitted_model
from keras_lars._words import counted, shortened
from keras_lars.callbacks import _backup_file, _backup_state
from keras_lars.callbacks._backup_folder import BackupFolder, TakenError
from keras_lars.callbacks._backup_header import Header, Position
from keras_lars.callbacks._termination import Termination

_OF_OTHERS, _SAVED, _FAILED, _TAKEN = range(4)  # the outcome of a save, as the chief tells it


class Session:
    """Restores the backup with which `fit` begins, and saves those for the next one."""

    def __init__(
        self,
        model: keras.Model,
        folder: BackupFolder,
        max_failed_saves: int | None,
        batches: int | None,  # in an epoch, if known
    ):
        self.restored: Header | None = None  # of the backup that was restored
        self.metrics: list[np.ndarray] | None = None  # of an epoch whose validation has begun
        self._batches = int(batches) if batches else None  # it may be a number of NumPy
        self._model, self._folder = model, folder
        self._strategy = model.distribute_strategy
        is_shared = len(_replicas.workers(self._strategy)) > 1
        self.termination = Termination(self._all if is_shared else None)
        self._is_chief = _replicas.is_chief(self._strategy)
        self._max_failed_saves = max_failed_saves
        self._failed_saves = 0  # in a row
        self._last = Position()  # read or written
        _backup_state.check_built(model)
        self._optimizer = _backup_state.updating_optimizer(model)
        self._rate = _backup_state.constant_rate(self._optimizer)
        self._rate_is_kept = False
        self._schedule = _backup_state.schedule(self._optimizer)
        self._first_rate: float | None = None  # with which training began
        if self._rate is not None:
            self._first_rate = float(_replicas.read(self._rate.value, self._strategy))

    @property
    def _replicas(self) -> int:
        return self._strategy.num_replicas_in_sync

    # Restoring.

    def find(self, allow_other_replicas: bool) -> Header | None:
        """The header of the backup to restore, or None. Nothing is restored yet."""
        header = self._header_of_all()
        if header is None:
            return None
        self._last = header.position
        if header.replicas != self._replicas:
            if not allow_other_replicas:
                raise ValueError(
                    f"The backup `{self._folder.file}` must be restored by as many replicas as "
                    f"wrote it ({header.replicas}), unless `allow_other_replicas=True`. "
                    f"Received: {counted(self._replicas, 'replica')}"
                )
            header = self._for_other_replicas(header)
        if header is not None and header.position.batch:
            self._warn_of_other_batches(header)
        self.restored = header
        return header

    def _warn_of_other_batches(self, header: Header) -> None:
        """Warn if the batches that are skipped are not those that were trained on."""
        before, now = header.batches, self._batches
        if before and now and before != now:
            reason = f"That epoch had {before} batches, and those of this `fit` have {now}"
            remedy = "use the `batch_size` and data of before"
        elif fitted_model.is_shuffling(self._model):
            reason = "`fit` shuffles the data, in an order that depends on its previous epochs"
            remedy = "use data of `BackupAndRestore.epochs`, or pass `shuffle=False`"
        else:
            return
        self._warn(
            f"The training in '{self._folder.path}' was backed up {header.position.described()}. "
            f"{reason}, so some samples are repeated or left out in this epoch. To continue "
            f"exactly, {remedy}."
        )

    def _header_of_all(self) -> Header | None:
        header = error = None
        try:
            if self._is_chief:
                self._folder.begin()
            header = self._folder.header()
        except ValueError as caught:
            error = caught
            self._folder.end()
        position = header.position if header else Position()
        rows = self._all(int(error is None), *position)
        if error is not None:
            raise error
        if not all(is_good for is_good, *_ in rows):
            raise ValueError(
                "`backup_dir` must be a folder that all workers can use. Received: "
                f"{self._folder.path}, which another worker cannot use: see its error"
            )
        if any(tuple(other) != position for _, *other in rows):
            positions = [tuple(other) for _, *other in rows]
            self._folder.end()
            raise ValueError(
                f"`backup_dir` must be a folder that all workers share. Received: "
                f"{self._folder.path}, where workers find different backups, at (epoch, batch, "
                f"identity) {positions}"
            )
        return header

    def _for_other_replicas(self, header: Header) -> Header | None:
        """The header of the last whole epoch, or None to start from the beginning."""
        epoch, batch, _ = header.position
        whole = self._folder.whole_epoch(header) if epoch or not batch else None
        if epoch and whole is None:
            raise ValueError(
                "Only a backup of a whole epoch can be restored by a number of replicas other than "
                f"the {header.replicas} that wrote it: first continue with that many, with "
                "`allow_other_replicas=True`, past the end of an epoch. Received: "
                f"`{self._folder.file}`, {header.position.described()}, without a backup of a "
                "whole epoch beside it"
            )
        if self._is_chief:
            start = f"end of epoch {epoch}" if epoch else "beginning"
            warnings.warn(
                f"The training in '{self._folder.path}' was backed up by "
                f"{counted(header.replicas, 'replica')}, and continues with {self._replicas} from "
                f"the {start}. Accumulated gradients keep their sum, and moving statistics are "
                "averaged over replicas. The weights will not be, bit for bit, those of an "
                "uninterrupted run.",
                stacklevel=2,
            )
        return whole

    def build_optimizer(self) -> None:
        """Build the optimizer of `compile`, unless it was not built when the backup was taken.

        A model that keeps its optimizers itself, such as a GAN, may have one that is never used.
        """
        optimizer, header = self._model.optimizer, self.restored
        assert header is not None
        if optimizer is None or optimizer.built:
            return
        unbuilt = len(_backup_state.variables_of(self._model)["shared"])
        if header.names is None or len(header.names.get("shared", [])) != unbuilt:
            optimizer.build(self._model.trainable_variables)

    def restore(self, *kinds: str) -> None:
        """Assign the backup's values to the variables of these kinds: to all of them, or to none.

        A "record" is left out if the backup has none, or one of a different number of replicas.
        """
        header = self.restored
        assert header is not None
        self._check_optimizer(header)
        variables = _backup_state.variables_of(self._model)
        if "record" not in (header.names or ()) or header.replicas != self._replicas:
            variables.pop("record", None)
        expected = {
            kind: _backup_state.specs(
                variables[kind], None if kind == "shared" else header.replicas
            )
            for kind in kinds
            if kind in variables
        }
        arrays = self._folder.read(header, expected)
        if header.replicas != self._replicas and "replica" in arrays:
            arrays["replica"] = [
                _backup_state.for_replicas(each.value, rows, self._replicas)
                for each, rows in zip(variables["replica"], arrays["replica"])
            ]
        if "shared" in kinds:
            self._choose_rate(header, variables["shared"], arrays["shared"])
            if self._schedule and header.schedule and self._schedule != header.schedule:
                self._warn(
                    f"The learning-rate schedule is {shortened(self._schedule)}, as set for this "
                    f"run. The training in '{self._folder.path}' was backed up with "
                    f"{shortened(header.schedule)}."
                )
        kept = [self._rate] if self._rate is not None and self._rate_is_kept else []
        _backup_state.write(variables, arrays, self._strategy, kept)

    def _check_optimizer(self, header: Header) -> None:
        name = _backup_state.name_of_optimizers(self._model)
        if header.optimizer != name:
            raise ValueError(
                f"The backup `{self._folder.file}` is of another optimizer, {header.optimizer}. "
                f"Received: {name}"
            )
        state = _backup_state.state_of_optimizer(self._optimizer)
        if header.version > 1 and header.state != state:
            raise ValueError(
                f"The backup `{self._folder.file}` is of an optimizer with another kind of "
                f"state, {header.state}. Received: {state}"
            )

    def _choose_rate(
        self, header: Header, variables: list[_backup_state.Saved], arrays: list[np.ndarray]
    ) -> None:
        """Keep a constant learning rate that was changed for this run, and say so."""
        places = [i for i, each in enumerate(variables) if each.variable is self._rate]
        if self._rate is None or self._first_rate is None or not places:
            return
        saved, now = float(arrays[places[0]]), self._first_rate
        if header.version > 1 and now in (saved, header.learning_rate):
            self._first_rate = header.learning_rate  # it is the same training
        elif now == saved:
            return
        elif header.version == 1:
            self._warn(
                f"The learning rate is {saved}, as in the backup of version 0.1.0 in "
                f"'{self._folder.path}', not {now}: a callback may have changed it. To use "
                "another rate, set it in `on_train_begin` of a callback after this one."
            )
        else:
            self._rate_is_kept = True
            self._warn(
                f"The learning rate is {now}, as set for this run. The training in "
                f"'{self._folder.path}' began with {header.learning_rate}, and was backed up with "
                f"{saved}."
            )

    def _warn(self, message: str) -> None:
        if self._is_chief:
            warnings.warn(message, stacklevel=2)

    # Saving.

    def keep_metrics(self) -> None:
        """Save the present metrics until `metrics` is reset. All workers must call it together."""
        metrics = [variable.value for variable in self._model.metrics_variables]
        self.metrics = _replicas.read_all(metrics, self._strategy)

    def check_in_validation(self, save: Callable[[], None]) -> None:
        """Save and end if the process is asked to, unless weights may be swapped."""
        if self.termination.is_asked and not fitted_model.swaps_weights(self._model):
            self.termination.check(save, is_training=False)

    def save(self, epoch: int, batch: int, keeps_epoch: bool, finished_epochs: int = 0) -> bool:
        """Write a backup, and return whether this succeeded: the same on all workers.

        Raises:
            OSError: If too many saves in a row have failed.
            TakenError: If another training run has written one in the meantime.
        """
        variables = _backup_state.variables_of(self._model)
        arrays = _backup_state.read(variables, self._strategy, self._is_chief)
        if self.metrics is not None:
            arrays["metric"] = self.metrics
        outcome, position = _OF_OTHERS, Position()
        error: OSError | TakenError | None = None
        if self._is_chief:
            position = Position(epoch, batch, _backup_file.new_identity())
            header = Header(
                position,
                self._replicas,
                _backup_state.name_of_optimizers(self._model),
                _backup_state.state_of_optimizer(self._optimizer),
                {kind: [each.name for each in found] for kind, found in variables.items()},
                self._first_rate,
                finished_epochs,
                schedule=self._schedule,
                batches=self._batches,
            )
            try:
                self._folder.write(header, arrays, keeps_epoch)
                outcome = _SAVED
            except TakenError as caught:
                outcome, error = _TAKEN, caught
            except OSError as caught:
                outcome, error = _FAILED, caught
        rows = self._all(outcome, *position)
        outcome, *last = max(rows)
        if outcome == _TAKEN:
            raise error or TakenError(
                f"The chief worker has found that another training run uses '{self._folder.path}'."
            )
        if outcome == _FAILED:
            self._count_failure(epoch, batch, error)
            return False
        self._failed_saves = 0
        self._last = Position(*last)
        return True

    def _count_failure(self, epoch: int, batch: int, error: Exception | None) -> None:
        self._failed_saves += 1
        reason = error or "see the chief worker"
        message = (
            f"The backup {Position(epoch, batch).described()} could not be written into "
            f"'{self._folder.path}' ({reason}). {self._folder.what_is_left()}"
        )
        if self._max_failed_saves is not None and self._failed_saves > self._max_failed_saves:
            raise OSError(
                f"{message}. {counted(self._failed_saves, 'save')} in a row failed"
            ) from error
        then = "the process ends" if self.termination.is_asked else "training continues"
        self._warn(f"{message}, and {then}.")

    # The end.

    def delete(self) -> None:
        """Delete the backup."""
        self._all(0)  # waits until no worker reads it any more
        if self._is_chief:
            self._folder.delete()

    def end(self, is_over: bool) -> None:
        """Unlock the folder. If training `is_over`, this process will not restore the backup.

        Then the folder is removed if it is empty.
        """
        self._folder.end(self._last if is_over else None)
        if self._is_chief and is_over:
            self._folder.remove()
        self.termination.end()

    def _all(self, *numbers: int) -> list[tuple[int, ...]]:
        """The numbers that each worker passes. All workers must call it together."""
        if len(_replicas.workers(self._strategy)) < 2:
            return [numbers]
        numbers += (0,) * (4 - len(numbers))  # always 4, because each length would be traced
        return _replicas.exchange(numbers, self._strategy)
