"""One call of `apply` on JAX: values in, values out, then assigned.

JAX traces `apply` without state, so that nothing may be assigned inside a condition. Values are
kept in a dictionary by (kind of slot, position of the variable). What updates the weights and
velocities is passed in as `update_all`, since torch has a faster way (see `torch`).
"""

import contextlib
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_lars._backends.bookkeeping import merge_records, moving_average
from keras_lars._update_rule import differentiable_norms, lars_update

_RECORD = ("record", 0)

# (plan, values, gradients, positions, learning rate) to (changed values, records).
Update = Callable[[Any, dict, list, list, Any], tuple[dict, list]]


def dense(gradient: Any, variable: Any) -> Any:
    """The gradient with repeated indices of a sparse one summed."""
    del variable  # JAX's sparse arrays know their shape
    return ops.convert_to_tensor(gradient, sparse=False)


def xla_error(variables: list) -> str | None:
    """Why XLA cannot compile an update, or None where it can: JAX compiles the whole step."""
    del variables
    return None if keras.backend.backend() == "jax" else "this Keras backend has no XLA"


def check_strategy() -> None:
    """Nothing: there are no strategies here."""


def outside_of_steps() -> contextlib.AbstractContextManager:
    """Nothing: on these backends an optimizer is not built in a step."""
    return contextlib.nullcontext()


def after(tensors: list) -> contextlib.AbstractContextManager:
    """Nothing: these backends run a step with data only."""
    del tensors
    return contextlib.nullcontext()


def per_replica_sum() -> contextlib.AbstractContextManager:
    """Nothing: each variable of these backends has one value."""
    return contextlib.nullcontext()


def apply(
    optimizer: Any, gradients: list, positions: list[int], update_all: Update | None = None
) -> None:
    """Accumulate the gradients, or update the variables at `positions` by them."""
    variables = _variables(optimizer)
    old = {key: variable.value for key, variable in variables.items()}
    new = _applied(optimizer, old, gradients, positions, update_all or update_one_by_one)
    for key, variable in variables.items():
        if new[key] is not old[key]:
            variable.assign(new[key])


def update_one_by_one(
    plan: Any, values: dict, gradients: list, positions: list[int], learning_rate: Any
) -> tuple[dict, list]:
    """The new weights and velocities, and the records, by a call of `lars_update` for each.

    On JAX a loss of the new weights may be differentiated, as where a learning rate is learned.
    """
    new, records = {}, []
    for i, gradient in zip(positions, gradients):
        w, v = values["variables", i], values.get(("velocities", i))
        treatment = plan.treatments[i]
        w, v, record = lars_update(
            w, gradient, v, learning_rate, treatment, plan.rule, differentiable_norms
        )
        new["variables", i] = w
        if v is not None:
            new["velocities", i] = v
        records.append(record)
    return new, records


def _variables(optimizer: Any) -> dict:
    variables = {
        (kind, i): variable
        for kind, slots in optimizer._slots._asdict().items()
        for i, variable in enumerate(slots)
        if variable is not None
    }
    if optimizer._plan.record is not None:
        variables[_RECORD] = optimizer._plan.record
    return variables


def _applied(
    optimizer: Any, old: dict, gradients: list, positions: list[int], update_all: Update
) -> dict:
    """All values after one call of `apply`."""
    steps = optimizer.gradient_accumulation_steps
    if not steps:
        return {**old, **_updated(optimizer, old, gradients, positions, update_all)}
    sums = [
        ops.cast(old["accumulators", i], gradient.dtype) + gradient
        for i, gradient in zip(positions, gradients)
    ]

    def accumulate() -> dict:
        return {**old, **accumulators(sums)}

    def update() -> dict:
        emptied = accumulators([ops.zeros_like(total) for total in sums])
        means = [total / steps for total in sums]
        updated = _updated(optimizer, old, means, positions, update_all)
        return {**old, **emptied, **updated}

    def accumulators(values: list) -> dict:
        keys = [("accumulators", i) for i in positions]
        return {key: ops.cast(value, old[key].dtype) for key, value in zip(keys, values)}

    is_update = (ops.convert_to_tensor(optimizer._micro_batches) + 1) % steps == 0
    return ops.cond(is_update, update, accumulate)


def _updated(
    optimizer: Any, old: dict, gradients: list, positions: list[int], update_all: Update
) -> dict:
    """The values that an update changes."""
    plan, gradients = optimizer._plan, optimizer._clipped(gradients)
    learning_rate = ops.convert_to_tensor(optimizer.learning_rate)
    new, records = update_all(plan, old, gradients, positions, learning_rate)

    new.update(_averaged(optimizer, {**old, **new}))
    variables = optimizer._slots.variables
    for i in positions:
        constraint = variables[i].constraint
        if constraint is not None:
            new["variables", i] = constraint(new["variables", i])
    if plan.record is not None:
        new[_RECORD] = merge_records(old[_RECORD], positions, records)
    return new


def _averaged(optimizer: Any, values: dict) -> dict:
    """The moving averages, and the variables where these overwrite them."""
    new = {}
    updates_done = ops.convert_to_tensor(optimizer.iterations)
    frequency = optimizer.ema_overwrite_frequency
    for i in range(len(optimizer._plan.treatments)):
        if ("averages", i) in values:
            w, average = values["variables", i], values["averages", i]
            average = moving_average(average, w, optimizer.ema_momentum, updates_done)
            new["averages", i] = average
            if frequency:
                overwrite = (updates_done + 1) % frequency == 0
                new["variables", i] = ops.where(overwrite, ops.cast(average, w.dtype), w)
    return new
