"""`WarmUp`: a ramp before any learning-rate schedule."""

from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import CosineDecay, LearningRateSchedule, PolynomialDecay

from keras_lars import _arguments, _chief
from keras_lars._types import Array, Schedule, Tensor
from keras_lars._words import counted


@keras.saving.register_keras_serializable(package="keras_lars")
class WarmUp(LearningRateSchedule):
    """A warm-up from a small learning rate to the start of another schedule, then that schedule.

    Use it with large batches. Early in training, the full learning rate of a large batch can make
    the loss diverge, less often with LARS than without. Five epochs are usual.

    ```python
    peak = schedule(0)
    if step < warmup_steps:
        rate = start_learning_rate + (peak - start_learning_rate) * (step / warmup_steps) ** power
    elif shift_decay:
        rate = schedule(step - warmup_steps)
    else:
        rate = schedule(step)
    ```

    - `shift_decay=True`, as in MLPerf: the decay starts at the end of the warm-up, from the peak.
      Give the decay the remaining updates, `total_steps - warmup_steps`.
    - `shift_decay=False`, as in the code of the paper's authors: the decay counts from step 0, so
      the rate drops at the end of the warm-up. (If the warm-up is the first twentieth of a
      quadratic decay, it drops by a tenth.) Give the decay all updates, `total_steps`.

    The schedule is called with a step, an integer or a float scalar. It returns a float32 scalar,
    or float64 if that is `keras.config.floatx()`. Integer steps are compared and subtracted as
    integers, so the count stays exact beyond 2**24 updates, where float32 is not.

    Args:
        schedule: Float, or a `keras.optimizers.schedules.LearningRateSchedule`, which may be
            another `WarmUp`. A float is the constant learning rate after the warm-up.
        warmup_steps: Integer, 0 to `2**31 - 1`: the number of updates in the warm-up. 0 means no
            warm-up.
        start_learning_rate: Float, 0 or more: the learning rate at step 0. Defaults to 0: the
            first update then changes nothing.
        power: Float, more than 0: the exponent of the warm-up. 1 is linear, 2 quadratic. Defaults
            to 1.
        shift_decay: Boolean. Whether `schedule` counts from the end of the warm-up. Defaults to
            `True`.

    Raises:
        ValueError: If an argument is invalid, or if `shift_decay=False` and the decay ends before
            the warm-up does: the warm-up is longer than training.

    Example:

    >>> decay = keras.optimizers.schedules.PolynomialDecay(8.0, 4, end_learning_rate=0.0, power=2)
    >>> warm_up = WarmUp(decay, warmup_steps=2)
    >>> [float(warm_up(step)) for step in range(7)]
    [0.0, 4.0, 8.0, 4.5, 2.0, 0.5, 0.0]
    >>> paper = WarmUp(decay, warmup_steps=2, start_learning_rate=1.0, shift_decay=False)
    >>> [float(paper(step)) for step in range(5)]
    [1.0, 4.5, 2.0, 0.5, 0.0]

    Reference:
        - [Goyal et al., 2017](https://arxiv.org/abs/1706.02677), section 2.2, for the warm-up.
        - [You et al., 2017](https://arxiv.org/abs/1708.03888), for a warm-up before a quadratic
          decay with LARS.
    """

    def __init__(
        self,
        schedule: float | Schedule,
        warmup_steps: int,
        start_learning_rate: float = 0.0,
        power: float = 1.0,
        shift_decay: bool = True,
    ):
        super().__init__()
        self.schedule = _schedule(schedule)
        self.warmup_steps = _arguments.integer(minimum=0, maximum=_arguments.LARGEST_STEP)(
            "warmup_steps", warmup_steps
        )
        self.start_learning_rate = _arguments.number()("start_learning_rate", start_learning_rate)
        self.power = _arguments.number(positive=True)("power", power)
        self.shift_decay = _arguments.one_of(True, False)("shift_decay", shift_decay)
        if hasattr(self.schedule, "warmup_updates"):  # a `FitSchedule`
            _chief.warn(
                "`schedule` is made by `for_fit`, which warms up itself and counts all updates of "
                "one `fit`. With another warm-up before it, its end is not reached. Pass it to the "
                "optimizer, and `warmup_fraction` to `for_fit`. Received: "
                f"schedule={self.schedule!r}, warmup_steps={self.warmup_steps}",
                stacklevel=2,
            )

        end = None if shift_decay else end_of(schedule)
        if end is not None and self.warmup_steps >= end:
            raise ValueError(
                "`warmup_steps` must be less than the number of updates of `schedule` if "
                "`shift_decay=False`: the decay would end before the warm-up does. "
                f"Received: warmup_steps={warmup_steps}, and a schedule of "
                f"{counted(end, 'update')}"
            )

    def __call__(self, step: float | Array) -> Tensor:
        at = _arguments.step("step", step)
        if self.warmup_steps == 0:
            return self._value(at)
        # In the step's own dtype: float32 holds no odd numbers beyond 2**24.
        warmup_steps = ops.cast(self.warmup_steps, at.dtype)
        # Never negative, because a schedule may, for example, take the root of its step.
        shifted = ops.maximum(at, warmup_steps) - warmup_steps
        after = self._value(shifted if self.shift_decay else at)

        peak = self._value(ops.zeros_like(at))
        fraction = ops.cast(ops.minimum(at, warmup_steps), after.dtype) / self.warmup_steps
        ramp = self.start_learning_rate + (peak - self.start_learning_rate) * fraction**self.power
        return ops.where(at < warmup_steps, ramp, after)

    def _value(self, step: Tensor) -> Tensor:
        schedule = self.schedule
        value = schedule(step) if isinstance(schedule, LearningRateSchedule) else schedule
        dtype = "float64" if keras.config.floatx() == "float64" else "float32"
        return ops.convert_to_tensor(value, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        schedule = self.schedule
        if isinstance(schedule, LearningRateSchedule):
            schedule = keras.optimizers.schedules.serialize(schedule)
        return {
            "schedule": schedule,
            "warmup_steps": self.warmup_steps,
            "start_learning_rate": self.start_learning_rate,
            "power": self.power,
            "shift_decay": self.shift_decay,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmUp":
        config = dict(config)
        if isinstance(config["schedule"], dict):
            config["schedule"] = keras.optimizers.schedules.deserialize(config["schedule"])
        return cls(**config)


def end_of(schedule: object) -> int | None:
    """The step at which a decay ends, or None if it never does, or if that is unknown.

    The attribute `decay_steps` alone proves nothing: in `ExponentialDecay` it is a unit of time.
    """
    if isinstance(schedule, PolynomialDecay):
        return None if schedule.cycle else schedule.decay_steps
    if isinstance(schedule, CosineDecay):
        return warm_up_of(schedule) + schedule.decay_steps
    if isinstance(schedule, WarmUp):
        end = end_of(schedule.schedule)
        return end + schedule.warmup_steps if end is not None and schedule.shift_decay else end
    return None


def warm_up_of(schedule: object) -> int:
    """The number of updates in the warm-up of a schedule, 0 if it has none or is not known."""
    if isinstance(schedule, CosineDecay):
        return schedule.warmup_steps if schedule.warmup_target is not None else 0
    return schedule.warmup_steps if isinstance(schedule, WarmUp) else 0


def _schedule(value: object) -> float | LearningRateSchedule:
    if isinstance(value, LearningRateSchedule):
        return value
    try:
        return _arguments.number()("schedule", value)
    except ValueError:
        must_be = "a finite number >= 0, or a `LearningRateSchedule`"
        raise _arguments.refusal("schedule", must_be, value) from None
