"""`find_learning_rate`: the learning-rate range test."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator

import keras
import numpy as np

from keras_lars import _accumulation, _arguments, _chief, _model_state
from keras_lars._keras.compiled import unbuilt_again
from keras_lars._keras.layers import all_layers
from keras_lars._shuffled import batches_of
from keras_lars._words import counted
from keras_lars.callbacks._batches import refuse_separate

_SMOOTHING = 0.8  # what the smoothed loss keeps from one update to the next
_FEW_UPDATES = 100


@dataclasses.dataclass(frozen=True, repr=False)
class RangeTest:
    """The result of `keras_lars.find_learning_rate`.

    Attributes:
        learning_rate: Float, the rate to train at: half of the rate at which the smoothed loss was
            lowest.
        rates: Array of floats, the rate of each update.
        losses: Array of floats, the loss of each update's batch, before the update.
        smoothed: Array of floats, the smoothed losses.
        stopped_early: Boolean, whether the loss diverged before the last update.
    """

    learning_rate: float
    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    stopped_early: bool = False

    def __repr__(self) -> str:
        rate, early = f"{self.learning_rate:.4g}", self.stopped_early
        return f"RangeTest(learning_rate={rate}, updates={len(self.rates)}, stopped_early={early})"

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Write a plot of the loss by learning rate.

        Args:
            path: Path of the file, with an extension that matplotlib supports, such as `.png`.

        Raises:
            ImportError: If matplotlib is not installed.
            ValueError: If `path` is invalid.
        """
        _arguments.path("path", path)
        try:
            import matplotlib.figure
        except ImportError as error:
            raise ImportError(
                "`plot` needs matplotlib, which is not installed: "
                '`pip install "keras-lars[report]"`'
            ) from error
        figure = matplotlib.figure.Figure(figsize=(6, 4), layout="constrained")
        axes = figure.add_subplot(xscale="log", xlabel="learning rate", ylabel="loss")
        axes.plot(self.rates, self.losses, color="0.8", label="each update")
        axes.plot(self.rates, self.smoothed, color="C0", label="smoothed")
        axes.axvline(self.learning_rate, color="C1", label=f"{self.learning_rate:.3g}")
        # Losses that diverged would flatten the plot.
        lowest, first = self.smoothed.min(), self.smoothed[0]
        axes.set_ylim(top=max(first + (first - lowest), self.losses[0]))
        axes.legend(frameon=False)
        figure.savefig(path, dpi=140)


def find_learning_rate(
    model: keras.Model,
    data: object,
    updates: int = 100,
    minimum_learning_rate: float = 0.5,
    maximum_learning_rate: float = 500.0,
    batch_size: int = 256,
    verbose: int = 1,
) -> RangeTest:
    """The learning-rate range test: finds a rate for your own model, batch size and data.

    Use it before training at a new batch size. It trains for a few updates while the learning rate
    grows from far too low to far too high, and then restores everything.

    ```python
    rate = minimum_learning_rate * (maximum_learning_rate / minimum_learning_rate) ** (
        update / (updates - 1)
    )
    smoothed = average(losses, weights=0.8 ** age)
    learning_rate = rates[argmin(smoothed)] / 2
    ```

    The test stops early if the loss diverges: if it is not finite, or if the smoothed loss exceeds
    twice its first value and has risen above that value by more than it ever fell below it.

    Afterwards the model is as before, bit for bit, even if the test is interrupted: weights, moving
    statistics, seed generators, metrics and the optimizer. Two things are not restored: state that
    layers keep outside of Keras variables, and the position of a `tf.data.Dataset` that reshuffles
    each epoch.

    The test works with every Keras optimizer that was given its learning rate as a number, with
    gradient accumulation, with mixed precision and with `tf.distribute` strategies. Pass the rate
    it finds to `LARS`, or as `learning_rate` to `keras_lars.schedules.for_fit`.

    Args:
        model: A compiled and built model.
        data: As for `fit`: a tuple of arrays, `(x, y)` or `(x, y, sample_weight)`, which are
            shuffled, or a `tf.data.Dataset` or another collection of batches. If the data end, they
            are read again.
        updates: Integer, 2 or more: the number of updates. With fewer than 100 the result may be
            far off, and the test warns. Defaults to 100.
        minimum_learning_rate: Float, more than 0: the rate of the first update. The defaults of
            this argument and the next suit LARS; use lower values for SGD and Adam. Defaults to
            0.5.
        maximum_learning_rate: Float, more than `minimum_learning_rate`: the rate of the last
            update. Defaults to 500.
        batch_size: Integer, the samples in a batch over all replicas, if `data` are arrays. Use the
            batch size of the training run, divided by its accumulation steps. If these steps grow
            during training, the test uses those of the next `updates`. Defaults to 256.
        verbose: Integer, 0 for silence or 1 for a progress bar. Defaults to 1.

    Returns:
        A `RangeTest` with `learning_rate`, `rates`, `losses`, and `plot(path)`.

    Raises:
        ValueError: If an argument is invalid, if the model's learning rate is a schedule or a
            callable, if its `train_step` returns no "loss", or if the first loss is not finite.

    Warns if the loss was lowest at the first or the last rate, because the best rate may lie beyond
    it.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(512, 8))
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    >>> model.compile(keras_lars.LARS(1.0), "mse")
    >>> found = keras_lars.find_learning_rate(model, (x, x.sum(axis=1)), verbose=0)
    >>> bool(1 < found.learning_rate < 500)
    True

    Reference: [Smith, 2017](https://arxiv.org/abs/1506.01186), section 3.3.
    """
    refuse_separate("updates", updates)
    updates = _arguments.integer(minimum=2, maximum=_arguments.LARGEST_STEP)("updates", updates)
    positive = _arguments.number(positive=True)
    lowest = positive("minimum_learning_rate", minimum_learning_rate)
    highest = positive("maximum_learning_rate", maximum_learning_rate)
    if highest <= lowest:
        must_be = f"more than minimum_learning_rate={lowest:g}"
        raise _arguments.refusal("maximum_learning_rate", must_be, maximum_learning_rate)
    batch_size = _arguments.integer(minimum=1)("batch_size", batch_size)
    verbose = _arguments.one_of(0, 1, False, True)("verbose", verbose)
    _check_model(model)
    batches = batches_of(data, batch_size)
    if updates < _FEW_UPDATES:
        _chief.warn(
            f"With fewer than {_FEW_UPDATES} updates the learning rate found may be far off. "
            f"Received: updates={updates}",
            stacklevel=2,
        )

    rates = np.geomspace(lowest, highest, updates)
    ramp = _Ramp(rates, model.optimizer, verbose)
    with unbuilt_again(model), _model_state.restored(model), _one_by_one(model):
        # An epoch has at least one batch.
        model.fit(batches, epochs=ramp.batches, callbacks=[ramp], verbose=0)
    found = ramp.result()
    end = np.argmin(found.smoothed)
    if end in (0, updates - 1):
        name, which = ("minimum", "first") if end == 0 else ("maximum", "last")
        _chief.warn(
            f"The loss was lowest at the {which} learning rate, so the best one may lie "
            f"beyond {name}_learning_rate={rates[end]:g}. Test a wider range.",
            stacklevel=2,
        )
    return found


def _check_model(model: object) -> None:
    if not isinstance(model, keras.Model) or not getattr(model, "compiled", False):
        raise _arguments.refusal("model", "a compiled `keras.Model`", model)
    if not model.built or not all(layer.built for layer in all_layers(model)):
        raise ValueError(
            "`model` must be built: give it a `keras.Input`, or call it on a batch. Received: "
            f"{model!r}, which is not built"
        )
    if not model.trainable_variables:
        raise ValueError(
            "`model` must have trainable variables: otherwise all learning rates are the same. "
            f"Received: {model!r}, in which all layers are frozen or have no weights"
        )
    rate = getattr(model.optimizer, "learning_rate", None)  # `MultiOptimizer` has none
    if not isinstance(rate, keras.Variable):
        raise ValueError(
            "`model` must have an optimizer whose learning rate is a number, because the test "
            "replaces it. Compile the model with such an optimizer, and pass the rate that is "
            "found to a schedule afterwards. Received: an optimizer whose learning rate is "
            f"{_arguments.shown(rate)}"
        )


@contextlib.contextmanager
def _one_by_one(model: keras.Model) -> Iterator[None]:
    """Train on one batch in each call of the training step, so that each has a rate and a loss."""
    steps = model.steps_per_execution
    if steps == 1:
        yield
        return
    function = model.train_function
    model.steps_per_execution, model.train_function = 1, None
    try:
        yield
    finally:
        model.steps_per_execution, model.train_function = steps, function


def _steps(optimizer: keras.optimizers.Optimizer, updates: int) -> list[int]:
    """The number of batches in each of the next updates."""
    accumulation = _accumulation.of(optimizer.gradient_accumulation_steps)
    done = int(keras.ops.convert_to_numpy(optimizer.iterations))
    return [accumulation.steps_of(done + update) for update in range(updates)]


class _Ramp(keras.callbacks.Callback):
    """Sets the rate before each update, and records the loss of each.

    Attributes:
        batches: Integer, the number of batches in all updates.
    """

    def __init__(self, rates: np.ndarray, optimizer: keras.optimizers.Optimizer, verbose: int):
        super().__init__()
        self._steps = _steps(_model_state.wrapped(optimizer)[-1], len(rates))
        self.batches = sum(self._steps)
        self._rates, self._rate = rates, optimizer.learning_rate
        self._sum, self._seen = 0.0, 0  # the sum of losses in one update, and its batches so far
        self._is_over = False
        self._losses: list[float] = []
        self._smoothed: list[float] = []
        self._average = 0.0
        names = ("learning_rate", "loss")
        self._progress = keras.utils.Progbar(
            len(rates), verbose=verbose, stateful_metrics=names, unit_name="update"
        )

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        # On JAX, reading `self.model` makes the trainer take over what is assigned here.
        self.model.reset_metrics()
        if not self._seen:
            self._rate.assign(self._rates[len(self._losses)])

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        if "loss" not in logs:
            raise ValueError(
                "`model` must have a `train_step` that returns its loss as 'loss', because the "
                f"test compares losses. Received: a model that returns {sorted(logs)}"
            )
        self._sum += float(logs["loss"])
        self._seen += 1
        if self._seen == self._steps[len(self._losses)]:
            self._add(self._sum / self._seen)
            self._sum, self._seen = 0.0, 0

    def _add(self, loss: float) -> None:
        done = len(self._losses) + 1
        self._average = _SMOOTHING * self._average + (1 - _SMOOTHING) * loss
        smoothed = self._average / (1 - _SMOOTHING**done)
        self._losses.append(loss)
        self._smoothed.append(smoothed)
        rate = self._rates[done - 1]
        self._is_over = done == len(self._rates) or self._has_diverged()
        values = [("learning_rate", rate), ("loss", smoothed)]
        self._progress.update(done, values, finalize=self._is_over)
        self.model.stop_training = self._is_over

    def _has_diverged(self) -> bool:
        first, last, lowest = self._smoothed[0], self._smoothed[-1], min(self._smoothed)
        return not last <= first + max(first - lowest, abs(first))  # true for NaN as well

    def result(self) -> RangeTest:
        """The result, without the losses that are not finite."""
        if not self._is_over:
            raise ValueError(
                "`data` must hold at least one batch. Received: data that ended after "
                f"{counted(len(self._losses), 'update')}"
            )
        smoothed = np.array(self._smoothed)
        count = int(np.isfinite(smoothed).sum())  # once NaN, always NaN
        if not count:
            raise ValueError(
                "`model` must have a finite loss before training. Received: a loss of "
                f"{self._losses[0]} for the first batch"
            )
        rates, smoothed = self._rates[:count], smoothed[:count]
        best = rates[np.argmin(smoothed)] / 2
        losses = np.array(self._losses[:count])
        stopped_early = len(self._losses) < len(self._rates)
        return RangeTest(float(best), rates, losses, smoothed, stopped_early)
