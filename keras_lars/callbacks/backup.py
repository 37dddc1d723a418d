"""`BackupAndRestore`: a training that was interrupted ends as if it had not been."""

import functools
import os
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import keras

from keras_lars._words import counted
from keras_lars.callbacks import _backup_file
from keras_lars.callbacks._backup_file import Backup, Position

if TYPE_CHECKING:
    import tensorflow as tf


class BackupAndRestore(keras.callbacks.Callback):
    """Backs up a training, and lets the next `fit` go on where the last one was interrupted.

    Use it in every long training: run the same script again, and the weights end as they would
    have without the interruption, bit for bit, also in mid-epoch, with dropout and with shuffled
    data, on one device, under `MirroredStrategy` and under `MultiWorkerMirroredStrategy`.

    A backup is one file that holds weights, the optimizer's state (velocities, averages,
    accumulators, loss scale), seed generators, metrics, and the epoch and batch. It is written
    under a temporary name and then renamed, so that a backup is whole or is not there. Values that
    differ between replicas (accumulators, moving statistics) are saved for each. Only the chief
    worker writes; all take part in reading, and so need to see the folder.

    The order of the data must be a function of the epoch: then an epoch that was interrupted is
    read again, and its first batches, already seen, are skipped. `epochs` makes such data. With
    arrays, `fit(x, y, shuffle=False)` is one as well; the shuffled order of `fit(x, y)`, and that
    of a `Dataset.shuffle` that is iterated once for each epoch, depend on how often the process
    went through them, and are new ones after a restart.

    What is not saved: the state of other callbacks, the history of past epochs, and Keras's global
    seed generator, which layers without a seed generator of their own draw from. Put callbacks that
    change the model or the optimizer before this one. They see the skipped batches.

    ```python
    if backup exists:                        # when `fit` begins
        restore everything, epoch, batch
        skip the first `batch` batches of epoch `epoch`
    write everything, epoch, batch           # every `save_freq`, all of it or nothing
    ```

    Args:
        backup_dir: String or path of a folder for this training alone; made if it is not there.
        save_freq: `"epoch"`, or an integer: the number of batches after which to save. Defaults to
            `"epoch"`.
        delete_checkpoint: Boolean. Delete the backup when `fit` ends by itself. Defaults to `True`.

    Attributes:
        epoch: Integer, the epoch that the backup in the folder goes on with; 0 without one.
        batch: Integer, the number of its batches that are done.

    Raises:
        ValueError: If an argument is not as above or the backend is not TensorFlow; when `fit`
            begins, if the model is not built, or if the backup is of another model, optimizer,
            number of replicas or `steps_per_execution`, or is not seen by every worker; if the data
            of `epochs` do not begin where `fit` does, or an epoch has become too short.

    Example:

    >>> x, y = np.ones((8, 2)), np.ones((8, 1))
    >>> def train(epochs):
    ...     keras.utils.set_random_seed(0)
    ...     model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    ...     model.compile(keras_lars.LARS(), "mse")
    ...     backup = keras_lars.callbacks.BackupAndRestore(folder, delete_checkpoint=False)
    ...     model.fit(x, y, epochs=epochs, callbacks=[backup], verbose=0)
    ...     return int(model.optimizer.iterations)
    >>> train(epochs=2), train(epochs=3)  # the second call goes on from epoch 2
    (2, 3)

    Reference:
        - `keras.callbacks.BackupAndRestore`, whose arguments these are. It saves no seed
          generators, and goes on from the beginning of the epoch.
    """

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: Literal["epoch"] | int = "epoch",
        delete_checkpoint: bool = True,
    ):
        super().__init__()
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                "`BackupAndRestore` needs the TensorFlow backend. "
                f"Received: {keras.backend.backend()}"
            )
        if not os.fspath(backup_dir):
            raise ValueError("`backup_dir` must name a folder. Received: backup_dir=''")
        is_integer = isinstance(save_freq, int) and not isinstance(save_freq, bool)
        if save_freq != "epoch" and not (is_integer and save_freq >= 1):
            raise ValueError(
                "`save_freq` must be 'epoch' or an integer of at least 1. "
                f"Received: save_freq={save_freq!r}"
            )
        self.backup_dir = pathlib.Path(backup_dir)
        if self.backup_dir.exists() and not self.backup_dir.is_dir():
            raise ValueError(
                "`backup_dir` must name a folder. Received a file: "
                f"backup_dir={str(self.backup_dir)!r}"
            )
        self.save_freq = save_freq
        self.delete_checkpoint = delete_checkpoint
        self._path = self.backup_dir / "backup.npz"
        self.epoch, self.batch, _ = _backup_file.read_position(self._path)
        self._at_epoch = self._at_batch = 0  # where the training is, past the backup
        self._data_epoch = None  # with which the data of `epochs` begin
        self._data_batches = None  # in each of their epochs; negative if that is not known
        self._is_first_epoch = True  # of this `fit`
        self._skipping = 0  # batches at the beginning of this epoch
        self._since_saving = 0  # batches

    def epochs(self, make_epoch: "Callable[[tf.Tensor], tf.data.Dataset]") -> "tf.data.Dataset":
        """The data of all epochs from the one that the backup goes on with, without an end.

        Give it to `fit` with `steps_per_epoch`, and make it anew for every `fit`.

        Args:
            make_epoch: Function of the epoch, an int64 tensor of shape (), that returns the
                batches of that epoch: `steps_per_epoch` of them, the same ones whenever it is
                called.

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

        self.epoch, self.batch, _ = _backup_file.read_position(self._path)
        self._data_epoch = self.epoch
        batches = make_epoch(tf.constant(self.epoch, tf.int64)).cardinality()
        self._data_batches = int(batches)
        return tf.data.Dataset.range(self.epoch, tf.int64.max).flat_map(make_epoch)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Restore the backup, if there is one."""
        from keras_lars._keras import trainer

        if not self.model.built:
            raise ValueError(
                "`BackupAndRestore` needs a model that is built before `fit`: give it an input "
                f"shape, or call it on a batch. Received: {self.model!r}"
            )
        self._forget_start()  # of a `fit` that was interrupted
        self._check_steps()
        self._since_saving = 0
        self._is_first_epoch = True
        position = self._position_of_all()
        self.epoch, self.batch, _ = position
        if position == Position():
            return
        executions, rest = divmod(self.batch, self.model.steps_per_execution)
        if rest:
            raise ValueError(
                "`steps_per_execution` must divide the "
                f"{counted(self.batch, 'batch', 'batches')} after which the backup was taken. "
                f"Received: {self.model.steps_per_execution}"
            )
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        self._restore("shared", "replica")
        trainer.start_at(self.model, self.epoch)
        if executions:
            self._skipping = self.batch
            restore = functools.partial(self._restore, "metric")
            trainer.skip_executions(self.model, executions, restore)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Count batches from here."""
        from keras_lars._keras import trainer

        trainer.start_at(self.model, None)  # `fit` has started: what comes next is another one's
        if self._is_first_epoch and self._data_epoch not in (None, epoch):
            raise ValueError(
                "The data of `epochs` must be made anew for every `fit`, and `initial_epoch` be 0. "
                f"Received: data from epoch {self._data_epoch} on, in a training that begins with "
                f"epoch {epoch}"
            )
        self._is_first_epoch = False
        self._at_epoch, self._at_batch = epoch, 0

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Save, if it is time."""
        # Not `batch`, which is the first or the last of an execution, by the version of Keras.
        self._at_batch += self.model.steps_per_execution
        if self._at_batch <= self._skipping:
            return
        self._since_saving += self.model.steps_per_execution
        if self.save_freq != "epoch" and self._since_saving >= self.save_freq:
            self._save()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Save, if it is time."""
        if self._at_batch < self._skipping and not self.model.stop_training:
            raise ValueError(
                "An epoch must have at least the "
                f"{counted(self._skipping, 'batch', 'batches')} after which the backup was taken. "
                f"Received: {counted(self._at_batch, 'batch', 'batches')}"
            )
        self._at_epoch, self._at_batch, self._skipping = epoch + 1, 0, 0
        if self.save_freq == "epoch":
            self._save()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Delete the backup of a training that is done."""
        from keras_lars import _replicas

        self._forget_start()
        if not self.delete_checkpoint:
            return
        self.epoch = self.batch = 0
        _replicas.exchange((0,), self._strategy)  # nobody is reading it any more
        if _replicas.is_chief(self._strategy):
            _backup_file.delete(self._path)
            if self.backup_dir.is_dir() and not any(self.backup_dir.iterdir()):
                self.backup_dir.rmdir()

    def save(self) -> None:
        """Save now, whatever `save_freq` says.

        Use it in the `on_train_batch_end` of a callback that comes after this one, when a scheduler
        is about to end the process. Under several workers all of them must call it after the same
        batch.
        """
        if self._at_batch > self._skipping or not self._skipping:
            self._save()

    def _check_steps(self) -> None:
        """Epochs of the data must be those of `fit`, or batches are skipped in the wrong ones."""
        steps, execution = self.params["steps"], self.model.steps_per_execution
        if self._data_batches is None:
            return
        if self._data_batches >= 0 and steps != self._data_batches:
            raise ValueError(
                "`steps_per_epoch` must be the number of batches of an epoch, of which "
                f"`make_epoch` returns {self._data_batches}. Received: steps_per_epoch={steps}"
            )
        if steps is None or steps % execution:
            raise ValueError(
                "`steps_per_epoch` must be given with the data of `epochs`, as a multiple of "
                f"`steps_per_execution`, which is {execution}. Received: steps_per_epoch={steps}"
            )

    @property
    def _strategy(self) -> "tf.distribute.Strategy":
        return self.model.distribute_strategy

    def _forget_start(self) -> None:
        """Let the next `fit` begin at the beginning, as far as it depends on the model."""
        from keras_lars._keras import trainer

        trainer.start_at(self.model, None)
        trainer.stop_skipping(self.model)
        self._skipping = 0

    def _optimizer_name(self) -> str:
        """Its class and those that it wraps: slots of another one may well have these shapes."""
        names, optimizer = [], self.model.optimizer
        while optimizer is not None:
            names.append(type(optimizer).__name__)
            optimizer = getattr(optimizer, "inner_optimizer", None)
        return " of ".join(names)

    def _variables(self) -> "dict[str, list[tf.Variable]]":
        """What is saved: with the same value on all replicas, or with one for each."""
        import tensorflow as tf

        trainable = {id(variable) for variable in self.model.trainable_variables}
        of_optimizer = {id(variable) for variable in self.model.optimizer.variables}
        variables = {"shared": [], "replica": []}
        for variable in [*self.model.variables, *self.model.optimizer.variables]:
            on_read = variable.value.synchronization == tf.VariableSynchronization.ON_READ
            is_shared = id(variable) in trainable | of_optimizer and not on_read
            variables["shared" if is_shared else "replica"].append(variable.value)
        variables["metric"] = [variable.value for variable in self.model.metrics_variables]
        return variables

    def _position_of_all(self) -> Position:
        from keras_lars import _replicas

        position = _backup_file.read_position(self._path)
        positions = _replicas.exchange(position, self._strategy)
        if any(other != position for other in positions):
            raise ValueError(
                f"`backup_dir` must be a folder that all workers share. Received: {self.backup_dir}"
                f", where they find backups at (epoch, batch, identity) {positions}"
            )
        return position

    def _restore(self, *kinds: str) -> None:
        from keras_lars import _replicas

        replicas = self._strategy.num_replicas_in_sync
        variables = self._variables()
        expected = {
            kind: [
                (
                    tuple(variable.shape) if kind == "shared" else (replicas, *variable.shape),
                    variable.dtype.as_numpy_dtype,
                )
                for variable in variables[kind]
            ]
            for kind in kinds
        }
        arrays = _backup_file.read(self._path, expected, replicas, self._optimizer_name())
        for kind in kinds:
            if kind == "shared":
                for variable, value in zip(variables[kind], arrays[kind]):
                    _replicas.write(variable, value, self._strategy)
            else:
                _replicas.write_all(variables[kind], arrays[kind], self._strategy)

    def _save(self) -> None:
        from keras_lars import _replicas

        self._since_saving = 0
        strategy, variables = self._strategy, self._variables()
        arrays = {
            kind: _replicas.read_all(variables[kind], strategy) for kind in ("replica", "metric")
        }
        if _replicas.is_chief(strategy):
            arrays["shared"] = [
                _replicas.read(variable, strategy) for variable in variables["shared"]
            ]
            position = Position(self._at_epoch, self._at_batch, _backup_file.new_identity())
            replicas = strategy.num_replicas_in_sync
            _backup_file.write(
                self._path, Backup(position, replicas, self._optimizer_name(), arrays)
            )
        self.epoch, self.batch = self._at_epoch, self._at_batch
