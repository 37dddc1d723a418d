"""The update of weights and velocities on torch, in place, with many variables in one call.

The ratios of variables that are treated alike come from one call of the update rule, on vectors of
their norms. On CPUs, a fused kernel then updates each float32 variable. Other arrays are updated in
bundles by `torch._foreach_*`, which does one operation on a list of tensors, and launches only a
few kernels on a GPU. It is private by name, but torch's own optimizers and Keras's are built on it.

Except on CPUs, nothing here waits for the device: no number is read from it or sent to it.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch

from keras_lars._backends import torch_fused
from keras_lars._backends.torch_fused import Tensors
from keras_lars._backends.torch_norms import norms, zero_or_nan
from keras_lars._update_rule import (
    Number,
    Record,
    UpdateConfig,
    VariableConfig,
    is_nothing,
    scales,
    trust_ratio,
    unadapted_ratio,
)

# The most elements of a bundle. On a CPU they are enough to hide the cost of a call and few enough
# for the cache; larger variables are cut into pieces. Elsewhere fewer calls are faster, and only
# memory sets a limit: temporary arrays are as large as one or two bundles.
_ON_CPU = 2**18
_ELSEWHERE = 2**25


class Group(NamedTuple):
    """Variables that are treated alike. `v` is `None` without momentum."""

    w: Tensors
    g: Tensors
    v: Tensors | None
    variable_config: VariableConfig  # of the whole group: see `together`


class _Factors(NamedTuple):
    """The factors of gradients and weights in the velocities, and of steps; `None` if not used."""

    of_gradient: Sequence[torch.Tensor]
    of_weight: Sequence[torch.Tensor] | None
    of_step: Sequence[torch.Tensor] | torch.Tensor | None


class _Bundle(NamedTuple):
    """Views of several whole variables of a group, or of a piece of one variable."""

    first: int  # the position of its first variable in the group
    w: Tensors
    g: Tensors
    v: Tensors | None


def update_group(group: Group, learning_rate: torch.Tensor, config: UpdateConfig) -> Record | None:
    """Overwrite weights and velocities. The record, if any, has a vector for each number."""
    variable_config = group.variable_config
    dtype = group.g[0].dtype
    learning_rate = learning_rate.to(dtype)
    if variable_config.adapted or config.record_trust_ratios:
        weight_norms = _weight_norms(group)
        gradient_norms = _gradient_norms(group, config)
    if variable_config.adapted:
        nan_probes = gradient_norms
        ratios = trust_ratio(weight_norms, gradient_norms, learning_rate, variable_config, config)
    else:
        nan_probes = _vector_of(group, lambda part: zero_or_nan(part.g))
        ratios = unadapted_ratio(nan_probes, learning_rate, config)

    velocity_scale, step_scale = scales(ratios, nan_probes, learning_rate, config)
    _move_group(group, velocity_scale, step_scale, config)
    if not config.record_trust_ratios:
        return None
    return Record(weight_norms, gradient_norms, ratios)


def _move_group(
    group: Group,
    velocity_scale: torch.Tensor,
    step_scale: torch.Tensor | None,
    config: UpdateConfig,
) -> None:
    """`moved` of the update rule for each variable of a group, in place."""
    w, g, v, variable_config = group
    weight_decay = variable_config.weight_decay
    is_fused = torch_fused.is_usable(w, g, w if v is None else v)
    if is_fused:
        numbers = _for_each(velocity_scale, group)
        if v is None or torch_fused.can_scale(numbers, config.nesterov):
            arrays = ([[x] for x in each] for each in (w, g))
            velocities = itertools.repeat([]) if v is None else [[x] for x in v]
            others = _for_each(weight_decay, group), numbers, _for_each(step_scale, group)
            torch_fused.update(zip(*arrays, velocities, *others), config)
            return
    factors = _Factors(
        velocity_scale.unbind(),
        None if is_nothing(weight_decay) else (velocity_scale * weight_decay).unbind(),
        # A learning rate is one number for all variables.
        step_scale.unbind() if step_scale is not None and step_scale.ndim else step_scale,
    )
    for part in _bundles(group):
        if is_fused and part.v is not None:
            of_step = 1.0 if step_scale is None else float(step_scale)
            row = part.w, _scaled(part, factors), part.v, 0.0, 1.0, of_step
            torch_fused.update([row], config)
        else:
            _move(part, factors, config)


def _for_each(number: Number | None, group: Group) -> list[float]:
    """A number for each variable of a group, which is 1 if there is none."""
    if isinstance(number, torch.Tensor):
        return number.expand(len(group.w)).tolist()
    return [1.0 if number is None else number] * len(group.w)


def _bundles(group: Group) -> Iterator[_Bundle]:
    """The bundles of a group, in the order of its variables."""
    on_cpu = group.g[0].device.type == "cpu"
    most = _ON_CPU if on_cpu else _ELSEWHERE
    first = elements = 0
    for i, g in enumerate(group.g):
        size = g.numel()
        if elements + size > most and first < i:
            yield _part(group, first, i)
            first = i
            elements = 0
        elements += size
        if on_cpu and size > most:
            yield from _pieces(_part(group, i, i + 1))
            first = i + 1
            elements = 0
    if first < len(group.g):
        yield _part(group, first, len(group.g))


def _part(group: Group, first: int, end: int) -> _Bundle:
    v = None if group.v is None else group.v[first:end]
    return _Bundle(first, group.w[first:end], group.g[first:end], v)


def _pieces(bundle: _Bundle) -> Iterator[_Bundle]:
    """The pieces of a bundle of one variable."""
    lists = [bundle.w, bundle.g] if bundle.v is None else [bundle.w, bundle.g, bundle.v]
    if not all(x.is_contiguous() for (x,) in lists):
        yield bundle
        return
    for w, g, *v in zip(*(x.view(-1).split(_ON_CPU) for (x,) in lists)):
        yield _Bundle(bundle.first, [w], [g], v or None)


def _weight_norms(group: Group) -> torch.Tensor:
    dtype = group.g[0].dtype
    if group.w[0].dtype == dtype:
        return norms(group.w, dtype)
    return _vector_of(group, lambda part: norms(part.w, dtype))  # converts copies


def _gradient_norms(group: Group, config: UpdateConfig) -> torch.Tensor:
    """The norms in the denominators of the ratios, as `in_denominator` defines them."""
    variable_config = group.variable_config
    dtype = group.g[0].dtype

    def of_part(part: _Bundle) -> torch.Tensor:
        tensors = _fresh_decayed(part, variable_config.weight_decay)
        if config.momentum_form == "ratio_of_update" and part.v is not None:
            tensors = _momentum_steps(part.v, tensors, config)
        return norms(tensors, dtype)

    if config.decay_in_norm:
        return _vector_of(group, of_part)
    return norms(group.g, dtype)


def _vector_of(group: Group, function: Callable[[_Bundle], torch.Tensor]) -> torch.Tensor:
    """A norm for each variable, from a function that computes the norms of a bundle."""
    found: list[Tensors] = [[] for _ in group.g]
    for bundle in _bundles(group):
        for i, norm in enumerate(function(bundle).unbind(), bundle.first):
            found[i].append(norm)
    return torch.stack(
        [
            of_pieces[0]
            if len(of_pieces) == 1
            else torch.linalg.vector_norm(torch.stack(of_pieces))
            for of_pieces in found
        ]
    )


# The functions below repeat the update rule, in place. With a new array for each result, an update
# would take half as long again.


def _fresh_decayed(part: _Bundle, weight_decay: Number) -> Tensors:
    """The decayed gradients, in new arrays."""
    if isinstance(weight_decay, torch.Tensor):
        return list(torch._foreach_addcmul(part.g, part.w, _of(part, weight_decay.unbind())))
    return list(torch._foreach_add(part.g, part.w, alpha=weight_decay))


def _of(part: _Bundle, numbers: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    """The numbers that belong to the variables of a bundle."""
    return numbers[part.first : part.first + len(part.w)]


def _momentum_steps(v: Tensors, gradient_steps: Tensors, config: UpdateConfig) -> Tensors:
    """The steps of `momentum_step`, written over `gradient_steps`."""
    if not config.nesterov:
        torch._foreach_add_(gradient_steps, v, alpha=config.momentum)
        return gradient_steps
    new_v = torch._foreach_add(gradient_steps, v, alpha=config.momentum)
    torch._foreach_add_(gradient_steps, new_v, alpha=config.momentum)
    return gradient_steps


def _move(part: _Bundle, factors: _Factors, config: UpdateConfig) -> None:
    """`moved` of the update rule, in place."""
    if part.v is None:
        torch._foreach_sub_(part.w, _scaled(part, factors))
        return
    v = part.v
    if v[0].dtype != part.g[0].dtype:  # rounded once, at the end
        v = [torch.empty_like(g) for g in part.g]
        torch._foreach_copy_(v, part.v)
    # A Python number would be converted to a tensor for each of them.
    torch._foreach_mul_(v, part.g[0].new_full((), config.momentum))
    moved = v
    if config.nesterov:
        moved = _scaled(part, factors)
        torch._foreach_add_(v, moved)
        torch._foreach_add_(moved, v, alpha=config.momentum)
    else:
        torch._foreach_addcmul_(v, part.g, _of(part, factors.of_gradient))
        _add_decay(v, part, factors)
    if v is not part.v:
        torch._foreach_copy_(part.v, v)
    steps = factors.of_step
    if steps is not None:
        of_step = _of(part, steps) if isinstance(steps, tuple) else steps
        moved = list(torch._foreach_mul(moved, of_step))
    torch._foreach_sub_(part.w, moved)


def _scaled(part: _Bundle, factors: _Factors) -> Tensors:
    """The scaled decayed gradients. Gradient and weight enter them separately."""
    found = list(torch._foreach_mul(part.g, _of(part, factors.of_gradient)))
    _add_decay(found, part, factors)
    return found


def _add_decay(sums: Tensors, part: _Bundle, factors: _Factors) -> None:
    if factors.of_weight is not None:
        torch._foreach_addcmul_(sums, part.w, _of(part, factors.of_weight))


def together(variable_configs: Sequence[VariableConfig], like: torch.Tensor) -> VariableConfig:
    """One config for variables whose configs differ only in numbers.

    A number that differs becomes a vector in the order of the variables, with the dtype and on the
    device of `like`.
    """
    first = variable_configs[0]
    return dataclasses.replace(
        first,
        weight_decay=_together([each.weight_decay for each in variable_configs], like),
        least_norm=_together([each.least_norm for each in variable_configs], like),
    )


def _together(numbers: Sequence[float], like: torch.Tensor) -> Number:
    runs = [(number, len(list(run))) for number, run in itertools.groupby(numbers)]
    if len(runs) == 1:
        return numbers[0]
    # Filled on the device, because a list of numbers would have to be sent to it.
    return torch.cat([like.new_full((count,), number) for number, count in runs])
