"""`LossScaleOptimizer`: dynamic loss scaling on which all replicas agree."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

import keras

from keras_lars import _arguments, _backends, _representation
from keras_lars._keras.fitted_model import loaded_model
from keras_lars._types import Array, Tensor, Variable

if sys.version_info >= (3, 11):
    from typing import Unpack
elif TYPE_CHECKING:
    from typing_extensions import Unpack


class _OfOlderVersions(TypedDict, total=False):
    """Arguments that Keras accepts, with their defaults only, from configurations of old models."""

    dynamic: bool
    weight_decay: None
    clipnorm: None
    global_clipnorm: None
    clipvalue: None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: None
    loss_scale_factor: None
    gradient_accumulation_steps: None


@keras.saving.register_keras_serializable(package="keras_lars")
class LossScaleOptimizer(keras.optimizers.LossScaleOptimizer):
    """Keras's dynamic loss scaling, with one decision for all replicas.

    Use it to wrap an optimizer for `mixed_float16` training on several replicas. Keras's own
    `LossScaleOptimizer` checks the gradients of one replica only, before they are summed. If
    another replica has an infinite gradient, the weights are ruined under `MirroredStrategy`, and
    the workers of a `MultiWorkerMirroredStrategy` deadlock. Keras wraps the optimizer of a
    `mixed_float16` model automatically unless it is already wrapped;
    `keras_lars.multi_worker.prepare` makes it use this wrapper. `mixed_bfloat16` needs no loss
    scaling.

    In each step, `gradients` are those of the scaled loss on every replica:

    ```python
    if all(isfinite(g) for replica in replicas for g in gradients[replica]):
        inner_optimizer.apply([g / dynamic_scale for g in gradients])
        dynamic_scale *= 2 every dynamic_growth_steps such steps in a row
    else:
        dynamic_scale /= 2  # nothing else changes, on any replica
    ```

    Args:
        inner_optimizer: The `keras.optimizers.Optimizer` to wrap.
        initial_scale: Number > 0, the initial loss scale. Defaults to `2**15`.
        dynamic_growth_steps: Integer, the number of consecutive finite steps after which the scale
            doubles. Defaults to `2000`.
        name: String, the name of the optimizer. Defaults to the name of the class.
        **kwargs: The arguments that Keras accepts from configurations of older versions.

    Raises:
        ValueError: If `inner_optimizer` is not a Keras optimizer, or if an argument is invalid or
            unknown.

    Example:

    >>> optimizer = keras_lars.LossScaleOptimizer(keras_lars.LARS(), initial_scale=8.0)
    >>> w = keras.Variable([3.0, 4.0])
    >>> optimizer.apply([keras.ops.array([0.0, float("inf")])], [w])
    >>> w.numpy().tolist(), float(optimizer.dynamic_scale), int(optimizer.iterations)
    ([3.0, 4.0], 4.0, 0)

    Reference:
        - [Micikevicius et al., 2018](https://arxiv.org/abs/1710.03740), section 3.2.
    """

    def __init__(
        self,
        inner_optimizer: keras.optimizers.Optimizer,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
        **kwargs: "Unpack[_OfOlderVersions]",
    ):
        if not isinstance(inner_optimizer, keras.optimizers.Optimizer):
            raise _arguments.refusal("inner_optimizer", "a Keras optimizer", inner_optimizer)
        if isinstance(inner_optimizer, keras.optimizers.LossScaleOptimizer):
            must_be = "an optimizer that does not scale the loss, or gradients are unscaled twice"
            raise _arguments.refusal("inner_optimizer", must_be, inner_optimizer)
        steps = _arguments.integer(minimum=1, maximum=_arguments.LARGEST_STEP)
        super().__init__(
            inner_optimizer,
            _arguments.number(positive=True)("initial_scale", initial_scale),
            steps("dynamic_growth_steps", dynamic_growth_steps),
            name=_arguments.name_of_optimizer("name", name),
            **kwargs,
        )

    def __repr__(self) -> str:
        return _representation.call(self, self._differing)

    def _differing(self) -> list[str]:
        defaults = {"initial_scale": 2.0**15, "dynamic_growth_steps": 2000}
        values = {name: getattr(self, name) for name in defaults}
        return [repr(self.inner_optimizer), *_representation.differing(values, defaults)]

    def build(self, var_list: Sequence[Variable]) -> None:
        """Create the variables of both optimizers, for the model if an `.h5` file is loaded."""
        if not var_list:
            model = loaded_model(self)
            var_list = [] if model is None else list(model.trainable_variables)
        super().build(var_list)

    def exclude_from_weight_decay(
        self,
        var_list: Sequence[Variable] | None = None,
        var_names: Sequence[str] | None = None,
    ) -> None:
        """Call the method of the inner optimizer; Keras's wrapper would not use the rules."""
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def set_weights(self, weights: Sequence[Array]) -> None:
        """Set the variables of both optimizers, in the order of `variables`."""
        own = len(self._variables)
        super().set_weights(weights[:own])
        if weights[own:]:
            self.inner_optimizer.set_weights(weights[own:])

    def check_finite(self, grads: Sequence[Tensor | None]) -> Tensor:
        """Whether all gradients are finite, on all replicas."""
        backend = _backends.current()
        finite = super().check_finite(
            [None if g is None else backend.finite_or_not(g) for g in grads]
        )
        return backend.true_on_all(finite)
