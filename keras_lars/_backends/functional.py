"""The update as a function of values, whose results are then assigned.

JAX traces `apply` without state, so nothing may be assigned inside a condition. torch uses this
only for a caller's own tensors, and overwrites variables otherwise.
"""

import functools
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import keras
from keras import ops

from keras_lars import _noise_scale
from keras_lars._backends.base import Backend
from keras_lars._backends.bookkeeping import merge_records, moving_average, part_squares
from keras_lars._types import Tensor, Variable
from keras_lars._update_rule import Record, differentiable_norms, lars_update

if TYPE_CHECKING:
    from keras_lars._backends.base import BuiltUpdate
    from keras_lars._keras.optimizer import KerasOptimizer

# By (kind of slot, position of the variable).
Values: TypeAlias = dict[tuple[str, int], Tensor]

_RECORD = ("record", 0)
_PARTS, _LAST = ("squares", 0), ("squares", 1)


class FunctionalBackend(Backend):
    """A backend on which the optimizer's state can be passed in and out as values."""

    def dense(self, gradient: Tensor, variable: Variable) -> Tensor:
        del variable  # JAX's sparse arrays know their shape
        return ops.convert_to_tensor(gradient, sparse=False)

    def apply(
        self, optimizer: "KerasOptimizer", gradients: list[Tensor], positions: list[int]
    ) -> None:
        variables = _variables(optimizer)
        old = {key: variable.value for key, variable in variables.items()}
        new = self._applied(optimizer, old, gradients, positions)
        for key, variable in variables.items():
            if new[key] is not old[key]:
                variable.assign(new[key])

    def _applied(
        self,
        optimizer: "KerasOptimizer",
        old: Values,
        gradients: list[Tensor],
        positions: list[int],
    ) -> Values:
        """All values after one call of `apply`."""
        if optimizer.gradient_accumulation_steps is None:
            return {**old, **self._updated(optimizer, old, gradients, positions)}
        accumulators = {("accumulators", i): old["accumulators", i] for i in positions}
        if optimizer._update.squares is not None:  # added up like gradients
            squares = self.squared_norms(gradients)
            gradients = [*gradients, part_squares(squares, positions, like=old[_PARTS])]
            accumulators[_PARTS] = old[_PARTS]
        others = {key: value for key, value in old.items() if key not in accumulators}

        def sums() -> list[Tensor]:
            # Computed again at each use, because a shared sum would be kept in memory.
            return [
                ops.cast(accumulator, gradient.dtype) + gradient
                for accumulator, gradient in zip(accumulators.values(), gradients)
            ]

        def update(steps: int, values: Values) -> Values:
            means = [total / steps for total in sums()]
            return {**values, **self._updated(optimizer, values, means, positions)}

        new, flags = others, []
        for steps, is_due in optimizer._accumulation.due(_micro_batches(optimizer)).items():
            new, flag = self.changed_if(is_due, functools.partial(update, steps), new)
            flags.append(flag)
        updated = functools.reduce(operator.or_, flags)
        # The accumulators are emptied after the gradients were used, and therefore in place.
        for (key, accumulator), total in zip(accumulators.items(), sums()):
            emptied = ops.where(updated, ops.zeros_like(total), total)
            new[key] = ops.cast(emptied, accumulator.dtype)
        return new

    def changed_if(
        self, condition: Tensor, change: Callable[[Values], Values], values: Values
    ) -> tuple[Values, Tensor]:
        """The values, changed if the condition holds, and whether it does."""
        return ops.cond(
            condition,
            lambda: (change(values), ops.convert_to_tensor(True)),
            lambda: (values, ops.convert_to_tensor(False)),
        )

    def _updated(
        self,
        optimizer: "KerasOptimizer",
        old: Values,
        gradients: list[Tensor],
        positions: list[int],
    ) -> Values:
        """The values that an update changes."""
        update = optimizer._update
        squares: Values = {}
        if update.squares is not None:
            *gradients, parts = gradients
            of_mean = part_squares(self.squared_norms(gradients), positions, like=parts)[:-1]
            squares[_LAST] = ops.stack([_noise_scale.mean_of_parts(parts, 1), of_mean])
        gradients = optimizer._clipped(gradients)
        learning_rate = ops.convert_to_tensor(optimizer.learning_rate)
        new, records = self.update_variables(update, old, gradients, positions, learning_rate)
        new.update(squares)
        new.update(_averaged(optimizer, {**old, **new}))
        variables = optimizer._slots.variables
        for i in positions:
            constraint = variables[i].constraint
            if constraint is not None:
                new["variables", i] = constraint(new["variables", i])
        if update.record is not None:
            new[_RECORD] = merge_records(old[_RECORD], positions, records)
        return new

    def squared_norms(self, gradients: list[Tensor]) -> list[Tensor]:
        """The squared norm of each gradient."""
        return [ops.sum(g * g) for g in gradients]

    def update_variables(
        self,
        update: "BuiltUpdate",
        values: Values,
        gradients: list[Tensor],
        positions: list[int],
        learning_rate: Tensor,
    ) -> tuple[Values, list[Record | None]]:
        """The new weights and velocities, and the records, from `lars_update` for each variable.

        The result can be differentiated, for example to learn a learning rate.
        """
        new: Values = {}
        records = []
        for i, gradient in zip(positions, gradients):
            w, v, record = lars_update(
                values["variables", i],
                gradient,
                values.get(("velocities", i)),
                learning_rate,
                update.variable_configs[i],
                update.config,
                differentiable_norms,
            )
            new["variables", i] = w
            if v is not None:
                new["velocities", i] = v
            records.append(record)
        return new, records


def _micro_batches(optimizer: "KerasOptimizer") -> Tensor:
    return ops.convert_to_tensor(optimizer._micro_batches)


def _variables(optimizer: "KerasOptimizer") -> dict[tuple[str, int], keras.Variable]:
    variables = {
        (kind, i): variable
        for kind, slots in optimizer._slots._asdict().items()
        for i, variable in enumerate(slots)
        if variable is not None
    }
    if optimizer._update.record is not None:
        variables[_RECORD] = optimizer._update.record
    if optimizer._update.squares is not None:
        variables[_PARTS], variables[_LAST], _ = optimizer._update.squares
    return variables


def _averaged(optimizer: "KerasOptimizer", values: Values) -> Values:
    """The moving averages, and the variables that these overwrite."""
    new: Values = {}
    updates_done = ops.convert_to_tensor(optimizer.iterations)
    frequency = optimizer.ema_overwrite_frequency
    for i in range(len(optimizer._update.variable_configs)):
        if ("averages", i) in values:
            w, average = values["variables", i], values["averages", i]
            average = moving_average(average, w, optimizer.ema_momentum, updates_done)
            new["averages", i] = average
            if frequency:
                overwrite = (updates_done + 1) % frequency == 0
                new["variables", i] = ops.where(overwrite, ops.cast(average, w.dtype), w)
    return new
