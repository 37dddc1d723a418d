"""The update of weights and velocities on torch, in place, for many variables by one call.

The ratios of variables that are treated alike come from one call of the update rule, on vectors of
their norms. The arrays are worked on in bundles, by `torch._foreach_*`, which does one operation on
a list of tensors. It is private by name, but all of torch's own optimizers and Keras's are made of
it: on a GPU it launches one or a few kernels. Where each tensor has a factor of its own it launches
one for each, but still without the cost of a call from Python.

Off the CPU nothing here waits for the device: no number is read from it, and none is sent to it.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import torch

from keras_lars._backends.torch_norms import norms, zero_or_nan
from keras_lars._update_rule import (
    Record,
    UpdateConfig,
    VariableConfig,
    is_nothing,
    scales,
    trust_ratio,
    unadapted_ratio,
)

# Elements of a bundle. On a CPU enough to hide the cost of a call, few enough for the cache, and
# larger variables are cut into pieces of it. Elsewhere calls are what is scarce, and memory the
# only reason not to take all at once: what is temporary is as large as one or two bundles.
_ON_CPU = 2**18
_ELSEWHERE = 2**25

Tensors: TypeAlias = list[torch.Tensor]


class Group(NamedTuple):
    """Variables that are treated alike. `v` is `None` without momentum."""

    w: Tensors
    g: Tensors
    v: Tensors | None
    variable_config: VariableConfig  # its `least_norm` is a vector, or 0


class _Bundle(NamedTuple):
    """Whole variables of a group, or a piece of one: views of what the variables hold."""

    first: int  # among the variables of the group
    w: Tensors
    g: Tensors
    v: Tensors | None


def update_group(group: Group, learning_rate: torch.Tensor, config: UpdateConfig) -> Record | None:
    """Overwrite weights and velocities; the record has a vector of each number, if it is kept."""
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
    velocity_scales = velocity_scale.unbind()
    # The learning rate itself is one number for all.
    step_scales = step_scale.unbind() if step_scale is not None and step_scale.ndim else step_scale
    for bundle in _bundles(group):
        these = slice(bundle.first, bundle.first + len(bundle.w))
        _move(
            bundle,
            velocity_scales[these],
            step_scales[these] if isinstance(step_scales, tuple) else step_scales,
            variable_config,
            config,
        )
    if not config.record_trust_ratios:
        return None
    return Record(weight_norms, gradient_norms, ratios)


def _bundles(group: Group) -> Iterator[_Bundle]:
    """All that the group holds, in the order of its variables."""
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
    """Views of the same elements of the one variable in it."""
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
    return _vector_of(group, lambda part: norms(part.w, dtype))  # which may copy them


def _gradient_norms(group: Group, config: UpdateConfig) -> torch.Tensor:
    """The norms in the denominators: of the gradients, decayed or not, or of the steps."""
    variable_config = group.variable_config
    dtype = group.g[0].dtype

    def of_part(part: _Bundle) -> torch.Tensor:
        tensors = _fresh_decayed(part, variable_config)
        if config.momentum_form == "ratio_of_update" and part.v is not None:
            tensors = _momentum_steps(part.v, tensors, config)
        return norms(tensors, dtype)

    if config.decay_in_norm:
        return _vector_of(group, of_part)
    return norms(group.g, dtype)


def _vector_of(group: Group, function: Callable[[_Bundle], torch.Tensor]) -> torch.Tensor:
    """A norm for each variable, of what the function finds for those of a bundle."""
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


# What follows says again, in place, what the update rule says of one variable: with new arrays for
# all results it would take half as long again.


def _fresh_decayed(part: _Bundle, variable_config: VariableConfig) -> Tensors:
    """The decayed gradients, in arrays of their own."""
    return list(torch._foreach_add(part.g, part.w, alpha=variable_config.weight_decay))


def _momentum_steps(v: Tensors, gradient_steps: Tensors, config: UpdateConfig) -> Tensors:
    """The steps of `momentum_step`, where `gradient_steps` were."""
    if not config.nesterov:
        torch._foreach_add_(gradient_steps, v, alpha=config.momentum)
        return gradient_steps
    new_v = torch._foreach_add(gradient_steps, v, alpha=config.momentum)
    torch._foreach_add_(gradient_steps, new_v, alpha=config.momentum)
    return gradient_steps


def _move(
    part: _Bundle,
    velocity_scales: Sequence[torch.Tensor],
    step_scales: Sequence[torch.Tensor] | torch.Tensor | None,
    variable_config: VariableConfig,
    config: UpdateConfig,
) -> None:
    """The end of `lars_update`."""
    has_decay = not is_nothing(variable_config.weight_decay)
    decayed = _fresh_decayed(part, variable_config) if has_decay else part.g
    if part.v is None:
        torch._foreach_sub_(part.w, torch._foreach_mul(decayed, velocity_scales))
        return
    v = part.v
    if v[0].dtype != decayed[0].dtype:  # rounded once, at the end
        v = [torch.empty_like(g) for g in part.g]
        torch._foreach_copy_(v, part.v)
    # A number would become a tensor once for each of them.
    torch._foreach_mul_(v, decayed[0].new_full((), config.momentum))
    torch._foreach_addcmul_(v, decayed, velocity_scales)
    if v is not part.v:
        torch._foreach_copy_(part.v, v)
    steps = v
    if config.nesterov:
        steps = list(torch._foreach_mul(decayed, velocity_scales))
        torch._foreach_add_(steps, v, alpha=config.momentum)
    if step_scales is not None:
        steps = list(torch._foreach_mul(steps, step_scales))
    torch._foreach_sub_(part.w, steps)


def with_least_norms(
    variable_config: VariableConfig, least_norms: Sequence[float], like: torch.Tensor
) -> VariableConfig:
    """For variables in the order of these, equal ones side by side: a vector is filled for each."""
    counts: dict[float, int] = {}
    for least_norm in least_norms:
        counts[least_norm] = counts.get(least_norm, 0) + 1
    if list(counts) == [0.0]:
        return dataclasses.replace(variable_config, least_norm=0.0)
    vectors = [like.new_full((count,), least_norm) for least_norm, count in counts.items()]
    return dataclasses.replace(variable_config, least_norm=torch.cat(vectors))
