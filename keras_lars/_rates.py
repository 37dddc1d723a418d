"""What `LARS` does with a learning rate that it is given or assigned, before Keras has it."""

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras

from keras_lars._types import LearningRate, Schedule, Tensor
from keras_lars.schedules import FitSchedule

if TYPE_CHECKING:
    from keras_lars.optimizer import LARS

REMEDY = (
    "Callbacks such as `LearningRateScheduler` set absolute learning rates, and values chosen for "
    "SGD or Adam are far too small for LARS. Return multiples of your LARS rate, or remove the "
    "callback and pass `keras_lars.schedules.for_fit(...)` as `learning_rate`."
)

# Rates are float32 where they are read back: 4 times 0.1 times 0.1 is no less than a hundredth.
_TOLERANCE = 1 - 1e-6


def counted(learning_rate: Any, gradient_accumulation_steps: int | Mapping[int, int] | None) -> Any:
    """The learning rate, where it counts the updates of a `fit`, counted for an accumulation."""
    if isinstance(learning_rate, FitSchedule):
        return learning_rate.for_accumulation(gradient_accumulation_steps or 1)
    return learning_rate


def check_assignable(value: LearningRate, schedule: Schedule | Callable[[], Tensor] | None) -> None:
    """Raise where a number is to replace a schedule or a callable.

    Keras raises the same type of error for schedules, and for callables an AttributeError.
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


def is_absolute(value: float, before: float, given: float) -> bool:
    """Whether a rate looks as if it was not meant for LARS.

    It is less than a hundredth of the rate that was given, and got there in one step: a decay comes
    down gradually, at most by tenths. 0 is never meant so: a ramp starts there.
    """
    return 0 < value < given / 100 * _TOLERANCE and value < before / 10 * _TOLERANCE


def warn_if_absolute(optimizer: "LARS", value: LearningRate) -> None:
    """Warn, once for each optimizer, before such a rate is assigned."""
    given = optimizer._given_learning_rate
    if given is None or optimizer._has_warned_of_rate or not isinstance(value, float):
        return
    # What it is now is read only where it matters.
    if is_absolute(value, given, given) and is_absolute(value, current(optimizer), given):
        optimizer._has_warned_of_rate = True
        warnings.warn(
            f"`learning_rate` of optimizer '{optimizer.name}' was set to {value:g}, less than a "
            f"hundredth of the initial {given:g}. {REMEDY}",
            stacklevel=2,
        )


def current(optimizer: "LARS") -> float:
    """The learning rate of the next update."""
    waiting = (optimizer._waiting_state or {}).get("learning_rate")
    if waiting is not None:  # restored, and not built yet
        return float(waiting)
    with optimizer._outside_of_steps():
        return float(keras.ops.convert_to_numpy(optimizer.learning_rate))
