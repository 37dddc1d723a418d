"""`WarmUp`: a ramp before any learning-rate schedule."""

from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import CosineDecay, LearningRateSchedule, PolynomialDecay

from keras_lars import _arguments
from keras_lars._types import Array, Schedule, Tensor
from keras_lars._words import counted


@keras.saving.register_keras_serializable(package="keras_lars")
class WarmUp(LearningRateSchedule):
    """A ramp from a small learning rate to the start of another schedule, and then that schedule.

    Use it where the global batch is large: early in training a large batch's full learning rate
    makes the loss diverge, with LARS less often than without, but still. Five epochs are usual.

    With `peak = schedule(0)`, the learning rate at `step` is

        if step < warmup_steps:
            start_learning_rate
                + (peak - start_learning_rate) * (step / warmup_steps) ** power
        elif shift_decay:
            schedule(step - warmup_steps)
        else:
            schedule(step)

    - `shift_decay=True`, as in MLPerf: the decay starts when the warm-up ends, at the peak. Give
      the decay the updates that are left, `total_steps - warmup_steps`.
    - `shift_decay=False`, as in the code of the paper's authors: the decay counts from step 0, so
      that the rate drops when the warm-up ends (by a tenth where the warm-up is the first
      twentieth of a quadratic decay). Give the decay all updates, `total_steps`.

    Args:
        schedule: Float, or a `keras.optimizers.schedules.LearningRateSchedule`, another `WarmUp`
            included. A float stays what it is after the warm-up.
        warmup_steps: Integer, 0 to `2**31 - 1`: how many updates the ramp lasts. 0 is no warm-up.
        start_learning_rate: Float, 0 or more: the learning rate at step 0. Defaults to 0, where
            the first update moves nothing.
        power: Float, more than 0. 1 (the default) is a linear ramp, 2 a quadratic one.
        shift_decay: Boolean. Whether `schedule` counts from the end of the warm-up. Defaults to
            `True`.

    Raises:
        ValueError: If an argument is not what is said above, or if `shift_decay=False` and the
            decay is over before the warm-up is: a warm-up longer than training.

    Calling it with a step, an integer or a float scalar, gives a scalar: float32, or float64 where
    that is `keras.config.floatx()`. Integer steps are compared and subtracted as integers, so that
    it counts right beyond 2**24 updates, where float32 does not.

    Example:

    >>> decay = keras.optimizers.schedules.PolynomialDecay(8.0, 4, end_learning_rate=0.0, power=2)
    >>> warm_up = WarmUp(decay, warmup_steps=2)
    >>> [float(warm_up(step)) for step in range(7)]
    [0.0, 4.0, 8.0, 4.5, 2.0, 0.5, 0.0]
    >>> paper = WarmUp(decay, warmup_steps=2, start_learning_rate=1.0, shift_decay=False)
    >>> [float(paper(step)) for step in range(5)]
    [1.0, 4.5, 2.0, 0.5, 0.0]

    References:
        [Goyal et al., 2017](https://arxiv.org/abs/1706.02677), section 2.2, for the warm-up;
        [You et al., 2017](https://arxiv.org/abs/1708.03888), for a warm-up before a quadratic
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

        end = None if shift_decay else _end_of(schedule)
        if end is not None and self.warmup_steps >= end:
            raise ValueError(
                "`warmup_steps` must be less than the updates that `schedule` lasts where "
                "`shift_decay=False`: the decay would be over before the warm-up is. "
                f"Received: warmup_steps={warmup_steps}, and a schedule of "
                f"{counted(end, 'update')}"
            )

    def __call__(self, step: float | Array) -> Tensor:
        at = _arguments.step("step", step)
        if self.warmup_steps == 0:
            return self._value(at)
        # In the step's own dtype: float32 holds no odd numbers beyond 2**24.
        warmup_steps = ops.cast(self.warmup_steps, at.dtype)
        # No negative step for a schedule that takes, say, its root.
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


def _end_of(schedule: Any) -> int | None:
    """The step at which a decay is over, or None where it is never, or nobody can know.

    A `decay_steps` alone does not tell: that of `ExponentialDecay` is a unit of time, no end.
    """
    if isinstance(schedule, PolynomialDecay):
        return None if schedule.cycle else schedule.decay_steps
    if isinstance(schedule, CosineDecay):
        warm_up = schedule.warmup_steps if schedule.warmup_target is not None else 0
        return warm_up + schedule.decay_steps
    if isinstance(schedule, WarmUp):
        end = _end_of(schedule.schedule)
        return end + schedule.warmup_steps if end is not None and schedule.shift_decay else end
    return None


def _schedule(value: Any) -> float | LearningRateSchedule:
    if isinstance(value, LearningRateSchedule):
        return value
    try:
        return _arguments.number()("schedule", value)
    except ValueError:
        must_be = "a finite number >= 0, or a `LearningRateSchedule`"
        raise _arguments.refusal("schedule", must_be, value) from None
