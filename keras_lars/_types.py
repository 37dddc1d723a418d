"""Types of public arguments. Keras is untyped: to a type checker its classes are `Any`.

A union with `Any` accepts everything, so protocols describe the objects of Keras.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, TypeAlias, TypedDict

Tensor: TypeAlias = Any  # of any backend; the backends share no type

Format: TypeAlias = Literal["csv", "jsonl", "tensorboard"]  # the format of a record


class Array(Protocol):
    """A tensor, a variable, or a NumPy array or scalar."""

    @property
    def shape(self) -> Any: ...

    @property
    def dtype(self) -> Any: ...


class Variable(Array, Protocol):
    """A `keras.Variable`, or a backend's own."""

    @property
    def name(self) -> str: ...


class Schedule(Protocol):
    """A `keras.optimizers.schedules.LearningRateSchedule`."""

    def __call__(self, step: Any) -> Tensor: ...

    def get_config(self) -> dict[str, Any]: ...


LearningRate: TypeAlias = float | Array | Schedule | Callable[[], Tensor]


class KerasArguments(TypedDict, total=False):
    """The arguments that `LARS` passes on to `keras.optimizers.Optimizer`."""

    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    loss_scale_factor: float | None
    gradient_accumulation_steps: int | Mapping[int, int] | None
