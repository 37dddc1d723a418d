"""The contract between the optimizer and a Keras backend.

`LARS.apply` calls one method, `Backend.apply`. It sums the gradients over replicas, adds them up
over micro-batches, clips them, updates weights and velocities by `_update_rule`, records the
ratios, averages the weights and applies constraints. Methods that a backend need not implement have
defaults here.
"""

import abc
import contextlib
import dataclasses
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import keras

from keras_lars._types import Tensor, Variable
from keras_lars._update_rule import UpdateConfig, VariableConfig
from keras_lars._variable_table import VariableTable

if TYPE_CHECKING:
    from keras_lars._keras.optimizer import KerasOptimizer


class Slots(NamedTuple):
    """The variables that an update reads and writes: a list for each kind.

    The lists are indexed by position among the trainable variables. An entry is `None` if the
    variable has no such slot: without momentum, averages or accumulation, or if Keras overwrites
    the variable.
    """

    variables: list[Tensor]
    velocities: list[Tensor]
    averages: list[Tensor]
    accumulators: list[Tensor]


class Squares(NamedTuple):
    """The variables that hold squared gradient norms, which `_noise_scale` explains.

    Attributes:
        parts: Sums over the micro-batches so far, followed by the number of these. `None` without
            accumulation. shape=(variables + 1,)
        last: The squared norms of the last update: the mean over its parts, and that of the mean
            gradient. shape=(2, variables)
        replicas: The number of replicas, each of which computes one part of a batch.
    """

    parts: Tensor
    last: Tensor
    replicas: int


@dataclasses.dataclass(frozen=True)
class BuiltUpdate:
    """How a built optimizer updates. A dataclass, because Keras tracks what a tuple or list holds.

    Attributes:
        config: The settings that all variables share.
        variable_configs: The settings of each variable, by position.
        table: The same settings as a table for users, with the rules behind them.
        record: The variable that holds norms and ratios, or `None` if they are not recorded.
        squares: The variables that hold squared gradient norms, or `None`.
        compiled: Whether XLA compiles the update of each variable, on TensorFlow.
        programs: The compiled functions, kept alive as long as this object.
        traced: On TensorFlow, the positions of the variables that the last traced update updates.
        plans: On torch, the groups of variables that one call updates, cached as long as this
            object lives.
    """

    config: UpdateConfig
    variable_configs: list[VariableConfig]
    table: VariableTable
    record: keras.Variable | None
    squares: Squares | None
    compiled: bool
    programs: set[Any] = dataclasses.field(default_factory=set)
    traced: set[int] = dataclasses.field(default_factory=set)
    plans: dict[Hashable, Any] = dataclasses.field(default_factory=dict)


class Backend(abc.ABC):
    """What the optimizer needs from a Keras backend.

    The defaults suit a backend without replicas, without traced graphs and without XLA.
    """

    @abc.abstractmethod
    def apply(
        self, optimizer: "KerasOptimizer", gradients: list[Tensor], positions: list[int]
    ) -> None:
        """Accumulate the gradients, or update the variables at `positions` with them.

        It reads the `BuiltUpdate`, slots, learning rate and counters of the optimizer, and clips
        the gradients of an update with `optimizer._clipped`.
        """

    @abc.abstractmethod
    def dense(self, gradient: Tensor, variable: Variable) -> Tensor:
        """The gradient as a dense tensor. Repeated indices of a sparse gradient are summed."""

    def are_whole(self, gradients: Sequence[Tensor], variables: Sequence[Variable]) -> list[bool]:
        """Whether each gradient is known to be dense, of the right shape, and in the compute dtype.

        The others are checked one by one, which takes longer.
        """
        return [False] * len(gradients)

    def finite_or_not(self, gradient: Tensor) -> Any:
        """The gradient in a form that Keras can check for non-finite values."""
        return gradient

    def holds_sum(self, accumulator: keras.Variable) -> bool:
        """Whether an accumulator is known not to be empty. It is not known in a traced step."""
        return False

    def keeps(self, rate: Tensor, calls: keras.Variable) -> bool:
        """Whether a step is being compiled that keeps this rate, which a callable returned."""
        return False

    def count(self, calls: keras.Variable) -> None:
        """Add 1 to the number of calls of `apply`."""
        calls.assign_add(1)

    def replicas(self) -> int:
        """The number of replicas whose gradients are summed."""
        return 1

    def true_on_all(self, flag: Tensor) -> Tensor:
        """Whether a boolean is true on all replicas. Each replica must call it."""
        return flag

    def xla_error(self, variables: Sequence[Variable]) -> str | None:
        """Why XLA cannot compile an update of these variables, or None if it can."""
        return "this Keras backend has no XLA"

    def check_strategy(self) -> None:  # noqa: B027
        """Raise ValueError in the scope of a strategy whose replicas are not synchronous."""

    def outside_of_steps(self) -> contextlib.AbstractContextManager[object]:
        """A context whose operations run once and at once, even while a step is traced."""
        return contextlib.nullcontext()

    def after(self, tensors: list[Tensor]) -> contextlib.AbstractContextManager[object]:
        """A context whose operations run after these tensors have been computed."""
        return contextlib.nullcontext()

    def per_replica_sum(self) -> contextlib.AbstractContextManager[object]:
        """A context whose variables differ by replica, and are read and saved as their sum."""
        return contextlib.nullcontext()

    def add_unsaved_variable(
        self,
        optimizer: "KerasOptimizer",
        initializer: keras.initializers.Initializer,
        shape: tuple[int, ...],
        dtype: str,
        name: str,
    ) -> keras.Variable:
        """A variable of the optimizer that is not saved with the slots."""
        # JAX carries only the optimizer's own variables from step to step.
        return optimizer.add_variable(shape, initializer, dtype=dtype, name=name)

    def separate(self, variables: Sequence[keras.Variable]) -> None:  # noqa: B027
        """Make variables that were assigned to each other stop sharing memory."""
