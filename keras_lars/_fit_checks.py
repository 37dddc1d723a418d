"""What LARS checks of a `fit`: its schedule, its updates, its decay and its batch statistics.

A schedule of `for_fit` must be made for exactly this `fit`. Of Keras's schedules, those that end at
a rate near 0 must neither end long before the `fit` nor be far from their end after it.

LARS is built inside of its first `fit`, and Keras calls `finalize_variable_values` at the end of
each. At the beginning of later ones only callbacks are called, so if LARS was built before its
first `fit`, its warnings come at the end. With several workers only the chief warns.
"""

import warnings
import weakref
from typing import TYPE_CHECKING

import keras
from keras.optimizers.schedules import LearningRateSchedule

from keras_lars import _batch_statistics, _changed_layers, _chief, _rates
from keras_lars._keras.fitted_model import (
    fitted_model,
    fitting_batches,
    fitting_callbacks,
    fitting_epochs,
    is_failing,
)
from keras_lars._keras.optimizer import KerasOptimizer
from keras_lars._words import counted, listed
from keras_lars.schedules import FitSchedule
from keras_lars.schedules._warm_up import end_of, warm_up_of

if TYPE_CHECKING:
    from keras_lars.optimizer import LARS

_REMEDY = "Compile with a new schedule before each `fit`."

# A key in the parameters that `fit` passes to all of its callbacks.
_CHECKED = "_schedule_is_checked"
# The optimizers whose running `fit` has been warned that its schedule does not suit it.
_warned: "weakref.WeakSet[KerasOptimizer]" = weakref.WeakSet()
# Those that were built in a `fit` of known size. For others a schedule that does not suit `fit` is
# found at its end.
_counted: "weakref.WeakSet[KerasOptimizer]" = weakref.WeakSet()
# Those that were warned that a `fit` ends before the first update.
_without_update: "weakref.WeakSet[KerasOptimizer]" = weakref.WeakSet()
# Those whose weight decay was checked.
_decay_checked: "weakref.WeakSet[KerasOptimizer]" = weakref.WeakSet()
# The schedules that a warning has called used up.
_used_up: "weakref.WeakSet[FitSchedule]" = weakref.WeakSet()

# The length of a training run may differ by this share from what was expected, where a small
# difference does no harm: a schedule may have been counted without incomplete batches.
_TOLERANCE = 0.1
# A rate is near 0 if it is at most this share of the peak.
_NEAR_ZERO = 1e-3
# The smallest weight decay that causes a warning.
_LARGE_DECAY = 0.03


def at_build(optimizer: "LARS") -> None:
    """Warn of what does not suit the `fit` that builds the optimizer, if one does."""
    model, schedule = fitted_model(optimizer), optimizer._schedule
    if model is None or not _chief.is_chief(model):
        return
    batches = fitting_batches(model)
    if batches == 0:  # `initial_epoch` is the last
        return
    _check_decay(optimizer)
    with optimizer._outside_of_steps():  # in a step there are no values
        # State that was loaded before is restored by now.
        done = 0 if batches is None else _batches_so_far(optimizer)
    if batches is not None:
        _counted.add(optimizer)
        if _warn_if_without_update(optimizer, done + batches):
            return
        _warn_if_slow(optimizer, model, done + batches)
    if not isinstance(schedule, LearningRateSchedule):
        return
    if not isinstance(schedule, FitSchedule):
        if batches is not None:
            warn_of_another_length(optimizer, schedule, done + batches, fitting_epochs(model))
        return
    if schedule.warn_unless_made_for(batches, done):
        _warned.add(optimizer)
    if not _batch_statistics.recalibrates(fitting_callbacks(model)):
        with optimizer._outside_of_steps():
            _batch_statistics.warn_if_stale(model, _all_batches(schedule, model, batches))


def _all_batches(schedule: FitSchedule, model: keras.Model, batches: int | None) -> int:
    """The batches of `fit`, or of the schedule if `fit` makes some of its epochs."""
    epochs = len(fitting_epochs(model) or ())
    if batches is None or batches * schedule.epochs == schedule.batches * epochs:
        return max(batches or 0, schedule.batches)
    return batches


def _check_decay(optimizer: "LARS") -> None:
    if optimizer not in _decay_checked:
        _decay_checked.add(optimizer)
        _warn_if_decayed_twice(optimizer)
        _warn_if_decay_is_large(optimizer)


def _warn_if_decayed_twice(optimizer: "LARS") -> None:
    """Warn if variables have both the weight decay of LARS and an L2 regularizer of Keras."""
    decayed = [
        row.path
        for row, variable in zip(optimizer.variable_table(), optimizer._trainable_variables)
        if row.decayed and _has_l2(getattr(variable, "regularizer", None))
    ]
    if not decayed:
        return
    warnings.warn(
        f"Optimizer '{optimizer.name}' decays variables that have an L2 regularizer, so they are "
        f"decayed twice: {listed(decayed)}. Remove the regularizers from the layers, or pass "
        f"`weight_decay=0`. Received: weight_decay={optimizer.weight_decay:g}",
        stacklevel=2,
    )


def _has_l2(regularizer: object) -> bool:
    of_keras = (keras.regularizers.L1L2, keras.regularizers.L2)  # those of users may be anything
    return isinstance(regularizer, of_keras) and regularizer.l2 > 0


def _warn_if_decay_is_large(optimizer: "LARS") -> None:
    """Warn of a weight decay for AdamW, which may outweigh the gradients of adapted variables."""
    if optimizer.weight_decay < _LARGE_DECAY:
        return
    if not any(row.adapted and row.decayed for row in optimizer.variable_table()):
        return
    warnings.warn(
        f"`weight_decay` is large for LARS, which adds it to the gradient, as an L2 penalty: a "
        "value for AdamW, such as 0.05, may outweigh the gradients, at least without "
        "normalization. Usual values are 1e-6 to 5e-4. Received: "
        f"weight_decay={optimizer.weight_decay:g}, in optimizer '{optimizer.name}'",
        stacklevel=2,
    )


def _warn_if_without_update(optimizer: KerasOptimizer, batches: int) -> bool:
    """Warn, once for each optimizer, if it makes no update in its first batches, and return True.

    A schedule of `for_fit` is for a number of batches, and warns if `fit` makes fewer.
    """
    if optimizer._accumulation.updates(batches) > 0:
        return False
    if optimizer in _without_update or isinstance(optimizer._schedule, FitSchedule):
        return False
    _without_update.add(optimizer)
    warnings.warn(
        f"`fit` ends after {counted(batches, 'batch', 'batches')}, before the first update of "
        f"optimizer '{optimizer.name}', so it changes no weight. Lower "
        "`gradient_accumulation_steps`, or train for more batches. Received: "
        f"gradient_accumulation_steps={optimizer.gradient_accumulation_steps}",
        stacklevel=2,
    )
    return True


def _warn_if_slow(optimizer: "LARS", model: keras.Model, batches: int) -> None:
    """Warn if the rate is small for the `fit`, unless callbacks or further calls may help.

    In the end, this is looked at again.
    """
    if any(map(_may_set_rate, fitting_callbacks(model))):
        return
    if len(fitting_epochs(model) or ()) > 1:
        _rates.warn_if_slow(optimizer, optimizer._accumulation.updates(batches))


def _may_set_rate(callback: keras.callbacks.Callback) -> bool:
    setters = (keras.callbacks.LearningRateScheduler, keras.callbacks.LambdaCallback)
    is_known = type(callback).__module__.startswith(("keras.", "keras_lars."))
    return isinstance(callback, setters) or not is_known


def warn_of_another_length(
    optimizer: KerasOptimizer,
    schedule: LearningRateSchedule,
    batches: int,
    epochs: range | None,
) -> None:
    """Warn if `fit` goes on long after the end of one of Keras's schedules, or ends far before it.

    A `fit` of one epoch may be one of many, so for it a schedule may be too long.
    """
    updates = optimizer._accumulation.updates(batches)
    end, warm_up = _end_near_zero(optimizer, schedule), warm_up_of(schedule)
    is_whole = epochs is not None and len(epochs) > 1
    if end is not None and updates > end * (1 + _TOLERANCE):
        found = f"has decayed to {_rates.at(optimizer, schedule, end):g} after {end}"
    elif is_whole and updates <= warm_up:
        found = f"warms up for {warm_up}"
    elif is_whole and end is not None and updates < end / 2:
        found = f"decays for {end}"
    else:
        return
    _warned.add(optimizer)
    per_update = ""
    if optimizer.gradient_accumulation_steps is not None:
        per_update = ", divided by `gradient_accumulation_steps`"
    warnings.warn(
        f"`fit` ends after {counted(updates, 'update')}, but the schedule of optimizer "
        f"'{optimizer.name}' {found}. Count the updates of `fit`: batches per epoch times epochs"
        f"{per_update}. Or pass `keras_lars.schedules.for_fit(...)`, which counts them. Received: "
        f"learning_rate=<{type(schedule).__name__}>",
        stacklevel=2,
    )


def _end_near_zero(optimizer: KerasOptimizer, schedule: LearningRateSchedule) -> int | None:
    """The update at which one of Keras's schedules ends, if it ends at a rate near 0."""
    end = end_of(schedule)
    if end is None:
        return None
    peak = _rates.at(optimizer, schedule, warm_up_of(schedule))
    is_near_zero = _rates.at(optimizer, schedule, int(end)) <= _NEAR_ZERO * peak > 0
    return int(end) if is_near_zero else None


def at_epoch_begin(callback: keras.callbacks.Callback, epoch: int) -> None:
    """Warn if the schedule is used up when the first epoch of a `fit` begins.

    By then callbacks such as `BackupAndRestore` have restored the optimizer.
    """
    params = callback.params or {}
    if _CHECKED in params:
        return
    params[_CHECKED] = True
    optimizer = getattr(callback.model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if not isinstance(optimizer, KerasOptimizer):
        return
    schedule = optimizer._schedule
    if not isinstance(schedule, FitSchedule):
        return
    # Batches, because those left over at the end of `fit` make no update.
    done = _batches_so_far(optimizer)
    # `BackupAndRestore` may have restored the end of this epoch, of which all batches are skipped.
    if done < schedule.batches or done == (epoch + 1) * (params.get("steps") or 0):
        return
    _warned.add(optimizer)
    if schedule not in _used_up and _chief.is_chief(callback.model):
        _used_up.add(schedule)
        warnings.warn(
            f"The schedule of optimizer '{optimizer.name}' is used up: it is for "
            f"{counted(schedule.updates, 'update')}, and this `fit` trains at a learning rate of "
            f"0. {_REMEDY}",
            stacklevel=2,
        )


def _batches_so_far(optimizer: KerasOptimizer) -> int:
    # The array is empty if a `MultiOptimizer` of TensorFlow makes the optimizer in its first step.
    return int(keras.ops.convert_to_numpy(optimizer._micro_batches).sum())


def _updates_so_far(optimizer: KerasOptimizer) -> int:
    return int(keras.ops.convert_to_numpy(optimizer.iterations))


def at_end(optimizer: "LARS") -> None:
    """Warn if the ending `fit` did not suit its schedule, unless there was a warning before."""
    if is_failing(optimizer):
        return
    model, schedule = fitted_model(optimizer), optimizer._schedule
    if not _chief.is_chief(model):
        return
    if model is not None:  # a custom loop may go on
        _changed_layers.at_end(optimizer, model)
        batches = _batches_so_far(optimizer)
        if batches == 0 or _warn_if_without_update(optimizer, batches):
            return
        _check_decay(optimizer)
        _warn_if_was_slow(optimizer, model)
    if not isinstance(schedule, LearningRateSchedule):
        return
    is_ours = isinstance(schedule, FitSchedule)
    if optimizer in _warned:
        if is_ours:
            _warned.remove(optimizer)
        return
    end = schedule.updates if is_ours else _end_near_zero(optimizer, schedule)
    later = 0 if end is None else _updates_so_far(optimizer) - end
    if end is not None and later > (0 if is_ours else _TOLERANCE * end):
        if is_ours:
            if schedule in _used_up:
                return
            _used_up.add(schedule)
        else:
            _warned.add(optimizer)
        warnings.warn(
            f"After the end of its schedule, optimizer '{optimizer.name}' made "
            f"{counted(later, 'update')}, at a learning rate of "
            f"{_rates.at(optimizer, schedule, end):g}. {_REMEDY}",
            stacklevel=3,
        )
    elif model is not None and optimizer not in _counted and not model.stop_training:
        _warn_of_uncounted(optimizer, schedule, fitting_epochs(model))


def _warn_of_uncounted(
    optimizer: "LARS", schedule: LearningRateSchedule, epochs: range | None
) -> None:
    """Warn if the schedule is too long for the `fit` that ends, whose size was not known before."""
    batches = _batches_so_far(optimizer)
    if not isinstance(schedule, FitSchedule):
        warn_of_another_length(optimizer, schedule, batches, epochs)
    elif epochs == range(schedule.epochs) and batches < (1 - _TOLERANCE) * schedule.batches:
        schedule.warn_unless_made_for(batches)


def _warn_if_was_slow(optimizer: "LARS", model: keras.Model) -> None:
    """Warn if the rates were too small for the `fit` that ends, unless others may follow.

    A loaded optimizer, which is made from a configuration, may have had larger rates before.
    """
    if optimizer._rules_are_saved or model.stop_training:
        return
    if len(fitting_epochs(model) or ()) > 1:
        _rates.warn_if_was_slow(optimizer, _updates_so_far(optimizer))


class FitChecks(keras.callbacks.Callback):
    """Warns of a `fit` that is too short for batch statistics, or whose schedule is used up."""

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        _batch_statistics.warn_in_fit(self.model, self.params)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        at_epoch_begin(self, epoch)
