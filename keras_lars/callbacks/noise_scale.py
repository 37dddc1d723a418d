"""`NoiseScaleMonitor`: measures the gradient noise scale, and what a batch size is worth."""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from keras_lars import _arguments, _noise_scale
from keras_lars._monitoring import record
from keras_lars._monitoring.noise import Measurements, words
from keras_lars._monitoring.record import NoiseRow
from keras_lars._squared_norms import SquaredNorms
from keras_lars._types import Format
from keras_lars.callbacks._recording import RecordingCallback, checked_update_freq, updates_of
from keras_lars.optimizer import LARS


class NoiseScaleMonitor(RecordingCallback[NoiseRow]):
    """Measures the gradient noise scale, to tell what this batch size and larger ones are worth.

    Use it to learn from one training run how much further its batch size can grow. The noise scale
    is the batch size at which half of each pass over the data is wasted. The callback needs an
    optimizer with `record_noise_scale=True`, which compares the gradients of the parts of a batch:
    of the micro-batches of `gradient_accumulation_steps`, of the replicas of a `tf.distribute`
    strategy, or of both.

    ```python
    if (update - 1) % update_freq == 0:  # for each variable, and for all together
        gradient_square = (|g|**2 - mean(|part|**2) / parts) / (1 - 1 / parts)
        noise_square = (mean(|part|**2) - |g|**2) / (parts - 1)
        noise_scale = mean(noise_square) / mean(gradient_square)  # of the last measurements
    worth = 1 / (1 + 1 / noise_scale)  # of a pass, relative to one with very small batches
    ```

    The unit is the batch of one update. For a number of samples, multiply a noise scale by the
    samples of an update, over all micro-batches and replicas. If batches grow during training, the
    unit is the last one they grow to, and updates with a single part are not measured.

    Estimates come with an interval of about 95 %, from `low` to `high`. They are NaN until there
    are 16 measurements, and while the gradient cannot be distinguished from its noise. At the end
    of `fit` the callback prints the noise scale for each quarter of training, and what batches of
    one, two and four times this size are worth. `python -m keras_lars.report log_dir` shows both.

    For each format the folder gets:

    - `"csv"`: `noise_scale.csv`, a row for each variable of each record, and one for all, `(all)`.
    - `"jsonl"`: `noise_scale.jsonl`, the same as JSON, with `null` for values that are not finite.
    - `"tensorboard"`: the folder `tensorboard`, with scalars. Needs TensorFlow and
      tensorboard, on any backend.

    An existing record is continued, as with `TrustRatioMonitor`: rows up to the update at which
    this run begins are kept, and count as measurements unless only TensorBoard has them. If a file
    cannot be written during training, a warning is given, and training continues. With several
    workers only the chief writes and prints.

    Args:
        log_dir: String or path of a folder. It is created if missing.
        update_freq: Integer, the number of updates between measurements. Defaults to `10`. Use 1 if
            a quarter of training has fewer than 160 updates.
        window: Integer, 16 or more: the number of last measurements over which the estimates in the
            record are smoothed. Defaults to `100`.
        formats: One of the formats above, or a list of them, each once. Defaults to `"csv"`.
        verbose: Boolean. Whether to print the results at the end of training. Defaults to `True`.

    Raises:
        ValueError: If an argument is invalid; when `fit` begins, if the optimizer is not `LARS` (or
            `LossScaleOptimizer` around it) with `record_noise_scale=True`, if the batch has only
            one part, or if the folder cannot be written to or has a file that is not such a record.
        ImportError: If a format needs a package that is not installed.

    Example:

    >>> layers = [keras.Input((2,)), keras.layers.Dense(1, name="head")]
    >>> model = keras.Sequential(layers, name="model")
    >>> lars = keras_lars.LARS(record_noise_scale=True, gradient_accumulation_steps=4)
    >>> model.compile(lars, "mse")
    >>> monitor = keras_lars.callbacks.NoiseScaleMonitor(folder, update_freq=1, verbose=False)
    >>> x, y = np.random.default_rng(0).normal(size=(2, 16, 2))
    >>> history = model.fit(x, y[:, :1], batch_size=2, epochs=1, callbacks=[monitor], verbose=0)
    >>> with open(folder + "/noise_scale.csv") as file:
    ...     for line in file:
    ...         print(line.split(",")[:3])
    ['update', 'epoch', 'variable']
    ['1', '0.5', 'model/head/kernel']
    ['1', '0.5', 'model/head/bias']
    ['1', '0.5', '(all)']
    ['2', '1.0', 'model/head/kernel']
    ['2', '1.0', 'model/head/bias']
    ['2', '1.0', '(all)']

    Reference:
        - [McCandlish et al., 2018](https://arxiv.org/abs/1812.06162), appendix A.
    """

    _kind = record.NOISE_SCALE
    _argument = "record_noise_scale"

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        update_freq: int = 10,
        window: int = 100,
        formats: "Format | Sequence[Format]" = "csv",
        verbose: bool = True,
    ):
        super().__init__(log_dir, checked_update_freq(update_freq, False), formats, verbose)
        least = _noise_scale.MEASUREMENTS
        self.window = int(_arguments.integer(minimum=least)("window", window))
        self._measurements = Measurements(self.window)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Check the optimizer, the parts of a batch and the folder before anything is trained."""
        super().on_train_begin(logs)
        strategy = getattr(self.model, "distribute_strategy", None)  # only TensorFlow's has one
        self._lars()._check_parts(strategy.num_replicas_in_sync if strategy else 1)
        self._measurements = Measurements(self.window)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Print the results."""
        if self.verbose and self._measurements.of_all:
            print("\n".join(words(self._measurements.of_all)), flush=True)

    def _measured(self, optimizer: LARS) -> Mapping[str | int, SquaredNorms]:
        # A batch with one part says nothing. If batches grow, the first ones may have only one.
        is_divided = _division(optimizer, updates_of(optimizer)).parts > 1
        return optimizer._recorded_squares() if is_divided else {}

    def _rows(
        self, optimizer: LARS, measured: Mapping[str | int, SquaredNorms], update: int, epoch: float
    ) -> list[NoiseRow]:
        parts, batches = _division(optimizer, update)
        pairs = {
            str(key): (
                _noise_scale.gradient_square(*norms, parts),
                _noise_scale.noise_square(*norms, parts) * batches,
            )
            for key, norms in measured.items()
        }
        return self._measurements.add(update, epoch, pairs)

    def _begin(self, optimizer: LARS, update: int) -> None:
        paths = (self.log_dir / f"{self._kind.stem}.{each}" for each in self.formats)
        path = next((path for path in paths if path.is_file()), None)
        if path is not None:
            rows = record.read_any(path, self._kind)
            self._measurements.add_rows(row for row in rows if row.update < update)


class _Division(NamedTuple):
    """How the batch of one update is divided."""

    parts: int  # micro-batches times replicas
    batches: float  # its size, in batches of the last phase of the accumulation


def _division(optimizer: LARS, update: int) -> _Division:
    squares, accumulation = optimizer._update.squares, optimizer._accumulation
    assert squares is not None
    steps = accumulation.steps_of(max(update - 1, 0))
    return _Division(steps * squares.replicas, steps / accumulation.last)
