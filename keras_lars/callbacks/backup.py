"""`BackupAndRestore`: an interrupted training run ends as if it had not been interrupted."""

import functools
import os
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import keras

from keras_lars import _arguments
from keras_lars._words import counted
from keras_lars.callbacks import _backup_arguments
from keras_lars.callbacks._backup_folder import BackupFolder, TakenError

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_lars.callbacks._backup_session import Session


class BackupAndRestore(keras.callbacks.Callback):
    """Backs up training, and lets the next `fit` continue where the last one was interrupted.

    Use it in every long training run. Run the same script again after an interruption. The weights
    end as they would have without it, bit for bit, even in the middle of an epoch, with dropout,
    with shuffled data, under `MirroredStrategy` and under `MultiWorkerMirroredStrategy`.

    A backup is one file with the weights, the optimizer's state (velocities, averages,
    accumulators, loss scale), seed generators, metrics, and the epoch and batch. It is written
    under a temporary name, read back and then renamed, so the last backup stays until the new one
    is complete. Values that differ between replicas (accumulators, moving statistics) are saved for
    each replica. Only the chief worker writes. All workers read, so all need access to the folder.
    Optimizers that a model keeps itself, as in a GAN, are saved too. Build them before `fit`.

    Schedulers send SIGTERM before they kill a process. During `fit` the signal takes effect only
    after the current batch and a backup. All workers save after the same batch, within seconds,
    even if only one of them receives the signal; the others then raise `WorkerLostError`. In a
    single process, your own signal handler takes precedence: end `fit` there, and call `save`.

    A folder belongs to one training run. The process that trains there holds a lock, `backup.lock`,
    until it ends, and no other process can start. Some shared file systems have no locks. There a
    run that finds the backup of another run stops and leaves the backup alone. If a save fails
    (disk full, folder gone), a warning is given, and training continues.

    A backup can be restored only by the same model and optimizer: class, momentum form, and the
    names and shapes of all variables. If you have changed a constant learning rate or a schedule
    since training began, the new one is used, and a warning says so.

    The order of the data must be a function of the epoch. An interrupted epoch is read again, and
    the batches already seen are skipped. `epochs` makes such data, and so does
    `fit(x, y, shuffle=False)` with arrays. The order in which `fit(x, y)` or `Dataset.shuffle`
    shuffles depends on how often the process has iterated over the data, and differs after a
    restart. A warning says so if `fit` shuffles, or if the number of batches has changed.

    The state of other callbacks, the history of past epochs and Keras's global seed generator are
    not saved. Layers without a seed generator of their own draw from the global one. Put monitors,
    and what changes the model or the optimizer, before this callback. They see the skipped batches.
    But put `SwapEMAWeights(swap_on_epoch=True)` after it, or a restart breaks it.

    ```python
    if backup exists:                        # when `fit` begins
        restore everything, epoch, batch
        skip the first `batch` batches of epoch `epoch`
    write everything, epoch, batch           # every `save_freq`, and at SIGTERM, before the end
    write everything, "finished"             # when `fit` ends by itself
    ```

    Args:
        backup_dir: String or path of a folder for this run alone. It is created if missing.
        save_freq: `"epoch"`, or the number of batches after which to save. Defaults to `"epoch"`.
        delete_checkpoint: When to delete the backup of a `fit` that was not interrupted.
            `"next_fit"`: when this process starts the next `fit` in this folder. So nothing is lost
            if the process ends before the model is saved: a new process restores the end and trains
            nothing, or continues if there are more `epochs` now. `True`: at once. `False`: never; a
            `fit` with more epochs continues. Defaults to `"next_fit"`.
        max_failed_saves: Integer, the number of consecutive saves that may fail with a warning. One
            more ends training with an `OSError`. `None` means any number. Defaults to `None`.
        allow_other_replicas: Boolean. Whether to restore the backup of a different number of
            replicas too, from its last whole epoch. Weights, velocities, averages and iteration are
            the same, accumulators keep their sum, and moving statistics are averaged. A warning
            says that the weights will not be, bit for bit, those of an uninterrupted run. With
            several replicas, or with this argument, an integer `save_freq` also saves whole epochs.
            Defaults to `False`.

    Attributes:
        epoch: Integer, the epoch from which the backup in the folder continues; 0 without a backup.
        batch: Integer, the number of its batches that are done.

    Raises:
        ValueError: If an argument is invalid or the backend is not TensorFlow; when `fit` begins,
            if the model or an optimizer of its own is not built, if the folder is not writable or
            another process trains in it, if the backup is damaged, is of another model, optimizer,
            number of replicas or `steps_per_execution`, or is not visible to every worker; if the
            data of `epochs` do not begin where `fit` does, or if an epoch has become too short.
        RuntimeError: If another training run has written into the folder in the meantime.

    Example:

    >>> x, y = np.ones((8, 2)), np.ones((8, 1))
    >>> def train(epochs):
    ...     keras.utils.set_random_seed(0)
    ...     model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    ...     model.compile(keras_lars.LARS(), "mse")
    ...     backup = keras_lars.callbacks.BackupAndRestore(folder, delete_checkpoint=False)
    ...     model.fit(x, y, epochs=epochs, callbacks=[backup], verbose=0)
    ...     return int(model.optimizer.iterations)
    >>> train(epochs=2), train(epochs=3)  # the second call continues from epoch 2
    (2, 3)

    Reference:
        - `keras.callbacks.BackupAndRestore`, which has the first three arguments too. It saves
          no seed generators, and continues from the beginning of the epoch.
    """

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: Literal["epoch"] | int = "epoch",
        delete_checkpoint: bool | Literal["next_fit"] = "next_fit",
        max_failed_saves: int | None = None,
        allow_other_replicas: bool = False,
    ):
        super().__init__()
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                "`BackupAndRestore` needs the TensorFlow backend. "
                f"Received: {keras.backend.backend()}"
            )
        self.backup_dir = _arguments.folder("backup_dir", backup_dir)
        self.save_freq = _backup_arguments.save_freq(save_freq)
        self.delete_checkpoint = _backup_arguments.delete_checkpoint(delete_checkpoint)
        self.max_failed_saves = _backup_arguments.max_failed_saves(max_failed_saves)
        self.allow_other_replicas = _backup_arguments.allow_other_replicas(allow_other_replicas)
        self._folder = BackupFolder(self.backup_dir)
        self._read_position()
        self._session: Session | None = None  # of a `fit`
        self._at_epoch = self._at_batch = 0  # the present position, past that of the backup
        self._data_epoch: int | None = None  # with which the data of `epochs` begin
        self._data_batches: int | None = None  # in each of their epochs; negative if unknown
        self._is_first_epoch = True  # of this `fit`
        self._has_trained = False  # in this `fit`
        self._skipping = 0  # batches at the beginning of this epoch
        self._since_saving = 0  # batches

    def epochs(self, make_epoch: "Callable[[tf.Tensor], tf.data.Dataset]") -> "tf.data.Dataset":
        """Endless data of all epochs, beginning with the epoch from which the backup continues.

        Use it with `steps_per_epoch` in `fit`, and create it again for every `fit`.

        Args:
            make_epoch: Function of the epoch, an int64 tensor of shape (). It returns the batches
                of that epoch: `steps_per_epoch` of them, and the same ones every time it is called.

        Example:

        >>> backup = keras_lars.callbacks.BackupAndRestore(folder)
        >>> def shuffled(epoch):
        ...     images = tf.range(100)
        ...     images = tf.random.experimental.stateless_shuffle(images, seed=[0, epoch])
        ...     return tf.data.Dataset.from_tensor_slices(images).batch(50)
        >>> first_epoch = [batch.numpy() for batch in backup.epochs(shuffled).take(2)]
        >>> sorted(np.concatenate(first_epoch)) == list(range(100))
        True
        """
        import tensorflow as tf

        self._read_position()
        self._data_epoch = self.epoch
        batches = make_epoch(tf.constant(self.epoch, tf.int64)).cardinality()
        self._data_batches = int(batches)
        return tf.data.Dataset.range(self.epoch, tf.int64.max).flat_map(make_epoch)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Restore the backup, if there is one."""
        from keras_lars.callbacks._backup_session import Session

        if not self.model.built:
            raise ValueError(
                "`BackupAndRestore` needs a model that is built before `fit`: give it an input "
                f"shape, or call it on a batch. Received: {self.model!r}"
            )
        self._forget_start()  # of a `fit` that was interrupted
        steps, execution = self.params["steps"], self.model.steps_per_execution
        _backup_arguments.check_steps(steps, execution, self._data_batches)
        self._since_saving = 0
        self._is_first_epoch, self._has_trained = True, False
        self._session = Session(self.model, self._folder, self.max_failed_saves, steps)
        try:
            self._begin(self._session)
        except BaseException:
            self._session.end(is_over=False)
            raise
        self._session.termination.begin(self.model)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Count batches from here."""
        from keras_lars._keras import trainer

        trainer.start_at(self.model, None)  # the next `fit` must not start here
        if self._is_first_epoch and self._data_epoch not in (None, epoch):
            raise ValueError(
                "The data of `epochs` must be created again for every `fit`, and `initial_epoch` "
                f"must be 0. Received: data from epoch {self._data_epoch} on, in a training run "
                f"that begins with epoch {epoch}"
            )
        assert self._session is not None
        self._session.metrics = None
        self._is_first_epoch = False
        self._at_epoch, self._at_batch = epoch, 0

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Save if it is time."""
        # Not `batch`: the version of Keras decides if it is the first or last of an execution.
        self._at_batch += self.model.steps_per_execution
        if self._at_batch > self._skipping:
            self._has_trained = True
            self._since_saving += self.model.steps_per_execution
            if self.save_freq != "epoch" and self._since_saving >= self.save_freq:
                self._save()
        assert self._session is not None
        self._session.termination.check(self._save_rest, self._at_batch > self._skipping)

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Keep the metrics of the epoch, because its validation resets them."""
        if self._session is not None:
            self._session.keep_metrics()

    def on_test_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Save if the process is asked to end."""
        if self._session is not None:
            self._session.check_in_validation(self._save_rest)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Save if it is time."""
        if self._at_batch < self._skipping and not self.model.stop_training:
            raise ValueError(
                "An epoch must have at least the "
                f"{counted(self._skipping, 'batch', 'batches')} after which the backup was taken. "
                f"Received: {counted(self._at_batch, 'batch', 'batches')}"
            )
        self._at_epoch, self._at_batch, self._skipping = epoch + 1, 0, 0
        epochs = self.params["epochs"]
        if self.save_freq == "epoch":
            self._save()
        elif self._keeps_epoch or (not self.delete_checkpoint and epoch + 1 == epochs):
            since_saving = self._since_saving
            self._save()
            self._since_saving = since_saving  # so that other saves are not delayed

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Mark the backup of a finished training run, or delete it."""
        assert self._session is not None
        self._forget_start()
        is_over = bool(self.delete_checkpoint)
        try:
            if self.delete_checkpoint == "next_fit":
                restored, epochs = self._session.restored, self.params["epochs"]
                is_marked = restored is not None and restored.finished_epochs > 0
                is_at_end = (self._at_epoch, self._at_batch) == (epochs, 0)
                # Otherwise it is of a longer run, and this `fit` had nothing left to do.
                is_over = self._has_trained or is_marked or (restored is not None and is_at_end)
                if is_over and (self._has_trained or not is_marked):
                    self._save(epochs)
            elif self.delete_checkpoint:
                self._session.delete()
        except TakenError as error:  # training is done, so the user can save the model
            warnings.warn(str(error), stacklevel=2)
        if is_over:
            self.epoch = self.batch = 0  # where the next `fit` of this process begins
        self._session.end(is_over)

    def save(self) -> bool:
        """Saves now, regardless of `save_freq`.

        Use it in the `on_train_batch_end` of a callback that comes after this one; several workers
        must all call it after the same batch. It may also be used in `on_test_batch_end`, or after
        an exception between batches has ended `fit`. The next `fit` then repeats the validation
        that was interrupted. But do not use it while `SwapEMAWeights` has swapped the weights.

        Returns:
            Boolean, whether the backup is of this batch. It is not if the write failed, or while
            batches are skipped.
        """
        if self._at_batch > self._skipping or not self._skipping:
            return self._save()
        return self._at_batch == self._skipping

    def _begin(self, session: "Session") -> None:
        from keras_lars._keras import trainer

        header = session.find(self.allow_other_replicas)
        self.epoch, self.batch = header.position[:2] if header else (0, 0)
        self._at_epoch, self._at_batch = self.epoch, self.batch
        if header is None:
            return
        executions, rest = divmod(self.batch, self.model.steps_per_execution)
        if rest:
            raise ValueError(
                "`steps_per_execution` must divide the "
                f"{counted(self.batch, 'batch', 'batches')} after which the backup was taken. "
                f"Received: {self.model.steps_per_execution}"
            )
        session.build_optimizer()
        session.restore("shared", "replica", "record")
        if 0 < self.params["epochs"] <= header.finished_epochs:
            warnings.warn(
                f"The training in '{self.backup_dir}' is finished, after "
                f"{counted(header.finished_epochs, 'epoch')}. Its final state is restored, and "
                "nothing is trained. To train again, delete the folder or choose another one.",
                stacklevel=2,
            )
            trainer.start_at(self.model, self.params["epochs"])
            return
        trainer.start_at(self.model, self.epoch)
        if executions:
            self._skipping = self.batch
            restore = functools.partial(session.restore, "metric")
            trainer.skip_executions(self.model, executions, restore)

    @property
    def _keeps_epoch(self) -> bool:
        """Whether whole epochs are kept, from which another number of replicas can continue."""
        replicas = self.model.distribute_strategy.num_replicas_in_sync
        return self.allow_other_replicas or replicas > 1 or self.save_freq == "epoch"

    def _read_position(self) -> None:
        header = self._folder.header()
        self.epoch, self.batch = header.position[:2] if header else (0, 0)

    def _forget_start(self) -> None:
        """Remove from the model what would make the next `fit` start midway."""
        from keras_lars._keras import trainer

        trainer.start_at(self.model, None)
        trainer.stop_skipping(self.model)
        self._skipping = 0

    def _save_rest(self) -> None:
        if self._since_saving:
            self._save()

    def _save(self, finished_epochs: int = 0) -> bool:
        assert self._session is not None
        self._since_saving = 0
        position = self._at_epoch, self._at_batch
        is_saved = self._session.save(*position, self._keeps_epoch, finished_epochs)
        if is_saved:
            self.epoch, self.batch = position
        return is_saved
