"""`TrustRatioMonitor`: records and checks the norms and trust ratios of a training run."""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Literal

from keras_lars import _batch_statistics, _rates
from keras_lars._monitoring import anomalies, history, record, variables
from keras_lars._monitoring.anomalies import Finding
from keras_lars._monitoring.record import Row
from keras_lars._monitoring.variables import Description
from keras_lars._trust_ratios import TrustRatio
from keras_lars._types import Format
from keras_lars._words import counted
from keras_lars.callbacks._recording import RecordingCallback, checked_update_freq, updates_of
from keras_lars.optimizer import LARS


class TrustRatioMonitor(RecordingCallback[Row]):
    """Records the trust ratio and the norms of every variable, and warns if something looks wrong.

    Use it to see what LARS does to each layer: which layers are held back, whether a ratio falls
    back to a constant, whether a layer is not trained at all. The callback computes nothing itself.
    With `record_trust_ratios=True` the optimizer keeps two norms and a ratio for each variable, and
    the callback reads them. `python -m keras_lars.report log_dir` draws the record.

    ```python
    if (update - 1) % update_freq == 0:  # the first update, and every `update_freq` after it
        for variable, (weight_norm, gradient_norm, trust_ratio) in optimizer.trust_ratios.items():
            write(update, epoch, variable, weight_norm, gradient_norm, trust_ratio, learning_rate)
    ```

    The folder gets `variables.json`, which says how each variable is treated, and for each format:

    - `"csv"`: `trust_ratios.csv`, a row for each variable of each record. A line break in a name is
      written as `\\n`, and a backslash twice, so each row is one line.
    - `"jsonl"`: `trust_ratios.jsonl`, the same as JSON, with `null` for values that are not finite.
    - `"tensorboard"`: the folder `tensorboard`, with scalars for each variable, and for each layer
      the distribution of its trust ratios over an epoch. Needs TensorFlow and tensorboard, on
      any backend.

    `update` counts from 1. `epoch` is the number of completed epochs, with a fraction if the number
    of steps per epoch is known. An existing record is continued: rows up to the update at which
    this run begins are kept. So after a `keras_lars.callbacks.BackupAndRestore` that follows this
    callback, or in a second `fit`, the record has no gap and no duplicate rows. A run that starts
    over starts its record over. If a file cannot be written during training (disk full, folder
    gone), a warning is given, and training continues. Each later record tries again, and creates a
    folder that is gone.

    The callback warns, once for each variable, by name, if

    - a norm is not finite;
    - the ratio of an adapted kernel (a variable of rank 2 or more) is not the formula's, because
      its norm or that of its gradient is 0;
    - the gradient moves a variable by more than its own norm;
    - an adapted variable got no gradient in the first epoch.

    It warns once if a callback sets a learning rate far too small for LARS: less than a hundredth
    of the initial one, reached in one step. At the start of `fit` it also warns of
    `BatchNormalization` layers that would keep more than 5 % of their initial statistics at the
    end, unless `keras_lars.callbacks.RecalibrateStatistics` is used, and of a schedule of
    `keras_lars.schedules.for_fit` that an earlier `fit` has used up.

    With several workers only the chief writes, prints and warns.

    Args:
        log_dir: String or path of a folder. It is created if missing.
        update_freq: `"epoch"`, to record the last update of each epoch, or an integer: the number
            of updates between records. Defaults to `"epoch"`.
        formats: One of the formats above, or a list of them, each once. Defaults to `"csv"`.
        verbose: Boolean. Whether to print how each variable is treated when training begins
            (`LARS.variable_table`). Defaults to `True`.

    Raises:
        ValueError: If an argument is invalid; when `fit` begins, if the optimizer is not `LARS` (or
            `LossScaleOptimizer` around it) with `record_trust_ratios=True`, or if the folder
            cannot be written to or has a file that is not such a record.
        ImportError: If a format needs a package that is not installed.

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

    _kind = record.TRUST_RATIOS
    _argument = "record_trust_ratios"

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        update_freq: Literal["epoch"] | int = "epoch",
        formats: "Format | Sequence[Format]" = "csv",
        verbose: bool = True,
    ):
        super().__init__(log_dir, checked_update_freq(update_freq, True), formats, verbose)
        self._description_writer = variables.DescriptionWriter(self.log_dir)
        self._recorder.put_first(self._description_writer)
        self._description: Description | None = None  # once this `fit` has a record
        self._has_shown_table = False
        self._has_warned_of: set[Finding] = set()
        self._recorded_rate: float | None = None  # the learning rate of the last record

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Check the optimizer and the folder before anything is trained."""
        super().on_train_begin(logs)
        self._description = None
        _batch_statistics.warn_in_fit(self.model, self.params)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Read the number of updates, because other callbacks may have restored the optimizer."""
        super().on_epoch_begin(epoch, logs)
        if self._is_chief:
            optimizer = self._lars()
            if self._recorded_rate is None and self._update > 0:  # the rate may have decayed
                self._recorded_rate = _rates.current(optimizer)
            if optimizer.built:
                self._show_table(optimizer)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Record if `update_freq` is "epoch", and warn of variables that got no gradient."""
        super().on_epoch_end(epoch, logs)
        if self._description is not None:
            optimizer = self._lars()
            measured, update = self._measured(optimizer), updates_of(optimizer)
            rows = self._rows(optimizer, measured, update, epoch + 1.0)
            self._warn(anomalies.without_gradient(history.of_rows(rows, self._description)))

    def _measured(self, optimizer: LARS) -> Mapping[str | int, TrustRatio]:
        return optimizer._recorded_ratios()

    def _rows(
        self, optimizer: LARS, measured: Mapping[str | int, TrustRatio], update: int, epoch: float
    ) -> list[Row]:
        learning_rate = optimizer._last_learning_rate()
        return [
            Row(update, epoch, variable, *ratio, learning_rate=learning_rate)
            for variable, ratio in measured.items()
        ]

    def _begin(self, optimizer: LARS, update: int) -> None:
        self._show_table(optimizer)
        self._description_writer.contents = variables.contents(optimizer)
        self._description = variables.parsed(self._description_writer.contents)

    def _look_at(self, optimizer: LARS, rows: list[Row]) -> None:
        self._warn(anomalies.find(history.of_rows(rows, self._description)))
        self._warn_of_rate(optimizer, rows[0].learning_rate)

    def _show_table(self, optimizer: LARS) -> None:
        if self.verbose and not self._has_shown_table:
            table = optimizer.variable_table()
            adapted, decayed = sum(r.adapted for r in table), sum(r.decayed for r in table)
            print(
                f"TrustRatioMonitor writes to {self.log_dir}: "
                f"{counted(len(table), 'variable')}, {adapted} of them adapted, "
                f"{decayed} decayed\n{table}",
                flush=True,
            )
        self._has_shown_table = True

    def _warn_of_rate(self, optimizer: LARS, learning_rate: float) -> None:
        findings = anomalies.in_rate(optimizer, self._recorded_rate, learning_rate)
        optimizer._has_warned_of_rate |= bool(findings)
        self._warn(findings)
        self._recorded_rate = learning_rate

    def _warn(self, findings: list[Finding]) -> None:
        """Warn once for each kind and variable, whatever the update."""
        found = [finding._replace(updates=()) for finding in findings]
        new = [finding for finding in found if finding not in self._has_warned_of]
        self._has_warned_of.update(new)
        for message in anomalies.messages(new):
            warnings.warn(message, stacklevel=2)
