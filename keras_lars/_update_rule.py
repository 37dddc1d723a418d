"""The LARS update of one variable, as pure functions of tensors.

Algorithm 1 of You, Gitman and Ginsburg 2017 (arXiv 1708.03888), with our argument names::

    norm_w = max(|w|, weight_norm_floor * sqrt(units))                            # not in the paper
    trust_ratio = trust_coefficient * norm_w / (|g| + weight_decay * |w| + epsilon)  # equation 6
    v = momentum * v + learning_rate * trust_ratio * (g + weight_decay * w)
    w = w - v

and the variants that other implementations use (see `UpdateConfig`). Nothing here knows about
variables, optimizers or devices. The function that computes norms is passed in as `norms`.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import keras
from keras import ops

MomentumForm: TypeAlias = Literal[
    "classic", "learning_rate_outside", "ratio_outside", "ratio_of_update"
]
MOMENTUM_FORMS: tuple[MomentumForm, ...] = get_args(MomentumForm)

Tensor = Any
Number: TypeAlias = float | Tensor  # 0 is always a float, never a tensor: see `is_nothing`
Norms = Callable[..., list[Tensor]]  # the Euclidean norm of each of its arguments, all of one shape


@dataclasses.dataclass(frozen=True)
class UpdateConfig:
    """The settings that all variables share, named like the arguments of `keras_lars.LARS`."""

    momentum: Number
    trust_coefficient: Number
    nesterov: bool
    momentum_form: MomentumForm
    decay_in_norm: bool
    epsilon: Number
    trust_clip: bool
    zero_weight_ratio: Number | None
    zero_gradient_ratio: Number | None
    unadapted_learning_rate_multiplier: Number
    record_trust_ratios: bool


@dataclasses.dataclass(frozen=True)
class VariableConfig:
    """The settings of one variable.

    Attributes:
        adapted: Whether the variable has a trust ratio.
        weight_decay: The weight decay; 0 if the variable is excluded from it.
        least_norm: See `least_norm`.
    """

    adapted: bool
    weight_decay: Number
    least_norm: Number


class Record(NamedTuple):
    """The two norms and the ratio of one update; `None` where nothing is recorded."""

    weight_norm: Tensor
    gradient_norm: Tensor
    trust_ratio: Tensor


def is_nothing(number: Number) -> bool:
    """Whether a number is the constant 0, so that its term can be left out."""
    return is_number(number) and number == 0


def is_number(number: Number) -> bool:
    """Whether a number is a Python number, and so a constant, rather than a tensor."""
    return isinstance(number, float | int)


def compute_dtype(variable_dtype: str) -> str:
    """Norms and updates are float64 for float64 variables, and float32 for all others."""
    return "float64" if variable_dtype == "float64" else "float32"


def plain_norms(*tensors: Tensor) -> list[Tensor]:
    """The Euclidean norm of each tensor, by a plain sum, which all backends add in a tree.

    For 1e8 constant, skewed or normal float32 values on a CPU, the result is within 4e-7 of the
    float64 norm on all three backends. torch's own `vector_norm` is off by 4e-2.
    """
    return [ops.sqrt(ops.sum(x * x)) for x in tensors]


def differentiable_norms(*tensors: Tensor) -> list[Tensor]:
    """Like `plain_norms`, except that the derivative of a norm of 0 is 0 instead of infinite."""
    return [differentiable_root(ops.sum(x * x)) for x in tensors]


def differentiable_root(square: Tensor) -> Tensor:
    """The square root, with a derivative of 0 at 0.

    Neither branch takes the root of 0, whose infinite derivative times 0 would be NaN.
    """
    is_zero = square == 0
    return ops.where(is_zero, square, ops.sqrt(ops.where(is_zero, ops.ones_like(square), square)))


def full_like(tensor: Tensor, number: Number) -> Tensor:
    """A tensor of the same shape, dtype and device, filled with a number.

    torch creates `ops.full_like`, and a number in `ops.where` or `ops.maximum`, on the host, and
    waits for the copy to the device.
    """
    return ops.zeros_like(tensor) + number


def larger(tensor: Tensor, other: Tensor) -> Tensor:
    """The maximum, in the dtype of the tensors: `ops.maximum` of float64 is float32 on torch."""
    if hasattr(tensor, "maximum"):  # on torch
        return tensor.maximum(other)
    return ops.maximum(tensor, other)


def replaced(tensor: Tensor, condition: Tensor, number: Number) -> Tensor:
    """The tensor, replaced by a number where the condition holds."""
    if hasattr(tensor, "masked_fill"):  # one torch call instead of three
        return tensor.masked_fill(condition, number)
    return ops.where(condition, full_like(tensor, number), tensor)


def least_norm(shape: Sequence[int], weight_norm_floor: float) -> float:
    """The smallest norm that the ratio uses for a weight of this shape, so that it can leave 0.

    It is proportional to the square root of the number of units, which is the size of the last
    axis. The norms of biases and kernels grow in the same way, whatever the number of inputs:
    Keras's initializers give a unit a norm near 1.
    """
    return weight_norm_floor * math.sqrt(shape[-1] if len(shape) else 1)


def trust_ratio(
    weight_norm: Tensor,
    gradient_norm: Tensor,
    learning_rate: Tensor,
    variable_config: VariableConfig,
    config: UpdateConfig,
) -> Tensor:
    """The trust ratio of an adapted variable.

    `gradient_norm` is the norm of what `in_denominator` returns.
    """
    norm_w = weight_norm
    if not is_nothing(variable_config.least_norm):
        least = variable_config.least_norm
        if is_number(least):
            least = full_like(weight_norm, least)
        norm_w = larger(weight_norm, least)
    numerator = config.trust_coefficient * norm_w
    denominator = gradient_norm if is_nothing(config.epsilon) else gradient_norm + config.epsilon
    if not is_nothing(variable_config.weight_decay) and not config.decay_in_norm:
        denominator = denominator + variable_config.weight_decay * weight_norm

    # Where a condition holds, the ratio is a constant; the last condition that holds wins. Both
    # sides of the division are replaced, so that 0 / 0 is never computed.
    constants = []
    if config.zero_weight_ratio is None or config.zero_gradient_ratio is None:
        constants.append((denominator == 0, 1.0))
    if config.zero_gradient_ratio is not None:
        zero_gradient = gradient_norm == 0
        if config.zero_weight_ratio is None:
            zero_gradient = zero_gradient & (weight_norm != 0)
        constants.append((zero_gradient, config.zero_gradient_ratio))
    if config.zero_weight_ratio is not None:
        constants.append((weight_norm == 0, config.zero_weight_ratio))
    for condition, constant in constants:
        numerator = replaced(numerator, condition, constant)
        denominator = replaced(denominator, condition, 1.0)
    numerator = nan_unless_finite(nan_unless_finite(numerator, gradient_norm), weight_norm)
    ratio = numerator / denominator

    if config.trust_clip:
        # LARC: the local rate, learning_rate * ratio, never exceeds the global one.
        one = ops.ones_like(learning_rate)
        per_rate = ratio / ops.where(learning_rate == 0, one, learning_rate)
        # Not `ops.minimum`: on some backends the minimum of NaN and 1 is 1.
        ratio = ops.where(ratio >= learning_rate, one, per_rate)
    return ratio


def nan_unless_finite(value: Tensor, norm: Tensor) -> Tensor:
    """The value, or NaN where the norm is not finite.

    It is used on factors of the gradient, so that the whole variable and its velocity become NaN.
    Otherwise x / inf = 0 would pass as a small ratio. While the norm is finite, no intermediate
    result is infinite or NaN, which would alarm tools that search for NaN. (`norm - norm` and not
    `0 * norm`, which TensorFlow's graph optimizer would reorder, differently on each replica.)
    """
    return value + (norm - norm)


def unadapted_ratio(nan_probe: Tensor, learning_rate: Tensor, config: UpdateConfig) -> Tensor:
    """The ratio of a variable that is not adapted. `nan_probe` is finite if its gradient is."""
    ratio = full_like(learning_rate, config.unadapted_learning_rate_multiplier)
    return nan_unless_finite(ratio, nan_probe)


def scales(
    ratio: Tensor, nan_probe: Tensor, learning_rate: Tensor, config: UpdateConfig
) -> tuple[Tensor, Tensor | None]:
    """The factors of the gradient that enters the velocity, and of the step that leaves it.

    The second is `None` if the step is not scaled.
    """
    local_rate = learning_rate * ratio
    if is_nothing(config.momentum):
        return local_rate, None  # without momentum all forms are the same
    match config.momentum_form:
        case "classic":
            return local_rate, None
        case "learning_rate_outside":
            return ratio, learning_rate
        case "ratio_outside" | "ratio_of_update":
            return nan_unless_finite(ops.ones_like(ratio), nan_probe), local_rate


def momentum_step(v: Tensor, gradient_step: Tensor, config: UpdateConfig) -> tuple[Tensor, Tensor]:
    """The new velocity, and the step that follows from it."""
    v = config.momentum * v + gradient_step
    return v, config.momentum * v + gradient_step if config.nesterov else v


def decayed_gradient(w: Tensor, g: Tensor, variable_config: VariableConfig) -> Tensor:
    """The gradient with weight decay."""
    if is_nothing(variable_config.weight_decay):
        return g
    return g + variable_config.weight_decay * w


def in_denominator(g: Tensor, decayed: Tensor, v: Tensor | None, config: UpdateConfig) -> Tensor:
    """The tensor whose norm is in the denominator of the ratio."""
    if config.momentum_form == "ratio_of_update" and v is not None:
        _, step = momentum_step(v, decayed, config)
        return step
    return decayed if config.decay_in_norm else g


def moved(
    w: Tensor,
    decayed: Tensor,
    v: Tensor | None,
    velocity_scale: Tensor,
    step_scale: Tensor | None,
    config: UpdateConfig,
) -> tuple[Tensor, Tensor | None]:
    """The new weight and velocity, with the factors that `scales` returns."""
    if v is None:
        return w - velocity_scale * decayed, None
    v, step = momentum_step(v, velocity_scale * decayed, config)
    return w - (step if step_scale is None else step_scale * step), v


def lars_update(
    w: Tensor,
    g: Tensor,
    v: Tensor | None,
    learning_rate: Tensor,
    variable_config: VariableConfig,
    config: UpdateConfig,
    norms: Norms = plain_norms,
) -> tuple[Tensor, Tensor | None, Record | None]:
    """One update: the new weight, the new velocity (None without momentum), and the record.

    `w`, `g` and `v` have the same shape, and `learning_rate` is a scalar. `w` and `v` are passed
    and returned in the variable's dtype. `g` and all results in between have the compute dtype.
    """
    stored_dtype = keras.backend.standardize_dtype(w.dtype)
    dtype = compute_dtype(stored_dtype)
    w, learning_rate = ops.cast(w, dtype), ops.cast(learning_rate, dtype)
    v = None if v is None else ops.cast(v, dtype)

    decayed = decayed_gradient(w, g, variable_config)
    if variable_config.adapted or config.record_trust_ratios:
        weight_norm, gradient_norm = norms(w, in_denominator(g, decayed, v, config))
    if variable_config.adapted:
        nan_probe = gradient_norm
        ratio = trust_ratio(weight_norm, gradient_norm, learning_rate, variable_config, config)
    else:
        # Zero times the gradient is 0 or NaN, so its norm is too, and cannot overflow.
        (nan_probe,) = norms(0.0 * g)
        ratio = unadapted_ratio(nan_probe, learning_rate, config)
    velocity_scale, step_scale = scales(ratio, nan_probe, learning_rate, config)
    w, v = moved(w, decayed, v, velocity_scale, step_scale, config)

    record = None
    if config.record_trust_ratios:
        record = Record(weight_norm, gradient_norm, ratio)
    v = None if v is None else ops.cast(v, stored_dtype)
    return ops.cast(w, stored_dtype), v, record
