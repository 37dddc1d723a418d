"""The update on torch, in place, with many variables in one call.

A caller's own tensors, as in `stateless_apply`, are not overwritten: `FunctionalBackend` handles
them.
"""

import collections
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import keras
import torch
from torch.utils.weak import WeakTensorKeyDictionary

from keras_lars import _noise_scale
from keras_lars._backends import torch_clipping
from keras_lars._backends.base import Slots
from keras_lars._backends.bookkeeping import momentum_of_average
from keras_lars._backends.functional import FunctionalBackend
from keras_lars._backends.torch_norms import norms
from keras_lars._backends.torch_update import Group, together, update_group
from keras_lars._keras import torch_variables
from keras_lars._types import Tensor, Variable
from keras_lars._update_rule import VariableConfig

if TYPE_CHECKING:
    from keras_lars._backends.base import BuiltUpdate
    from keras_lars._keras.optimizer import KerasOptimizer

_COMPUTE_DTYPES = (torch.float32, torch.float64)

# Each counter's tensor version, and its value at that version: reading it waits for the device.
_counted: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


class TorchBackend(FunctionalBackend):
    """Like `FunctionalBackend`, but variables are overwritten in place."""

    def dense(self, gradient: Tensor, variable: Variable) -> torch.Tensor:
        del variable  # torch's sparse tensors know their shape
        return _dense(gradient)

    def finite_or_not(self, gradient: Tensor) -> torch.Tensor:
        return _dense(gradient)  # torch cannot tell whether a sparse tensor is finite

    def are_whole(self, gradients: Sequence[Tensor], variables: Sequence[Variable]) -> list[bool]:
        return torch_variables.are_like(gradients, variables, _COMPUTE_DTYPES)

    def holds_sum(self, accumulator: keras.Variable) -> bool:
        return not torch.compiler.is_compiling() and bool(accumulator.value.any())

    def count(self, calls: keras.Variable) -> None:
        held = torch_variables.parameters([calls])
        if held is None:
            calls.assign(calls.value + 1)
            return
        (tensor,) = held
        with torch.no_grad():
            if torch.compiler.is_compiling() or not _is_known(tensor):
                tensor.add_(1)
            else:
                _, before = _counted[tensor]
                tensor.add_(1)
                _counted[tensor] = tensor._version, before + 1

    def apply(
        self, optimizer: "KerasOptimizer", gradients: list[torch.Tensor], positions: list[int]
    ) -> None:
        with torch.no_grad():
            slots = _held(optimizer)
            if slots is None:
                super().apply(optimizer, gradients, positions)
                return
            if optimizer.gradient_accumulation_steps is not None:
                accumulators = [slots.accumulators[i] for i in positions]
                squares = optimizer._update.squares
                if squares is not None:  # added up like gradients
                    of_part = _part_squares(gradients, positions, like=squares.parts.value)
                    gradients = [*gradients, of_part]
                    accumulators.append(squares.parts.value)
                due = optimizer._accumulation.due(_count(optimizer))
                steps = next((steps for steps, is_due in due.items() if is_due), None)
                if steps is None:
                    torch._foreach_add_(accumulators, gradients)
                    return
                gradients = list(torch._foreach_add(gradients, accumulators))
                torch._foreach_div_(gradients, steps)
                torch._foreach_zero_(accumulators)
            _apply(optimizer, slots, gradients, positions)


def _dense(gradient: Tensor) -> torch.Tensor:
    """The gradient as a dense tensor: that of `nn.Embedding` may be sparse."""
    gradient = keras.ops.convert_to_tensor(gradient)
    return gradient if gradient.layout == torch.strided else gradient.to_dense()


def _held(optimizer: "KerasOptimizer") -> Slots | None:
    """The tensors that the variables hold, or None if a caller's tensors replace them."""
    kinds = []
    for kind in optimizer._slots:
        held = torch_variables.parameters(kind)
        if held is None:
            return None
        kinds.append(held)
    return Slots(*kinds)


def _count(optimizer: "KerasOptimizer") -> int | torch.Tensor:
    """The number of micro-batches so far, as a Python number if it can be known."""
    calls = optimizer._micro_batches.value
    if torch.compiler.is_compiling():
        return calls
    if not _is_known(calls):
        # In the first call, and after the counter was assigned, for example by loading.
        _counted[calls] = calls._version, 0 if calls.is_meta else int(calls)
    return _counted[calls][1]


def _is_known(calls: torch.Tensor) -> bool:
    """Whether the remembered value is current, because nobody else has overwritten the counter."""
    return calls in _counted and _counted[calls][0] == calls._version


def _apply(
    optimizer: "KerasOptimizer", slots: Slots, gradients: list[torch.Tensor], positions: list[int]
) -> None:
    """One update, in the order of `FunctionalBackend`."""
    update = optimizer._update
    if update.squares is not None:
        *gradients, parts = gradients
        of_mean = _part_squares(gradients, positions, like=parts)[:-1]
        update.squares.last.value.copy_(
            torch.stack([_noise_scale.mean_of_parts(parts, 1), of_mean])
        )
    gradients = torch_clipping.clipped(optimizer, gradients)
    learning_rate = keras.ops.convert_to_tensor(optimizer.learning_rate)
    rows: dict[int, torch.Tensor] = {}
    for of_group, group in _groups(update, slots, gradients, positions):
        record = update_group(group, learning_rate, update.config)
        if record is not None:
            rows.update(zip(of_group, torch.stack(record, dim=1).unbind()))

    if optimizer.use_ema:
        _average(optimizer, slots)
    variables = optimizer._slots.variables
    for i in positions:
        constraint = variables[i].constraint
        if constraint is not None:
            variables[i].assign(constraint(slots.variables[i]))
    if update.record is not None:
        old = update.record.value
        new = [rows.get(i, row) for i, row in enumerate(old.unbind())]
        old.copy_(torch.stack([row.to(old.dtype) for row in new]))


def _part_squares(
    gradients: list[torch.Tensor], positions: list[int], like: torch.Tensor
) -> torch.Tensor:
    """Like `bookkeeping.part_squares`, in a few calls."""
    alike = collections.defaultdict(list)
    for i, g in zip(positions, gradients):
        alike[g.dtype].append((i, g))
    rows: dict[int, torch.Tensor] = {}
    for dtype, pairs in alike.items():
        of_dtype = norms([g for _, g in pairs], dtype).to(like.dtype)
        rows.update(zip((i for i, _ in pairs), of_dtype.unbind()))
    zero = torch.zeros_like(like[0])
    squares = torch.stack([rows.get(i, zero) for i in range(len(like) - 1)]).square()
    return torch.cat([squares, torch.ones_like(like[:1])])


def _groups(
    update: "BuiltUpdate", slots: Slots, gradients: list[torch.Tensor], positions: list[int]
) -> Iterator[tuple[list[int], Group]]:
    """The groups of variables that one call updates, with their positions."""
    by_position = dict(zip(positions, gradients))
    for of_group, variable_config in _planned(update, slots, gradients, positions):
        v = [slots.velocities[i] for i in of_group]
        w, g = [slots.variables[i] for i in of_group], [by_position[i] for i in of_group]
        yield of_group, Group(w, g, None if v[0] is None else v, variable_config)


_Plan: TypeAlias = list[tuple[list[int], VariableConfig]]


def _planned(
    update: "BuiltUpdate", slots: Slots, gradients: list[torch.Tensor], positions: list[int]
) -> _Plan:
    """`_plan`, cached, so that its numbers are sent to the device only once."""
    if torch.compiler.is_compiling():
        return _plan(update, slots, gradients, positions)
    key = (tuple(positions), tuple(g.dtype for g in gradients), gradients[0].device)
    if key not in update.plans:
        update.plans[key] = _plan(update, slots, gradients, positions)
    return update.plans[key]


def _plan(
    update: "BuiltUpdate", slots: Slots, gradients: list[torch.Tensor], positions: list[int]
) -> _Plan:
    alike = collections.defaultdict(list)
    for i, g in zip(positions, gradients):
        alike[update.variable_configs[i].adapted, g.dtype, slots.variables[i].dtype].append((i, g))
    plan = []
    for of_group in alike.values():
        of_group.sort(key=lambda each: (_numbers(update.variable_configs[each[0]]), each[1].shape))
        of_positions = [i for i, _ in of_group]
        configs = [update.variable_configs[i] for i in of_positions]
        plan.append((of_positions, together(configs, like=of_group[0][1])))
    return plan


def _numbers(config: VariableConfig) -> tuple[float, float]:
    return config.weight_decay, config.least_norm


def _average(optimizer: "KerasOptimizer", slots: Slots) -> None:
    """Update the moving averages, and the variables that these overwrite."""
    alike = collections.defaultdict(list)
    for average, w in zip(slots.averages, slots.variables):
        if average is not None:
            alike[average.dtype].append((average, w))
    updates_done = keras.ops.convert_to_tensor(optimizer.iterations)
    for dtype, pairs in alike.items():
        averages, averaged = ([pair[place] for pair in pairs] for place in (0, 1))
        _mix(averages, averaged, momentum_of_average(optimizer.ema_momentum, updates_done, dtype))
        if optimizer.ema_overwrite_frequency:
            _overwrite(optimizer, averaged, averages)


def _overwrite(
    optimizer: "KerasOptimizer", averaged: list[torch.Tensor], averages: list[torch.Tensor]
) -> None:
    """Overwrite the variables with their averages if it is due. Before, an average may be NaN."""
    updates_done = optimizer._accumulation.updates(_count(optimizer))
    is_due = (updates_done + 1) % optimizer.ema_overwrite_frequency == 0
    if isinstance(is_due, torch.Tensor):
        for w, average in zip(averaged, averages):
            w.copy_(torch.where(is_due, average.to(w.dtype), w))
    elif is_due:
        torch._foreach_copy_(averaged, averages)


def _mix(ours: list[torch.Tensor], others: list[torch.Tensor], share: torch.Tensor) -> None:
    """Set `ours` to `share * ours + (1 - share) * others`, as `moving_average` does."""
    torch._foreach_mul_(ours, share)
    torch._foreach_add_(ours, torch._foreach_mul(others, 1 - share))
