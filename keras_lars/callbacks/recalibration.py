"""`RecalibrateStatistics`: moving statistics that match the current weights."""

import hashlib
import itertools
import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_lars import _arguments, _batch_statistics, _chief
from keras_lars._keras.layers import all_layers
from keras_lars._types import Array
from keras_lars._variables import path_of
from keras_lars._words import counted, listed, shortened
from keras_lars.callbacks._batches import Batches, refuse_separate, samples_of
from keras_lars.callbacks._training_pass import TrainingPass, value_of

# What a model raises for unsuitable inputs. The last two are TensorFlow's.
_OF_INPUTS = ("TypeError", "ValueError", "InvalidArgumentError", "UnimplementedError")

_warned: "weakref.WeakSet[keras.Model]" = weakref.WeakSet()


class RecalibrateStatistics(keras.callbacks.Callback):
    """Recomputes the moving statistics of batch normalization before they are used.

    Use it when training makes few updates, as with large batches. Keras's `BatchNormalization`
    keeps `momentum ** updates` of its initial statistics, 31 % of them after 117 updates, and
    evaluates with them. Also use it to evaluate weights that no training step used, as with
    `use_ema`. Training is unaffected, because it normalizes with batch statistics.

    ```python
    mean, variance = zip(*(statistics(batch, training=True) for batch in data))
    moving_mean = average(mean, weights=samples)          # of each layer; samples of each batch,
    moving_variance = average(variance, weights=samples)  # so that a short last one counts less
    ```

    It runs before each validation, at the end of each epoch, at the end of training, and in
    `evaluate` if passed to it. A pass is skipped if neither weights nor statistics have changed.
    Each pass costs one compiled forward pass over `data`.

    The pass runs in training mode, with dropout, like the training step. It changes nothing else:
    weights, the layers' momentum, metrics, the optimizer, seed generators and all other state of
    Keras layers stay the same, bit for bit. The exception is state outside of Keras variables, such
    as a `tf.Variable` or a buffer of a torch module.

    It covers all layers with moving statistics, including nested ones: `BatchNormalization`, its
    subclasses, and layers with its attributes `momentum`, `moving_mean` and `moving_variance`.
    Layers that do not run in training mode are left alone: frozen layers (`trainable=False`) and
    layers called with `training=False`. A layer that is called several times gets the mean over its
    calls.

    Under a strategy each replica takes a batch at a time, and each worker iterates over its own
    `data`, either all of it or its share. The result covers the batches of all workers, and is the
    same on all replicas. A batch is normalized as a whole, also by layers with `synchronized=True`.

    Put it after callbacks that change weights, and before those that save, such as
    `BackupAndRestore`. Then an interrupted run ends with the same bits, provided `data` yields the
    same batches every time.

    Args:
        data: Inputs as in training, with the same augmentation. Arrays (one, or a list or dict of
            the model's inputs), or a `tf.data.Dataset` or another iterable of batches. A tuple is
            `(x, y)` or `(x, y, sample_weight)`, of which only `x` is used.
        batches: Integer, the number of batches to use, from the start of `data`. `None` means all.
            Defaults to `None`.
        every_epochs: Integer, the number of epochs between passes. The last epoch always has one.
            Defaults to 1.
        batch_size: Integer, the samples in a batch if `data` are arrays (`fit` does not tell
            callbacks its own batch size). A variance over n values is 1/n too small on average.
            Defaults to 256.

    Raises:
        ValueError: If an argument is invalid, or if data are empty or infinite; when `fit` begins
            (or later, if the model is not built by then), if no layer has moving statistics that
            move in training, or if the model cannot be called on the data.

    Example:

    >>> x = np.array([[1.0], [3.0]])
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization()])
    >>> model.compile(keras_lars.LARS(), "mse")
    >>> def statistics_after(*callbacks):
    ...     model.fit(x, x, epochs=2, callbacks=callbacks, verbose=0)
    ...     layer = model.layers[0]
    ...     return [round(float(v[0]), 2) for v in (layer.moving_mean, layer.moving_variance)]
    >>> statistics_after(keras_lars.callbacks.RecalibrateStatistics(x))
    [2.0, 1.0]

    Reference:
        - [Wu and Johnson, 2021](https://arxiv.org/abs/2105.07576), section 3, "precise" batch
          normalization.
    """

    _recalibrates_statistics = True  # see `_batch_statistics`

    def __init__(
        self,
        data: Array | Iterable[Any] | Mapping[str, Array],
        batches: int | None = None,
        every_epochs: int = 1,
        batch_size: int = 256,
    ):
        super().__init__()
        refuse_separate("batches", batches)
        self.batches = _arguments.integer(minimum=1, none=True)("batches", batches)
        self.every_epochs = _arguments.integer(minimum=1)("every_epochs", every_epochs)
        self.batch_size = _arguments.integer(minimum=1)("batch_size", batch_size)
        self._data = Batches(data, self.batches, self.batch_size)
        self._epoch: int | None = None  # of `fit`; None outside of one
        self._pass: TrainingPass | None = None  # for one model and one set of trainable layers
        self._moved: list[keras.Variable] = []  # the statistics that move in training
        self._done: bytes | None = None  # the fingerprint after the last pass

    def set_params(self, params: dict[str, Any] | None) -> None:
        """Before `fit` begins, tell other callbacks not to warn about stale statistics."""
        super().set_params(params)
        _batch_statistics.mark_recalibrated(params)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Check model and data before anything is trained."""
        self._pass = self._done = self._epoch = None
        # A layer that is not built is built in the first step, and checked later.
        if self.model.built and all(layer.built for layer in all_layers(self.model)):
            self._prepare()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Note the epoch."""
        self._epoch = epoch

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Recalibrate before the statistics are used."""
        if self._is_due():
            self._recalibrate()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Recalibrate before anything is saved."""
        if self._is_due():
            self._recalibrate()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Recalibrate if weights changed after the last epoch, as with `use_ema`."""
        self._epoch = None
        self._recalibrate()

    def _is_due(self) -> bool:
        if self._epoch is None:
            return True
        done = self._epoch + 1
        return done % self.every_epochs == 0 or done == (self.params or {}).get("epochs")

    def _prepare(self) -> TrainingPass:
        """Create the forward pass, and find out with one batch which statistics it moves."""
        model = self.model
        layers = [layer for layer in _batch_statistics.moving_layers(model) if layer.built]
        known = self._pass
        if known is not None and (known.model, known.layers) == (model, layers):
            return known
        if not layers:
            raise ValueError(
                "`RecalibrateStatistics` needs a model with at least one trainable layer that has "
                f"moving statistics, such as `BatchNormalization`. Received: {model!r}"
            )
        made = TrainingPass(model, layers)
        try:
            first = next(iter(self._data), None)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"`data` must hold arrays that can be converted to tensors. Received: {error}"
            ) from error
        if first is None:
            raise ValueError("`data` must hold at least one batch. Received: none")
        _check_number(first, model)
        try:
            (found,), _ = made.run(made.start(), [first])
        except Exception as error:
            if type(error).__name__ not in _OF_INPUTS:
                raise
            shapes = keras.tree.map_structure(lambda x: tuple(x.shape), first)
            raise ValueError(
                "`data` must hold inputs that the model accepts. Received: a batch of "
                f"shape {shapes}, for which it raises {type(error).__name__}: "
                f"{shortened(str(error))}"
            ) from error
        if not found:
            raise ValueError(
                "`RecalibrateStatistics` needs a model in which a layer with moving statistics "
                f"runs in training mode. Received: {model!r}, in which these run in inference "
                f"mode: {[layer.name for layer in layers]}"
            )
        self._pass, self._moved = made, [made.variables[position] for position in found]
        return made

    def _recalibrate(self) -> None:
        if self._done is not None and not self._any_worker(self._fingerprint() != self._done):
            return
        layers = self._prepare().layers
        sums, samples = self._sums()
        for variable, total in zip(self._moved, sums):
            self._write(variable, total / samples)
        self._warn_unless_finite(sums)
        moved = {id(variable) for variable in self._moved}
        for layer in layers:
            # With `renorm` Keras moves a standard deviation, and computes the variance from it.
            if hasattr(layer, "moving_stddev") and id(layer.moving_variance) in moved:
                variance = self._read(layer.moving_variance).astype("float64")
                self._write(layer.moving_stddev, np.sqrt(variance + layer.epsilon))
        self._done = self._fingerprint()

    def _warn_unless_finite(self, sums: list[np.ndarray]) -> None:
        """Warn, once for each model, of NaN or infinity in the data or the weights."""
        bad = [path_of(v) for v, total in zip(self._moved, sums) if not np.isfinite(total).all()]
        if not bad or self.model in _warned:
            return
        _warned.add(self.model)
        _chief.warn(
            f"The recalibrated statistics {listed(bad)} are not finite, so losses and "
            "metrics are not either. Check `data` and the weights for NaN and infinity.",
            stacklevel=2,
            model=self.model,
        )

    def _sums(self) -> tuple[list[np.ndarray], int]:
        """The sum of each statistic and the number of samples, over the batches of all workers."""
        sums = [np.zeros(variable.shape) for variable in self._moved]
        forward = self._prepare()
        samples, state = 0, forward.start(self._moved)
        for inputs in _groups(iter(self._data), forward.width):
            of_batches, state = forward.run(state, inputs)
            for x, statistics in zip(inputs, of_batches):
                count = samples_of(x)
                samples += count
                for total, value in zip(sums, statistics.values()):
                    total += count * value
        if not samples:
            raise ValueError("`data` must hold at least one batch. Received: none")
        flat = np.concatenate([[samples], *(total.ravel() for total in sums)])
        samples, *_ = flat = self._sum_over_workers(flat)
        ends = np.cumsum([1, *(total.size for total in sums)])
        parts = [flat[first:last] for first, last in itertools.pairwise(ends)]
        return [part.reshape(total.shape) for part, total in zip(parts, sums)], samples

    def _fingerprint(self) -> bytes:
        """A hash of all weights and statistics: what a pass depends on, and what it changes."""
        found = hashlib.blake2b()
        for variable in self.model.weights:
            found.update(self._read(variable).tobytes())
        return found.digest()

    def _any_worker(self, flag: bool) -> bool:
        """Whether the flag is set on any worker. All workers must act together."""
        if keras.backend.backend() != "tensorflow":
            return flag
        from keras_lars import _replicas

        return any(any(row) for row in _replicas.exchange((int(flag),), self._strategy))

    def _sum_over_workers(self, values: np.ndarray) -> np.ndarray:
        """The values summed over workers, times the number of replicas of each worker."""
        if keras.backend.backend() != "tensorflow":
            return values
        from keras_lars import _replicas

        return _replicas.gather(values, self._strategy).sum(axis=0)

    def _read(self, variable: keras.Variable) -> np.ndarray:
        return keras.ops.convert_to_numpy(value_of(self.model, variable))

    def _write(self, variable: keras.Variable, value: np.ndarray) -> None:
        value = value.astype(self._read(variable).dtype)
        if keras.backend.backend() != "tensorflow":
            variable.assign(value)
            return
        from keras_lars import _replicas

        _replicas.write(variable.value, value, self._strategy)

    @property
    def _strategy(self) -> Any:
        return self.model.distribute_strategy


def _check_number(inputs: object, model: keras.Model) -> None:
    """Raise ValueError for a list of batches: Keras would use the first ones as inputs."""
    expected = getattr(model, "inputs", None)  # a subclassed model has none
    if expected is None or not isinstance(inputs, (list, tuple)):
        return
    received = len(keras.tree.flatten(inputs))
    if received != len(expected):
        raise ValueError(
            "`data` must hold inputs that the model accepts: a list holds its inputs, not batches, "
            "nor inputs and targets. Pass `(x, y)`, or batches as a `tf.data.Dataset` or a "
            f"`keras.utils.PyDataset`. Received: a list of {counted(received, 'array')}, but the "
            f"model has {counted(len(expected), 'input')}"
        )


def _groups(batches: Iterator[Any], width: int) -> Iterator[list[Any]]:
    """The batches in lists of up to `width`."""
    while group := list(itertools.islice(batches, width)):
        yield group
