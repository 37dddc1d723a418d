"""Checks of the learning rate that `LARS` is given or assigned, before Keras gets it."""

import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras
from keras.optimizers.schedules import LearningRateSchedule

from keras_lars import _arguments, _backends, _chief, _words
from keras_lars._exclusions import bias_or_normalization, rank_at_most
from keras_lars._keras.fitted_model import fitted_model, is_in_batch
from keras_lars._types import LearningRate, Schedule, Tensor
from keras_lars.schedules import FitSchedule

if TYPE_CHECKING:
    from keras_lars._keras.optimizer import KerasOptimizer
    from keras_lars.optimizer import LARS

REMEDY = (
    "Callbacks such as `LearningRateScheduler` set absolute learning rates, and values chosen for "
    "SGD or Adam are far too small for LARS. Return multiples of your LARS rate, or remove the "
    "callback and pass `keras_lars.schedules.for_fit(...)` as `learning_rate`."
)

# How the warning of `warn_if_tiny` begins.
TINY = "`learning_rate` is far too small for LARS"
# If a gradient moves a variable by less than this share of its norm, there is this warning.
_LEAST_STEP = 3e-5
# There is a warning if all updates of a `fit` together move a variable by less than the first share
# of its norm, and a single gradient moves it by less than the second.
_LEAST_PATH, _SMALL_STEP = 0.25, 3e-4
# The search for the largest rate of a schedule doubles the number of the update this often, from 1.
_DOUBLINGS = 21
# Rules that exclude no kernels.
_WITHOUT_KERNELS = (bias_or_normalization(), rank_at_most(1))

# Rates are read back as float32. So 4 * 0.1 * 0.1 must not count as less than a hundredth of 4.
_TOLERANCE = 1 - 1e-6

# The optimizers that were warned that their rate never changes.
_fixed: "weakref.WeakSet[KerasOptimizer]" = weakref.WeakSet()
# The optimizers whose rate is so small that it looks absolute, but rises from batch to batch.
_rising: "weakref.WeakSet[LARS]" = weakref.WeakSet()


def counted(learning_rate: Any, gradient_accumulation_steps: int | Mapping[int, int] | None) -> Any:
    """The learning rate; a `FitSchedule` is adapted to the gradient accumulation."""
    if isinstance(learning_rate, FitSchedule):
        return learning_rate.for_accumulation(gradient_accumulation_steps or 1)
    return learning_rate


def check_assignable(value: LearningRate, schedule: Schedule | Callable[[], Tensor] | None) -> None:
    """Raise TypeError if a number is about to replace a schedule or a callable.

    Keras raises the same for schedules, but an AttributeError for callables.
    """
    if schedule is not None and not callable(value):
        raise TypeError(
            "`learning_rate` must not be assigned a number if it is a `LearningRateSchedule` or a "
            "callable. Callbacks that do so, such as `LearningRateScheduler` and "
            "`ReduceLROnPlateau`, need an optimizer whose learning rate is a number: use either "
            f"the callback or the schedule. Received: learning_rate={value!r}, but it is "
            f"{_described(schedule)}"
        )


def _described(schedule: object) -> str:
    is_ours = isinstance(schedule, FitSchedule)
    return repr(schedule) if is_ours else f"of type {type(schedule).__name__}"


def check_first(optimizer: "LARS") -> None:
    """Raise ValueError if a schedule returns for update 0 what cannot be a learning rate.

    A callable is checked when an update calls it: it may count its calls.
    """
    schedule: Any = optimizer._schedule
    if not _is_opaque(schedule):
        return
    with optimizer._outside_of_steps():
        try:
            rate = schedule(keras.ops.convert_to_tensor(0, optimizer._micro_batches.dtype))
        except Exception:  # the user's, which the update raises as well
            return
        _arguments.returned_rate(schedule, rate)
        if hasattr(rate, "dtype"):
            _arguments.returned_rate(schedule, keras.ops.convert_to_numpy(rate))


def warn_if_fixed(optimizer: "KerasOptimizer", rate: Any) -> None:
    """Warn, once for each optimizer, if a compiled step keeps what a callable returned."""
    if optimizer in _fixed or not _backends.current().keeps(rate, optimizer._micro_batches):
        return
    _fixed.add(optimizer)
    _chief.warn(
        "The callable `learning_rate` is called once, when the training step is compiled, so the "
        "rate never changes. Pass a `LearningRateSchedule`. Or pass a number, and assign new ones "
        "to `optimizer.learning_rate`. Received: learning_rate="
        f"{_arguments.shown(optimizer._schedule)}, which returns {_arguments.shown(rate)}, in "
        f"optimizer '{optimizer.name}'",
        stacklevel=3,
    )


def warn_if_tiny(optimizer: "LARS") -> bool:
    """Warn if an optimizer was given a learning rate, or a schedule, meant for SGD or Adam.

    There is no warning where such a rate may be meant: if the ratio is clipped, or if rules exclude
    all variables from adaptation.

    Returns:
        Boolean, whether `build` must call this again: only then schedules are called, and it is
        known what the rules exclude.
    """
    if optimizer.trust_clip or not optimizer.trust_coefficient:
        return False
    schedule, given = optimizer._schedule, optimizer._given_learning_rate
    if _is_opaque(schedule) and not optimizer.built:
        return True
    peak = _peak(optimizer, _LEAST_STEP)
    # A constant rate of 0 may be meant, to stop training.
    if peak is None or (peak == 0 and schedule is None):
        return False
    step = peak * optimizer.trust_coefficient
    if step >= _LEAST_STEP:
        return False
    if optimizer.built:
        if not any(row.adapted for row in optimizer.variable_table()):
            return False
        # Another rate may have been assigned, such as that of a warm-up.
        if schedule is None and given != optimizer._assigned_learning_rate:
            return False
    elif any(rule not in _WITHOUT_KERNELS for rule in optimizer._adaptation_rules):
        return True
    received = repr(given if schedule is None else schedule)
    if _is_opaque(schedule):
        received = f"<{type(schedule).__name__} of at most {peak:g}>"
    what = "an adapted variable" if optimizer._adaptation_rules else "a variable"
    _warn(
        optimizer,
        f"{TINY}: a gradient moves {what} by only {100 * step:.2g} % of its norm. Rates for SGD "
        f"or Adam do not suit LARS. {_usual(optimizer)} Received: learning_rate={received}, "
        f"trust_coefficient={optimizer.trust_coefficient:g}, in optimizer '{optimizer.name}'",
    )
    return False


def warn_if_slow(optimizer: "LARS", updates: int) -> None:
    """Warn if a rate below the usual ones can move no variable far in all updates of a `fit`.

    There is no warning where `warn_if_tiny` has none, nor if the rate has been assigned.
    """
    schedule = optimizer._schedule
    if schedule is None and optimizer._given_learning_rate != optimizer._assigned_learning_rate:
        return
    peak = _peak(optimizer, _SMALL_STEP)
    if peak is None or not _is_slow(optimizer, updates, peak):
        return
    received = f"<{type(schedule).__name__} of at most {peak:g}>" if schedule else f"{peak:g}"
    _warn_of_slow(optimizer, updates, peak, f"learning_rate={received}", _usual(optimizer))


def warn_if_was_slow(optimizer: "LARS", updates: int) -> None:
    """Warn, after this many updates, if their rates were too small, assigned ones included."""
    largest = optimizer._largest_assigned_rate
    if largest is None:
        warn_if_slow(optimizer, updates)
        return
    peak = max(largest, current(optimizer))
    if _is_slow(optimizer, updates, peak):
        _warn_of_slow(optimizer, updates, peak, f"learning rates of at most {peak:g}", REMEDY)


def _is_slow(optimizer: "LARS", updates: int, peak: float) -> bool:
    if optimizer.trust_clip or optimizer._has_warned_of_rate:
        return False
    step = peak * optimizer.trust_coefficient
    is_small = 0 < step < _SMALL_STEP and _path(optimizer, updates, peak) < _LEAST_PATH
    return is_small and any(row.adapted for row in optimizer.variable_table())


def _path(optimizer: "LARS", updates: int, peak: float) -> float:
    """How far updates at this rate move a variable at most, as a multiple of its norm."""
    return updates * peak * optimizer.trust_coefficient / (1 - optimizer.momentum)


def _warn_of_slow(optimizer: "LARS", updates: int, peak: float, received: str, remedy: str) -> None:
    _warn(
        optimizer,
        f"`learning_rate` is small for {_words.counted(updates, 'update')}: together they move an "
        f"adapted variable by at most {100 * _path(optimizer, updates, peak):.2g} % of its norm, "
        f"and weights that start at random must move further. {remedy} Received: {received}, "
        f"trust_coefficient={optimizer.trust_coefficient:g}, momentum={optimizer.momentum:g}, in "
        f"optimizer '{optimizer.name}'",
    )


def _warn(optimizer: "LARS", message: str) -> None:
    optimizer._has_warned_of_rate = True
    _chief.warn(message, stacklevel=4, model=fitted_model(optimizer))


def _usual(optimizer: "LARS") -> str:
    usual = "{:g} to {:g}".format(*(x / optimizer.trust_coefficient for x in (0.004, 0.04)))
    return f"Use {usual}, or pass `keras_lars.schedules.for_fit(...)`, which chooses the rate."


def _is_opaque(schedule: object) -> bool:
    """Whether only calls tell the rates of a schedule."""
    return isinstance(schedule, LearningRateSchedule) and not isinstance(schedule, FitSchedule)


def _peak(optimizer: "LARS", enough: float) -> float | None:
    """The largest learning rate, of schedules at the updates 0, 1, 2, 4, 8 and so on.

    The search ends at a rate with which a gradient moves a variable by `enough` of its norm. `None`
    if nothing is known: for a callable, and for a schedule that fails, as it may if it is for fewer
    updates.
    """
    schedule = optimizer._schedule
    if schedule is None:
        return optimizer._given_learning_rate
    if isinstance(schedule, FitSchedule):
        return schedule.peak
    if not isinstance(schedule, LearningRateSchedule):
        return None
    largest = 0.0
    for update in (0, *(2**power for power in range(_DOUBLINGS))):
        try:
            largest = max(largest, at(optimizer, schedule, update))
        except Exception:  # whatever a user's function raises
            return None
        if largest * optimizer.trust_coefficient >= enough:
            break
    return largest


def at(optimizer: "KerasOptimizer", schedule: LearningRateSchedule, update: int) -> float:
    """The learning rate at an update."""
    with optimizer._outside_of_steps():
        step = keras.ops.convert_to_tensor(update, optimizer._micro_batches.dtype)
        return float(keras.ops.convert_to_numpy(schedule(step)))


def is_absolute(value: float, before: float, given: float) -> bool:
    """Whether a rate looks like an absolute one that was not meant for LARS.

    It is less than a hundredth of the given rate, and less than a tenth of the rate before it: a
    decay takes smaller steps. A rate of 0 does not count, because a warm-up starts there.
    """
    return 0 < value < given / 100 * _TOLERANCE and value < before / 10 * _TOLERANCE


def warn_if_absolute(optimizer: "LARS", value: LearningRate) -> None:
    """Warn, once for each optimizer, before an absolute rate is assigned.

    In a callback of batches it may begin a warm-up. Then there is a warning once it stops rising.
    """
    given = optimizer._given_learning_rate
    if given is None or optimizer._has_warned_of_rate or not isinstance(value, float):
        return
    if not is_absolute(value, given, given):
        _rising.discard(optimizer)
        return
    before = current(optimizer)  # read only if it matters
    if optimizer in _rising:
        if value * _TOLERANCE > before:
            return
    elif not is_absolute(value, before, given):
        return
    elif is_in_batch():
        _rising.add(optimizer)
        return
    _warn(
        optimizer,
        f"`learning_rate` of optimizer '{optimizer.name}' was set to {value:g}, less than a "
        f"hundredth of the initial {given:g}. {REMEDY}",
    )


def may_rise(optimizer: "LARS") -> bool:
    """Whether a callback sets rates that look absolute, but may be the beginning of a warm-up."""
    return optimizer in _rising


def note_assigned(optimizer: "LARS", value: float) -> None:
    """Remember the largest rate that updates may have been made with, if any is assigned."""
    before = optimizer._largest_assigned_rate
    if before is None:
        with optimizer._outside_of_steps():
            is_used = int(keras.ops.convert_to_numpy(optimizer._micro_batches)) > 0
        before = optimizer._given_learning_rate if is_used else None
    optimizer._largest_assigned_rate = value if before is None else max(before, value)


def current(optimizer: "LARS") -> float:
    """The learning rate of the next update."""
    with optimizer._outside_of_steps():
        return float(keras.ops.convert_to_numpy(optimizer.learning_rate))
