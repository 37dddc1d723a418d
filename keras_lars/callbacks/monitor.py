"""`TrustRatioMonitor`: norms and trust ratios of a training, written down and looked at."""

import os
import warnings
from collections.abc import Sequence
from typing import Any, Literal, get_args

import keras

from keras_lars import _arguments, _batch_statistics, _rates
from keras_lars._monitoring import anomalies, record
from keras_lars._types import Format
from keras_lars._words import counted
from keras_lars.callbacks import _monitored
from keras_lars.optimizer import LARS

_FORMATS = get_args(Format)


class TrustRatioMonitor(keras.callbacks.Callback):
    """Writes the trust ratio and the norms of every variable, and warns of what looks wrong.

    Use it to see what LARS does to each layer: which layers are held back, whether a ratio hits one
    of its fallbacks, whether a layer is not trained at all. It measures nothing by itself: the
    optimizer keeps two norms and a ratio for each variable, if it was made with
    `record_trust_ratios=True`, and this callback reads them. `python -m keras_lars.report log_dir`
    draws what it wrote.

    ```python
    if (update - 1) % update_freq == 0:  # of the first update, and of every so many after it
        for variable, (weight_norm, gradient_norm, trust_ratio) in optimizer.trust_ratios.items():
            write(update, epoch, variable, weight_norm, gradient_norm, trust_ratio, learning_rate)
    ```

    The folder gets `variables.json`, which tells how each variable is treated, and of each format:

    - `"csv"`: `trust_ratios.csv`, a row for each variable of each record. A line break in a name
      is written as `\\n`, and a backslash twice, so that a row is a line.
    - `"jsonl"`: `trust_ratios.jsonl`, the same as JSON, with `null` for what is not finite.
    - `"tensorboard"`: the folder `tensorboard`, with scalars for each variable, and for each layer
      the distribution of its trust ratios over an epoch. Needs TensorFlow, on any backend.

    `update` counts from 1, and `epoch` counts the epochs that are done, with a fraction where the
    number of steps of an epoch is known. What a folder holds already is gone on with: rows are kept
    up to the update at which this training begins, so that after
    `keras_lars.callbacks.BackupAndRestore`, or in a second `fit`, the record has no gap and no row
    twice, and a training that begins anew begins its record anew.

    It warns, once for each variable, by name, where

    - a norm is not finite;
    - the ratio of an adapted kernel (a variable of rank 2 or more) is not the formula's, since its
      norm or that of its gradient is 0;
    - the gradient moves a variable by more than its own norm;
    - an adapted variable got no gradient in the first epoch.

    It warns once if a callback sets a learning rate far too small for LARS: less than a hundredth
    of the initial one, reached in one step. At the start of `fit` it also warns of
    `BatchNormalization` layers that would keep more than 5 % of their initial statistics at the
    end, unless `keras_lars.callbacks.RecalibrateStatistics` is used.

    Under several workers only the chief writes, prints and warns.

    Args:
        log_dir: String or path of a folder; made if it is not there.
        update_freq: `"epoch"`, to record the last update of each epoch, or an integer: the number
            of updates from one record to the next. Defaults to `"epoch"`.
        formats: One of the formats above, or a list of them, each once. Defaults to `"csv"`.
        verbose: Boolean. Print how each variable is treated when the training begins
            (`LARS.variable_table`). Defaults to `True`.

    Raises:
        ValueError: If an argument is not as above; when `fit` begins, if the optimizer is not
            `LARS` (or `LossScaleOptimizer` around it) with `record_trust_ratios=True`, or if a file
            of the folder is not such a record.

    Example:

    >>> layers = [keras.Input((2,)), keras.layers.Dense(1, name="head")]
    >>> model = keras.Sequential(layers, name="model")
    >>> model.compile(keras_lars.LARS(record_trust_ratios=True), "mse")
    >>> monitor = keras_lars.callbacks.TrustRatioMonitor(folder, verbose=False)
    >>> x, y = np.ones((4, 2)), np.ones((4, 1))
    >>> history = model.fit(x, y, epochs=2, callbacks=[monitor], verbose=0)
    >>> with open(folder + "/trust_ratios.csv") as file:
    ...     for line in file:
    ...         print(line.split(",")[:3])
    ['update', 'epoch', 'variable']
    ['1', '1.0', 'model/head/kernel']
    ['1', '1.0', 'model/head/bias']
    ['2', '2.0', 'model/head/kernel']
    ['2', '2.0', 'model/head/bias']

    Reference:
        - [You, Gitman and Ginsburg, 2017](https://arxiv.org/abs/1708.03888), table 2, whose norms
          and ratios these are, and figure 2, which `keras_lars.report` draws.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        update_freq: Literal["epoch"] | int = "epoch",
        formats: "Format | Sequence[Format]" = "csv",
        verbose: bool = True,
    ):
        super().__init__()
        self.log_dir = _arguments.folder("log_dir", log_dir)
        if not (isinstance(update_freq, str) and update_freq == "epoch"):
            update_freq = _checked_update_freq(update_freq)
        self.update_freq = update_freq
        self.formats = _checked_formats(formats)
        self.verbose = _arguments.one_of(False, True)("verbose", verbose)
        self._files = [record.make(name, self.log_dir) for name in self.formats]
        self._is_chief = True
        self._is_shown = False  # the table of variables
        self._has_begun = False  # to write, in this `fit`
        self._seen = 0  # the last update that was looked at
        self._warned: set[anomalies.Finding] = set()  # findings
        self._rate: float | None = None  # the learning rate of the last record
        self._epoch = 0
        self._batch = -1  # the last of this epoch
        self._wait = 0  # batches before which no record can be due

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Check the optimizer and the folder before anything is trained."""
        _monitored.lars_of(self.model)
        self._is_chief = _monitored.is_chief(self.model)
        self._has_begun, self._wait = False, 0
        if self._is_chief:
            for file in self._files:
                file.check()
        _batch_statistics.warn_in_fit(self.model, self.params)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """See where the training is: other callbacks may have restored it."""
        self._epoch, self._batch = epoch, -1
        if self._is_chief:
            optimizer = _monitored.lars_of(self.model)
            self._seen = _monitored.updates_of(optimizer)
            is_restored = self._seen > 0 or optimizer._waiting_state is not None
            if self._rate is None and is_restored:  # and perhaps decayed
                self._rate = _rates.current(optimizer)
            if optimizer.built:
                self._show(optimizer)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Record, if one is due. `batch` is the last one of an execution of several steps."""
        self._wait -= batch - self._batch
        self._batch = batch
        # On JAX it costs an exchange of the whole state to ask the model anything.
        if self._is_chief and self.update_freq != "epoch" and self._wait <= 0:
            self._look()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Record, if every epoch is; and see which variables got no gradient."""
        if not self._is_chief:
            return
        optimizer = _monitored.lars_of(self.model)
        update = _monitored.updates_of(optimizer)
        if self.update_freq == "epoch" and update != self._seen:
            self._record(optimizer, update, epoch + 1.0)
        if self._has_begun:
            for file in self._files:
                file.end_epoch(update)
            ratios = optimizer._recorded_ratios()
            self._warn(anomalies.without_gradient(optimizer, ratios))

    def _look(self) -> None:
        optimizer = _monitored.lars_of(self.model)
        seen, self._seen = self._seen, _monitored.updates_of(optimizer)
        # An execution of several steps may go past the update that is due: it records its last.
        if self._due_until(self._seen) > self._due_until(seen):
            steps = (self.params or {}).get("steps")
            epoch = float(self._epoch)
            if steps:
                epoch = (self._epoch * steps + self._batch + 1) / steps
            self._record(optimizer, self._seen, epoch)
        due = self._due_until(self._seen) * self.update_freq + 1
        micro_batches = int(keras.ops.convert_to_numpy(optimizer._micro_batches))
        self._wait = due * (optimizer.gradient_accumulation_steps or 1) - micro_batches

    def _due_until(self, update: int) -> int:
        """How many of the updates until this one are to be recorded."""
        return (update - 1) // self.update_freq + 1

    def _record(self, optimizer: LARS, update: int, epoch: float) -> None:
        ratios = optimizer._recorded_ratios()
        if not ratios:  # restored, and not updated since
            return
        if not self._has_begun:
            self._begin(optimizer, update)
        learning_rate = optimizer._last_learning_rate()
        rows = [
            {
                "update": update,
                "epoch": epoch,
                "variable": variable,
                **ratio._asdict(),
                "learning_rate": learning_rate,
            }
            for variable, ratio in ratios.items()
        ]
        for file in self._files:
            file.add(rows)
        self._warn(anomalies.in_record(optimizer, ratios, learning_rate))
        self._warn_of_rate(optimizer, learning_rate)

    def _warn_of_rate(self, optimizer: LARS, learning_rate: float) -> None:
        before = optimizer._given_learning_rate if self._rate is None else self._rate
        findings = anomalies.in_rate(optimizer, before, learning_rate)
        optimizer._has_warned_of_rate |= bool(findings)
        self._warn(findings)
        self._rate = learning_rate

    def _begin(self, optimizer: LARS, update: int) -> None:
        self._show(optimizer)
        self.log_dir.mkdir(parents=True, exist_ok=True)
        description = _monitored.description(optimizer)
        record.write_json(self.log_dir / "variables.json", description)
        for file in self._files:
            file.begin(update)
        self._has_begun = True

    def _show(self, optimizer: LARS) -> None:
        if self.verbose and not self._is_shown:
            table = optimizer.variable_table()
            adapted, decayed = sum(r.adapted for r in table), sum(r.decayed for r in table)
            print(
                f"TrustRatioMonitor writes to {self.log_dir}: "
                f"{counted(len(table), 'variable')}, {adapted} of them adapted, "
                f"{decayed} decayed\n{table}",
                flush=True,
            )
        self._is_shown = True

    def _warn(self, findings: list[anomalies.Finding]) -> None:
        new = [found for found in findings if found not in self._warned]
        self._warned.update(new)
        for message in anomalies.messages(new):
            warnings.warn(message, stacklevel=2)


def _checked_update_freq(value: Any) -> int:
    try:
        return _arguments.integer(minimum=1)("update_freq", value)
    except ValueError:
        rule = f"'epoch', or an integer from 1 to {_arguments.LARGEST_INTEGER}"
        raise _arguments.refusal("update_freq", rule, value) from None


def _checked_formats(value: Any) -> list[str]:
    formats = [value] if isinstance(value, str) else value
    are_known = isinstance(formats, (list, tuple)) and all(
        isinstance(each, str) and each in _FORMATS for each in formats
    )
    # Twice would write each row twice.
    if not are_known or not formats or len(set(formats)) < len(formats):
        rule = f"one of {', '.join(map(repr, _FORMATS))}, or a list of them, each of them once"
        raise _arguments.refusal("formats", rule, value)
    return list(formats)
