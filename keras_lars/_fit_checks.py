"""What LARS checks of a `fit`: whether its schedule and its batch statistics suit it.

LARS is built inside of its first `fit`, and Keras calls `finalize_variable_values` at the end of
each. At the beginning of later ones only callbacks are called.
"""

import warnings
import weakref

import keras

from keras_lars import _batch_statistics
from keras_lars._keras.fitted_model import fitted_model, fitting_batches, fitting_callbacks
from keras_lars._keras.optimizer import KerasOptimizer
from keras_lars._words import counted
from keras_lars.schedules import FitSchedule

_REMEDY = "Compile with a new schedule before each `fit`."

# A key in the parameters that `fit` passes to all of its callbacks.
_CHECKED = "_schedule_is_checked"
# The optimizers whose running `fit` has been warned that its schedule does not suit it.
_warned: "weakref.WeakSet[KerasOptimizer]" = weakref.WeakSet()


def at_build(optimizer: KerasOptimizer) -> None:
    """Warn if the schedule is for another `fit`, or if `fit` is short for batch statistics."""
    schedule = optimizer._schedule
    if not isinstance(schedule, FitSchedule):
        return
    model = fitted_model(optimizer)
    if model is None:
        return
    batches = fitting_batches(model)
    with optimizer._outside_of_steps():  # in a step there are no values
        # State that was loaded before is restored by now.
        done = 0 if batches is None else _batches_so_far(optimizer)
    if schedule.warn_unless_made_for(batches, done):
        _warned.add(optimizer)
    if not _batch_statistics.recalibrates(fitting_callbacks(model)):
        with optimizer._outside_of_steps():
            _batch_statistics.warn_if_stale(model, batches or schedule.batches)


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
    if _batch_statistics.is_chief(callback.model):
        warnings.warn(
            f"The schedule of optimizer '{optimizer.name}' is used up: it is for "
            f"{counted(schedule.updates, 'update')}, and this `fit` trains at a learning rate of "
            f"0. {_REMEDY}",
            stacklevel=2,
        )


def _batches_so_far(optimizer: KerasOptimizer) -> int:
    return int(keras.ops.convert_to_numpy(optimizer._micro_batches))


def at_end(optimizer: KerasOptimizer) -> None:
    """Warn if the `fit` that ends went on after the end of the schedule, unless it was told so."""
    schedule = optimizer._schedule
    if optimizer in _warned:
        _warned.remove(optimizer)
    elif isinstance(schedule, FitSchedule):
        later = int(keras.ops.convert_to_numpy(optimizer.iterations)) - schedule.updates
        if later > 0:
            warnings.warn(
                f"After the end of its schedule, optimizer '{optimizer.name}' made "
                f"{counted(later, 'update')}, at a learning rate of 0. {_REMEDY}",
                stacklevel=3,
            )


class FitChecks(keras.callbacks.Callback):
    """Warns of a `fit` that is too short for batch statistics, or whose schedule is used up."""

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        _batch_statistics.warn_in_fit(self.model, self.params)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        at_epoch_begin(self, epoch)
