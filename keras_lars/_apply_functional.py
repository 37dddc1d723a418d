"""One call of `apply` on JAX and torch: values in, values out, then assigned.

JAX traces `apply` without state, so that nothing may be assigned inside a condition.
"""

import contextlib
from typing import Any

import keras
from keras import ops

from keras_lars._bookkeeping import merge_records, moving_average
from keras_lars._update_rule import compute_dtype, lars_update


def dense(gradient: Any, variable: Any) -> Any:
    """The gradient with repeated indices of a sparse one summed."""
    del variable  # JAX's sparse arrays know their shape
    return ops.convert_to_tensor(gradient, sparse=False)


def apply(optimizer: Any, gradients: list, positions: list[int]) -> None:
    """Accumulate the gradients, or update the variables at `positions` by them."""
    with _no_gradients():
        slots = optimizer.slots
        keras_variables = {
            f"{kind}_{i}": variable
            for kind, variables in slots._asdict().items()
            for i, variable in enumerate(variables)
            if variable is not None
        }
        if optimizer.plan.record is not None:
            keras_variables["record"] = optimizer.plan.record
        old = {name: variable.value for name, variable in keras_variables.items()}

        steps = optimizer.gradient_accumulation_steps
        if not steps:
            new = {**old, **_updated(optimizer, old, gradients, positions)}
        else:
            sums = {
                f"accumulators_{i}": ops.cast(
                    ops.cast(old[f"accumulators_{i}"], g.dtype) + g, old[f"accumulators_{i}"].dtype
                )
                for i, g in zip(positions, gradients)
            }

            def update() -> dict:
                means = [
                    (ops.cast(old[f"accumulators_{i}"], g.dtype) + g) / steps
                    for i, g in zip(positions, gradients)
                ]
                zeros = {name: ops.zeros_like(value) for name, value in sums.items()}
                return {**old, **zeros, **_updated(optimizer, old, means, positions)}

            is_update = (ops.convert_to_tensor(optimizer.micro_batches) + 1) % steps == 0
            new = ops.cond(is_update, update, lambda: {**old, **sums})
        for name, variable in keras_variables.items():
            if new[name] is not old[name]:
                variable.assign(new[name])


def _updated(optimizer: Any, old: dict, gradients: list, positions: list[int]) -> dict:
    """The values that an update changes."""
    plan, new, records = optimizer.plan, {}, []
    learning_rate = ops.convert_to_tensor(optimizer.learning_rate)
    for i, gradient in zip(positions, optimizer.clipped(gradients)):
        w, v = old[f"variables_{i}"], old.get(f"velocities_{i}")
        dtype = compute_dtype(keras.backend.standardize_dtype(w.dtype))
        new_w, new_v, record = lars_update(
            ops.cast(w, dtype),
            gradient,
            None if v is None else ops.cast(v, dtype),
            ops.cast(learning_rate, dtype),
            plan.treatments[i],
            plan.rule,
        )
        new[f"variables_{i}"] = ops.cast(new_w, w.dtype)
        if v is not None:
            new[f"velocities_{i}"] = ops.cast(new_v, v.dtype)
        records.append(record)

    updates_done = ops.convert_to_tensor(optimizer.iterations)
    frequency = optimizer.ema_overwrite_frequency
    for i in range(len(plan.treatments)):
        average = old.get(f"averages_{i}")
        if average is not None:
            w = new.get(f"variables_{i}", old[f"variables_{i}"])
            average = moving_average(average, w, optimizer.ema_momentum, updates_done)
            new[f"averages_{i}"] = average
            if frequency:
                overwrite = (updates_done + 1) % frequency == 0
                new[f"variables_{i}"] = ops.where(overwrite, ops.cast(average, w.dtype), w)
    for i in positions:
        constraint = optimizer.slots.variables[i].constraint
        if constraint is not None:
            new[f"variables_{i}"] = constraint(new[f"variables_{i}"])
    if plan.record is not None:
        new["record"] = merge_records(old["record"], positions, records)
    return new


def _no_gradients() -> contextlib.AbstractContextManager:
    if keras.backend.backend() == "torch":
        import torch

        return torch.no_grad()
    return contextlib.nullcontext()
