"""The contract between the optimizer and a Keras backend.

A call of `apply` comes down through one method, `Backend.apply`, which sums the gradients over
replicas, adds them up over micro-batches, clips them, updates weights and velocities by
`_update_rule`, records the ratios, averages the weights and applies constraints. What a backend
need not do has a default here.
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
    """What one update reads and writes: a list of variables for each kind.

    All are indexed by position among the trainable variables, and hold `None` where a variable has
    no such slot: without momentum, averages or accumulation, or where Keras overwrites it.
    """

    variables: list[Any]
    velocities: list[Any]
    averages: list[Any]
    accumulators: list[Any]


class Squares(NamedTuple):
    """Where squared norms of gradients are kept, by variable; `_noise_scale` says what they are.

    Attributes:
        parts: Sums over the micro-batches so far, and last of all how many these are. `None`
            without accumulation. shape=(variables + 1,)
        last: Those of the last update: of its parts on average, and of their mean.
            shape=(2, variables)
        replicas: How many there are, which divide each batch into parts.
    """

    parts: Any
    last: Any
    replicas: int


@dataclasses.dataclass(frozen=True)
class BuiltUpdate:
    """How a built optimizer updates. A dataclass, since Keras tracks what a tuple or list holds.

    Attributes:
        config: What is the same for every variable.
        variable_configs: What differs, by position.
        table: The same for people to read, with the rules that it comes from.
        record: The variable that norms and ratios are kept in, if they are.
        squares: The variables that squared norms of gradients are kept in, if they are.
        compiled: Whether XLA compiles the update of each variable, on TensorFlow.
        programs: What was compiled, which lives as long as this does.
        plans: What an update on torch is made of, by what it updates. It lives as long.
    """

    config: UpdateConfig
    variable_configs: list[VariableConfig]
    table: VariableTable
    record: keras.Variable | None
    squares: Squares | None
    compiled: bool
    programs: set[Any] = dataclasses.field(default_factory=set)
    plans: dict[Hashable, Any] = dataclasses.field(default_factory=dict)


class Backend(abc.ABC):
    """What the optimizer asks of a Keras backend.

    The defaults are those of a backend without replicas, without graphs that run what no step
    asked for, and without XLA.
    """

    @abc.abstractmethod
    def apply(
        self, optimizer: "KerasOptimizer", gradients: list[Tensor], positions: list[int]
    ) -> None:
        """Accumulate the gradients, or update the variables at `positions` by them.

        Of the optimizer it reads the `BuiltUpdate`, the slots, the learning rate and the counters,
        and it clips with `_clipped` what an update is made of.
        """

    @abc.abstractmethod
    def dense(self, gradient: Any, variable: Variable) -> Tensor:
        """The gradient as a tensor; of a sparse one, with repeated indices summed."""

    def are_whole(self, gradients: Sequence[Any], variables: Sequence[Variable]) -> list[bool]:
        """Which are seen at a glance to be dense, and of the shape and dtype to compute in."""
        return [False] * len(gradients)

    def finite_or_not(self, gradient: Any) -> Any:
        """The gradient in a form of which Keras can tell whether all of it is finite."""
        return gradient

    def count(self, calls: keras.Variable) -> None:
        """Add 1 to the number of calls of `apply`."""
        calls.assign_add(1)

    def replicas(self) -> int:
        """How many replicas there are, whose gradients are summed."""
        return 1

    def true_on_all(self, flag: Tensor) -> Tensor:
        """Whether a replica's boolean is true on all of them."""
        return flag

    def xla_error(self, variables: Sequence[Variable]) -> str | None:
        """Why XLA cannot compile an update of these variables, or None where it can."""
        return "this Keras backend has no XLA"

    def check_strategy(self) -> None:  # noqa: B027
        """Raise in the scope of a strategy whose replicas do not step together."""

    def outside_of_steps(self) -> contextlib.AbstractContextManager[Any]:
        """What is done in here is done once, also in a step that is being traced."""
        return contextlib.nullcontext()

    def after(self, tensors: list[Tensor]) -> contextlib.AbstractContextManager[Any]:
        """What is done in here is done once there are these tensors."""
        return contextlib.nullcontext()

    def per_replica_sum(self) -> contextlib.AbstractContextManager[Any]:
        """Variables made here have a value on each replica, and are read and saved as the sum."""
        return contextlib.nullcontext()

    def add_unsaved_variable(
        self,
        optimizer: "KerasOptimizer",
        initializer: keras.initializers.Initializer,
        shape: tuple[int, ...],
        dtype: str,
        name: str,
    ) -> keras.Variable:
        """A variable of the optimizer that is not saved as its slots are."""
        # JAX carries on from step to step only what is among the optimizer's variables.
        return optimizer.add_variable(shape, initializer, dtype=dtype, name=name)

    def separate(self, variables: Sequence[keras.Variable]) -> None:  # noqa: B027
        """Let variables that were assigned to each other not share their memory."""
