"""`for_fit`: warm-up and decay over exactly the updates that one `fit` makes."""

import math
import warnings
from collections.abc import Mapping
from typing import Any

import keras
from keras.optimizers.schedules import LearningRateSchedule, PolynomialDecay

from keras_lars import _accumulation, _arguments, _chief
from keras_lars._words import counted
from keras_lars.schedules._scaling import sqrt_scaling
from keras_lars.schedules._warm_up import WarmUp

# The batch size of `fit`, unless it is given one.
_BATCH_SIZE_OF_FIT = 32

# With fewer updates, a fifth of them is no warm-up, and few are made at a useful rate.
_FEW_UPDATES = 40


@keras.saving.register_keras_serializable(package="keras_lars")
class FitSchedule(LearningRateSchedule):
    """A linear warm-up and a polynomial decay to 0 over all updates of one `fit`.

    Use `keras_lars.schedules.for_fit` to make one: it also chooses the peak. Use the class only to
    recognize such a schedule, or to read `peak`, `updates` and `warmup_updates`.

    ```python
    batch_size = global_batch_size // gradient_accumulation_steps
    batches = samples // batch_size if drop_remainder else ceil(samples / batch_size)
    updates = epochs * batches // gradient_accumulation_steps  # leftover batches carry over
    warmup_updates = floor(warmup_fraction * updates)
    decay = PolynomialDecay(peak, updates - warmup_updates, 0.0, power)
    learning_rate = WarmUp(decay, warmup_updates)(update)
    ```

    Args:
        samples: Integer, 1 or more. This and the next arguments are explained in `for_fit`.
        epochs: Integer, 1 or more.
        global_batch_size: Integer, 1 or more.
        peak: Float, more than 0: the learning rate at the end of the warm-up.
        warmup_fraction: Float in [0, 1). Defaults to 0.2.
        power: Float, more than 0. Defaults to 2.
        drop_remainder: Boolean. Defaults to `False`.
        gradient_accumulation_steps: Integer, 1 or more: the number of batches in one update. Or a
            dictionary; then `global_batch_size` is that of the largest update. `keras_lars.LARS`
            sets it from its own argument. Defaults to 1.

    Raises:
        ValueError: If an argument is invalid, if `global_batch_size` is not divisible by
            `gradient_accumulation_steps`, or if `fit` would make no update.

    Example:

    >>> schedule = keras_lars.schedules.FitSchedule(5000, 8, 4096, peak=20.0)
    >>> schedule
    FitSchedule(peak=20, updates=16, warm-up=3 updates)
    >>> schedule.for_accumulation(4)  # 5 batches of 1,024 an epoch, 40 in all
    FitSchedule(peak=20, updates=10, warm-up=2 updates)

    Reference: [You et al., 2017](https://arxiv.org/abs/1708.03888), a warm-up before a quadratic
    decay with LARS.
    """

    def __init__(
        self,
        samples: int,
        epochs: int,
        global_batch_size: int,
        peak: float,
        warmup_fraction: float = 0.2,
        power: float = 2.0,
        drop_remainder: bool = False,
        gradient_accumulation_steps: int | Mapping[int, int] = 1,
    ):
        super().__init__()
        positive = _arguments.integer(minimum=1)
        self.samples = positive("samples", samples)
        self.epochs = positive("epochs", epochs)
        self.global_batch_size = positive("global_batch_size", global_batch_size)
        self.peak = _arguments.number(positive=True)("peak", peak)
        self.warmup_fraction = _arguments.number(below=1)("warmup_fraction", warmup_fraction)
        self.power = _arguments.number(positive=True)("power", power)
        self.drop_remainder = _arguments.one_of(False, True)("drop_remainder", drop_remainder)
        self.gradient_accumulation_steps = _accumulation.steps(minimum=1)(
            "gradient_accumulation_steps", gradient_accumulation_steps
        )
        self._accumulation = _accumulation.of(self.gradient_accumulation_steps)
        self.batches = self._count()
        self.updates = self._accumulation.updates(self.batches)
        # Rounded, because 0.29 * 100 is a little less than 29. The decay needs at least one update.
        warmup_updates = int(round(self.warmup_fraction * self.updates, 6))
        self.warmup_updates = min(warmup_updates, self.updates - 1)
        decay = PolynomialDecay(self.peak, self.updates - self.warmup_updates, 0.0, self.power)
        self._schedule = WarmUp(decay, self.warmup_updates, shift_decay=True)

    def _count(self) -> int:
        """The number of batches in the whole `fit`."""
        steps = self.gradient_accumulation_steps
        most = self._accumulation.most
        if self.global_batch_size % most:
            raise ValueError(
                "`global_batch_size` must be divisible by `gradient_accumulation_steps`: it is "
                "the total number of samples in the micro-batches of the largest update. Received: "
                f"global_batch_size={self.global_batch_size}, gradient_accumulation_steps={steps}"
            )
        batch_size = self.global_batch_size // most
        whole, left_over = divmod(self.samples, batch_size)
        if whole == 0 and self.drop_remainder:
            raise ValueError(
                "`global_batch_size` must be at most `samples` if `drop_remainder=True`: otherwise "
                f"there is no full batch. Received: global_batch_size={self.global_batch_size}, "
                f"samples={self.samples}, gradient_accumulation_steps={steps}"
            )
        batches = self.epochs * (whole + (left_over > 0 and not self.drop_remainder))
        if batches > _arguments.LARGEST_STEP:
            raise ValueError(
                "`epochs` must give fewer than 2**31 batches, the limit of the counters. "
                f"Received: epochs={self.epochs}, batches={batches}"
            )
        if not self._accumulation.updates(batches):
            raise ValueError(
                "`epochs` must give at least one update, which needs "
                f"`gradient_accumulation_steps` batches. Received: epochs={self.epochs}, "
                f"batches={batches}, gradient_accumulation_steps={steps}"
            )
        return batches

    def warn_unless_made_for(self, batches: int | None, done: int = 0) -> bool:
        """Warn if `fit` ends after another number of batches than this schedule, if that is known.

        With more batches the rate stays at 0 until the end; with fewer it never reaches 0. `LARS`
        calls this when it is built in `fit`, after `done` batches, if it continues a training run.

        Returns:
            Boolean, whether there was a warning.
        """
        if batches is None or done + batches == self.batches:
            return False
        after = f" after {done}" if done else ""
        warnings.warn(
            f"`fit` makes {counted(batches, 'batch', 'batches')}{after}, but this schedule is for "
            f"{self.batches}. Give `for_fit` the samples, epochs and batch size of `fit`."
            f"{self._likely_cause(batches)} Received: samples={self.samples}, "
            f"epochs={self.epochs}, global_batch_size={self.global_batch_size}, "
            f"gradient_accumulation_steps={self.gradient_accumulation_steps}",
            stacklevel=2,
        )
        return True

    def _likely_cause(self, batches: int) -> str:
        """A hint, if a common mistake leads to exactly this number of batches."""

        def of(samples: int, batch_size: int) -> int:
            return self.epochs * math.ceil(samples / batch_size)

        batch_size = self.global_batch_size // self._accumulation.most
        if batches == of(self.samples, _BATCH_SIZE_OF_FIT):
            return f" Without `batch_size`, `fit` uses {_BATCH_SIZE_OF_FIT}."
        # As `fit` rounds, of any whole percentage.
        remaining = (math.floor(self.samples * (1.0 - percent / 100)) for percent in range(1, 51))
        if batches in (of(samples, batch_size) for samples in remaining):
            return " Do not count the samples that `validation_split` holds out."
        epochs = batches * self.epochs / self.batches
        if epochs < self.epochs and epochs.is_integer():
            made = f"{epochs:.0f} of {counted(self.epochs, 'epoch')}"
            return f" It is right if these are {made}, and further calls of `fit` make the others."
        return ""

    def for_accumulation(
        self, gradient_accumulation_steps: int | Mapping[int, int]
    ) -> "FitSchedule":
        """The same schedule, recounted for this many accumulation steps.

        `LARS` calls it with its own number. `fit` then makes `epochs * ceil(samples / batch_size)`
        batches of `global_batch_size // gradient_accumulation_steps` samples. Batches that are left
        over at the end of an epoch go into the first update of the next. If the number of steps
        changes, the largest one sets the batch size.
        """
        if gradient_accumulation_steps == self.gradient_accumulation_steps:
            return self
        config = {**self.get_config(), "gradient_accumulation_steps": gradient_accumulation_steps}
        return type(self)(**config)

    def __call__(self, step: Any) -> Any:
        return self._schedule(step)

    def __repr__(self) -> str:
        ramp = counted(self.warmup_updates, "update")
        return f"FitSchedule(peak={self.peak:.3g}, updates={self.updates}, warm-up={ramp})"

    def get_config(self) -> dict[str, Any]:
        return {
            "samples": self.samples,
            "epochs": self.epochs,
            "global_batch_size": self.global_batch_size,
            "peak": self.peak,
            "warmup_fraction": self.warmup_fraction,
            "power": self.power,
            "drop_remainder": self.drop_remainder,
            "gradient_accumulation_steps": _accumulation.plain(self.gradient_accumulation_steps),
        }


def for_fit(
    samples: int,
    epochs: int,
    global_batch_size: int,
    learning_rate: float | None = None,
    base_learning_rate: float = 4.0,
    base_batch_size: int = 128,
    maximum_learning_rate: float = 30.0,
    warmup_fraction: float = 0.2,
    power: float = 2.0,
    drop_remainder: bool = False,
    gradient_accumulation_steps: int | Mapping[int, int] = 1,
) -> FitSchedule:
    """A learning-rate schedule for one `fit`: warm-up from 0, a peak by batch size, decay to 0.

    Use it as the learning rate of `LARS` when you train with `model.fit`. It counts the updates
    exactly as `fit` makes them, so the rate reaches 0 just as training ends. A schedule serves one
    `fit`: compile with a new one before the next.

    ```python
    peak = learning_rate or min(
        base_learning_rate * sqrt(global_batch_size / base_batch_size), maximum_learning_rate
    )
    updates = epochs * ceil(samples / global_batch_size)  # or the floor, with drop_remainder
    warmup_updates = floor(warmup_fraction * updates)
    if update < warmup_updates:
        rate = peak * update / warmup_updates
    else:
        rate = peak * (1 - (update - warmup_updates) / (updates - warmup_updates)) ** power
    ```

    `LARS(schedule, gradient_accumulation_steps=k)` recounts the updates for its `k`, because
    leftover batches carry over into the next epoch. Call `fit` with
    `batch_size=global_batch_size // k`. If the steps grow during training, `k` is the largest.
    Keras's own optimizers count micro-batches, so use the schedule with them only without
    accumulation.

    Args:
        samples: Integer, 1 or more: the samples of one epoch over all workers, excluding those held
            out by `validation_split`. With `steps_per_epoch`, give
            `steps_per_epoch * global_batch_size // k`.
        epochs: Integer, 1 or more: the epochs of the whole training run.
        global_batch_size: Integer, 1 or more: the samples in one update (the largest, if updates
            grow), over all replicas and accumulated micro-batches.
        learning_rate: Float, more than 0: the peak. `None` derives it from the batch size. Defaults
            to `None`.
        base_learning_rate: Float, more than 0: the peak at `base_batch_size`. Defaults to 4.
        base_batch_size: Integer, 1 or more. Defaults to 128.
        maximum_learning_rate: Float, more than 0: the upper limit of a peak that is derived from
            the batch size. Defaults to 30.
        warmup_fraction: Float in [0, 1): the fraction of updates used for warm-up. With 0, or with
            too few updates for a warm-up, the first update is made at the peak. Defaults to 0.2.
        power: Float, more than 0: the exponent of the decay. 1 is a linear decay. Defaults to 2.
        drop_remainder: Boolean. Whether the dataset drops the last, incomplete batch of an epoch,
            as `tf.data.Dataset.batch(size, drop_remainder=True)` does. Defaults to `False`.
        gradient_accumulation_steps: Integer or dictionary, as in `LARS`. Pass it to see how many
            updates `fit` will make; `LARS` uses its own argument in any case. Defaults to 1.

    Returns:
        A `keras_lars.schedules.FitSchedule`, with the attributes `peak`, `updates` and
        `warmup_updates`.

    Raises:
        ValueError: If an argument is invalid, or if `fit` would make no update, for example because
            a batch is larger than the data and `drop_remainder=True`.

    Warns if `fit` makes fewer than 40 updates. `LARS` warns if the `fit` that builds it makes a
    different number of batches, and at the end of a `fit` that went on after the schedule's end.

    Example:

    >>> schedule = keras_lars.schedules.for_fit(60_000, epochs=8, global_batch_size=4096)
    >>> schedule
    FitSchedule(peak=22.6, updates=120, warm-up=24 updates)
    >>> [round(float(schedule(update)), 1) for update in (0, 12, 24, 72, 120)]
    [0.0, 11.3, 22.6, 5.7, 0.0]
    >>> optimizer = keras_lars.LARS(schedule)

    Reference: [You et al., 2017](https://arxiv.org/abs/1708.03888), a warm-up before a quadratic
    decay with LARS; [Krizhevsky, 2014](https://arxiv.org/abs/1404.5997), the square root.
    """
    positive = _arguments.number(positive=True)
    base_learning_rate = positive("base_learning_rate", base_learning_rate)
    maximum = positive("maximum_learning_rate", maximum_learning_rate)
    peak = _arguments.number(positive=True, none=True)("learning_rate", learning_rate)
    scaled = sqrt_scaling(base_learning_rate, global_batch_size, base_batch_size)
    schedule = FitSchedule(
        samples,
        epochs,
        global_batch_size,
        peak=min(scaled, maximum) if peak is None else peak,
        warmup_fraction=warmup_fraction,
        power=power,
        drop_remainder=drop_remainder,
        gradient_accumulation_steps=gradient_accumulation_steps,
    )
    if schedule.updates < _FEW_UPDATES:
        _chief.warn(
            f"`fit` will make only {counted(schedule.updates, 'update')}. With fewer than "
            f"{_FEW_UPDATES} there is no room for a warm-up and a decay. Train for more epochs, or "
            "use a smaller batch. Received: "
            f"samples={samples}, epochs={epochs}, global_batch_size={global_batch_size}",
            stacklevel=2,
        )
    return schedule
