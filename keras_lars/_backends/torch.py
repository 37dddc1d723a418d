"""The update on torch: weights and velocities in place.

A new array for the result of each operation costs more than the operation. So here the ratios of
all variables come from one call of the update rule, on a vector of norms, and the weights and
velocities are overwritten piece by piece, while a piece is in the processor's cache.
"""

import collections
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import torch

from keras_lars._backends.functional import FunctionalBackend, Values
from keras_lars._backends.torch_norms import norm, norm_of_pieces
from keras_lars._types import Variable
from keras_lars._update_rule import (
    Record,
    UpdateConfig,
    VariableConfig,
    momentum_step,
    scales,
    trust_ratio,
    unadapted_ratio,
)

if TYPE_CHECKING:
    from keras_lars._backends.base import BuiltUpdate
    from keras_lars._keras.optimizer import KerasOptimizer

# Elements of a piece: enough to hide the cost of a call, few enough for the cache.
_PIECE = 2**18


class TorchBackend(FunctionalBackend):
    """As `FunctionalBackend`, with weights and velocities overwritten where that may be."""

    def dense(self, gradient: Any, variable: Variable) -> torch.Tensor:
        del variable  # torch's sparse tensors know their shape
        return _dense(gradient)

    def finite_or_not(self, gradient: Any) -> torch.Tensor:
        return _dense(gradient)  # torch does not say whether a sparse tensor is finite

    def apply(
        self, optimizer: "KerasOptimizer", gradients: list[torch.Tensor], positions: list[int]
    ) -> None:
        with torch.no_grad():
            super().apply(optimizer, gradients, positions)

    def update_variables(
        self,
        update: "BuiltUpdate",
        values: Values,
        gradients: list[torch.Tensor],
        positions: list[int],
        learning_rate: torch.Tensor,
    ) -> tuple[Values, list[Record | None]]:
        """As `FunctionalBackend`, but what `values` holds is overwritten where that may be."""
        if not _are_of_variables(values.values()):
            return super().update_variables(update, values, gradients, positions, learning_rate)
        groups = collections.defaultdict(list)
        for i, g in zip(positions, gradients):
            tensors = _Tensors(i, values["variables", i], g, values.get(("velocities", i)))
            groups[update.variable_configs[i], g.dtype].append(tensors)
        records: dict[int, Record] = {}
        for (variable_config, _), group in groups.items():
            records.update(_update_group(group, learning_rate, variable_config, update.config))
        new = {("variables", i): values["variables", i] for i in positions}
        return new, [records.get(i) for i in positions]


def _dense(gradient: Any) -> torch.Tensor:
    """The same where it is dense already, and not sparse as that of `nn.Embedding`."""
    gradient = keras.ops.convert_to_tensor(gradient)
    return gradient if gradient.layout == torch.strided else gradient.to_dense()


class _Tensors(NamedTuple):
    """Of one variable; `w` and `v` are what the variables hold, and `v` may be `None`."""

    position: int
    w: torch.Tensor
    g: torch.Tensor
    v: torch.Tensor | None


def _are_of_variables(values: Iterable[torch.Tensor]) -> bool:
    """Whether these are what variables hold, and neither a caller's nor casts of them."""
    with keras.StatelessScope(initialize_variables=False) as scope:
        if scope.original_scope is not None:
            return False
    return all(isinstance(value, torch.nn.Parameter) for value in values)


def _update_group(
    group: list[_Tensors],
    learning_rate: torch.Tensor,
    variable_config: VariableConfig,
    config: UpdateConfig,
) -> dict[int, Record]:
    """Update variables that are treated alike; the records by position, where they are kept."""
    dtype = group[0].g.dtype
    learning_rate = learning_rate.to(dtype)
    if variable_config.adapted or config.record_trust_ratios:
        weight_norms = torch.stack([_weight_norm(each) for each in group]).to(dtype)
        gradient_norms = torch.stack(
            [_gradient_norm(each, variable_config, config) for each in group]
        ).to(dtype)
    if variable_config.adapted:
        nan_probes = gradient_norms
        ratios = trust_ratio(weight_norms, gradient_norms, learning_rate, variable_config, config)
    else:
        # Zero times the gradient is 0 or NaN, and so is the sum.
        nan_probes = torch.stack([(0.0 * each.g).sum() for each in group])
        ratios = unadapted_ratio(nan_probes, learning_rate, config)

    velocity_scale, step_scale = scales(ratios, nan_probes, learning_rate, config)
    velocity_scales = velocity_scale.unbind()
    step_scales = (
        [None] * len(group) if step_scale is None else step_scale.expand(len(group)).unbind()
    )
    for tensors, velocity_scale, step_scale in zip(group, velocity_scales, step_scales):
        _, *of_variable = tensors
        for w, g, v in _pieces(*of_variable):
            move(w, g, v, velocity_scale, step_scale, variable_config, config)

    if not config.record_trust_ratios:
        return {}
    columns = [column.unbind() for column in (weight_norms, gradient_norms, ratios)]
    return {each.position: Record(*row) for each, row in zip(group, zip(*columns))}


def _weight_norm(tensors: _Tensors) -> torch.Tensor:
    _, w, g, _ = tensors
    if w.dtype == g.dtype:
        return norm(w)
    return norm_of_pieces(part.to(g.dtype) for (part,) in _pieces(w))


def _gradient_norm(
    tensors: _Tensors, variable_config: VariableConfig, config: UpdateConfig
) -> torch.Tensor:
    _, w, g, v = tensors
    if config.momentum_form == "ratio_of_update" and v is not None:
        pieces = _pieces(w, g, v)
        return norm_of_pieces(_step(w, g, v, variable_config, config) for w, g, v in pieces)
    if not (config.decay_in_norm and variable_config.weight_decay):
        return norm(g)
    return norm_of_pieces(_decayed(w, g, variable_config) for w, g in _pieces(w, g))


def _pieces(*tensors: torch.Tensor | None) -> Iterable[tuple[Any, ...]]:
    """Views of the same elements of each. `None` stays what it is."""
    given = [x for x in tensors if x is not None]
    if given[0].numel() <= _PIECE or not all(x.is_contiguous() for x in given):
        return [tensors]
    split = [x.view(-1).split(_PIECE) for x in given]
    split += [[None] * len(split[0])] * (len(tensors) - len(given))
    return zip(*split, strict=True)


def _step(
    w: torch.Tensor,
    g: torch.Tensor,
    v: torch.Tensor,
    variable_config: VariableConfig,
    config: UpdateConfig,
) -> torch.Tensor:
    _, step = momentum_step(v.to(g.dtype), _decayed(w, g, variable_config), config)
    return step


def _decayed(w: torch.Tensor, g: torch.Tensor, variable_config: VariableConfig) -> torch.Tensor:
    if not variable_config.weight_decay:
        return g
    return torch.add(g, w.to(g.dtype), alpha=variable_config.weight_decay)


def move(
    w: torch.Tensor,
    g: torch.Tensor,
    v: torch.Tensor | None,
    velocity_scale: torch.Tensor,
    step_scale: torch.Tensor | None,
    variable_config: VariableConfig,
    config: UpdateConfig,
) -> None:
    """The end of `lars_update`, in place: half the time of the same with a new array each time.

    The one place that says again what the update rule says.
    """
    decayed = _decayed(w, g, variable_config)
    if v is None:
        step = velocity_scale * decayed
    else:
        # A copy where the stored dtype is another one.
        new_v = v.to(g.dtype).mul_(config.momentum).addcmul_(velocity_scale, decayed)
        if new_v is not v:
            v.copy_(new_v)
        step = new_v
        if config.nesterov:
            step = torch.mul(velocity_scale, decayed).add_(new_v, alpha=config.momentum)
    if step_scale is not None:
        step = step_scale * step
    new_w = w.to(g.dtype).sub_(step)
    if new_w is not w:
        w.copy_(new_w)
