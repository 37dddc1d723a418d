"""`LARS`, the optimizer: its arguments and what `build` decides. The math is in `_update_rule`."""

import sys
import warnings
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal

import keras

from keras_lars import (
    _arguments,
    _backends,
    _exclusions,
    _fit_checks,
    _foreign_names,
    _lars_arguments,
    _rates,
    _representation,
    _variables,
)
from keras_lars._accumulation import plain
from keras_lars._backends import BuiltUpdate
from keras_lars._exclusion_arguments import ExclusionRules
from keras_lars._selection import SelectingOptimizer
from keras_lars._squared_norms import MeasuringOptimizer
from keras_lars._types import KerasArguments, LearningRate, Variable
from keras_lars._update_rule import MomentumForm, UpdateConfig, VariableConfig, least_norm

if sys.version_info >= (3, 11):
    from typing import Unpack
elif TYPE_CHECKING:
    from typing_extensions import Unpack


@keras.saving.register_keras_serializable(package="keras_lars")
class LARS(SelectingOptimizer, MeasuringOptimizer):
    """Layer-wise adaptive rate scaling: momentum SGD with a local learning rate for each variable.

    Use it to train with large batches. The size of each step is tied to the norm of the variable
    that it updates, so one learning rate suits all layers. Use learning rates of 4 to 40, larger
    for larger batches, with a warm-up: `keras_lars.schedules.for_fit` makes such a schedule for a
    whole `fit`. With small batches, SGD with Nesterov momentum works as well. In networks with
    normalization it also does at one large batch size, if you tune its learning rate, momentum and
    warm-up for that size. If the training run makes only 20 to 80 updates, try `nesterov=True`.

    The update of a variable `w` with gradient `g` is the paper's, except for a floor on the weight
    norm, which lets variables that start at 0 move:

    ```python
    norm_w = max(norm(w), weight_norm_floor * sqrt(w.shape[-1]))
    trust_ratio = trust_coefficient * norm_w / (norm(g) + weight_decay * norm(w) + epsilon)
    v = momentum * v + learning_rate * trust_ratio * (g + weight_decay * w)
    w = w - v
    ```

    `g` is summed over replicas, averaged over accumulated micro-batches, unscaled, and then
    clipped. `weight_decay` is 0 for variables that are excluded from it. Norms are float32 (float64
    for float64 variables), whatever the dtype of the variable. A non-finite gradient makes its
    variable and velocity NaN, so `keras.callbacks.TerminateOnNaN` detects it.

    Args:
        learning_rate: Number, `LearningRateSchedule`, or callable without arguments. The global
            learning rate. Schedules are called with the number of updates. A schedule made by
            `keras_lars.schedules.for_fit` adapts to `gradient_accumulation_steps`. LARS warns
            of rates meant for Adam. Defaults to `4.0`, a compromise between batch sizes for a rate
            that stays constant.
        momentum: Number in [0, 1). After `build`, the list `momentums` has the velocity of each
            variable, in their order; with 0 no velocity is kept. Defaults to `0.9`.
        weight_decay: Number >= 0, the factor of the L2 penalty. Defaults to `5e-4`.
        trust_coefficient: Number >= 0. The size of a variable's step relative to its norm, at a
            learning rate of 1. Defaults to `1e-3`.
        nesterov: Boolean. Whether to step by `momentum * v + ...`, with the new `v`, instead of by
            `v`. Defaults to `False`.
        momentum_form: Where the learning rate and the trust ratio are applied. The first three
            forms are equivalent while both are constant.

            - `"classic"`: as above; the paper, `keras.optimizers.SGD`, optax, MLPerf.
            - `"learning_rate_outside"`: `v = momentum * v + trust_ratio * (g + weight_decay * w)`
              and `w = w - learning_rate * v`; PyTorch implementations.
            - `"ratio_outside"`: `v = momentum * v + g + weight_decay * w` and
              `w = w - learning_rate * trust_ratio * v`; the old `tf.contrib`.
            - `"ratio_of_update"`: like `"ratio_outside"`, but the denominator is
              `norm(v) + epsilon`, with the Nesterov step instead of `v` if `nesterov=True`;
              SimCLR's `classic_momentum=False`. Requires `decay_in_norm=True`, as `v` includes the
              decay.
        decay_in_norm: Boolean. If `True`, the denominator is
            `norm(g + weight_decay * w) + epsilon`, as in optax and SimCLR. Defaults to `False`.
        epsilon: Number >= 0, added to the denominator. Defaults to `0.0`.
        trust_clip: Boolean. If `True`, the ratio is `min(trust_ratio / learning_rate, 1)`, as in
            LARC, and 1 at a learning rate of 0. Then, at any rate, a gradient moves a variable by
            at most `trust_coefficient` of its norm. Defaults to `False`.
        weight_norm_floor: Number >= 0. The smallest weight norm that the ratio uses, as a root mean
            square: over the elements of a bias or gamma, over the norms of a kernel's units. It
            lets variables that start at 0 move. Kernels with Keras's default initializer exceed it.
            With 0 the update is that of the paper and others. Defaults to `0.05`.
        zero_weight_ratio: Number >= 0, the ratio used if `norm(w)` is 0. `None` uses the formula,
            which without a floor gives 0, or 1 if its denominator is 0. Other implementations use
            1: a bias at 0 takes its first step at the full learning rate. Defaults to `None`.
        zero_gradient_ratio: Number >= 0, or `None` for the formula. The ratio used if `norm(w)` is
            not 0 but the gradient norm in the denominator is. Defaults to `1.0`.
        exclude_from_layer_adaptation: A rule or a list of rules. Matching variables use the plain
            learning rate. A rule is a regular expression searched in `variable.path`, a variable, a
            callable that takes a variable, `keras_lars.rank_at_most(n)`,
            `keras_lars.bias_or_normalization()` or `keras_lars.optional(pattern)`. Defaults to
            none, as in the paper: without batch normalization, biases diverge at the plain rate.
        exclude_from_weight_decay: The same for weight decay. `None` means
            `keras_lars.bias_or_normalization()`; an empty list excludes nothing.
        unadapted_learning_rate_multiplier: Number >= 0. Replaces the ratio for variables that are
            excluded from layer adaptation, and is never clipped. Defaults to `1.0`.
        record_trust_ratios: Boolean. Whether to keep each variable's norms and ratio of the last
            update for `trust_ratios`. Defaults to `False`.
        record_noise_scale: Boolean. Whether to keep squared norms of the gradients of
            micro-batches, of replicas and of their mean, for
            `keras_lars.callbacks.NoiseScaleMonitor`. Requires `gradient_accumulation_steps` or a
            strategy with several replicas. Defaults to `False`.
        jit_compile: `"auto"`, `True` or `False`, for TensorFlow: whether to compile each variable's
            update with XLA, even if Keras does not compile the step. `"auto"` compiles where XLA is
            available; `True` raises an error where it is not. JAX always compiles the whole step.
            With `False`, norms in a step that Keras compiles are as accurate as XLA's float32 sum.
        name: String, the name of the optimizer. Defaults to `"lars"`.
        **kwargs: The other arguments of `keras.optimizers.Optimizer`: `clipnorm`, `clipvalue`,
            `global_clipnorm`, `use_ema`, `ema_momentum`, `ema_overwrite_frequency`,
            `loss_scale_factor` and `gradient_accumulation_steps`. With accumulation all of them
            count updates, so k micro-batches equal one batch k times as large. The batch can grow:
            with `gradient_accumulation_steps={0: 1, 500: 4}` each of the first 500 updates uses one
            micro-batch, and each later update uses four.

    Raises:
        ValueError: If an argument is invalid; in `build`, if a pattern or variable of a rule is not
            found, a variable is not a 16-, 32- or 64-bit float or not of a fully defined shape,
            `jit_compile=True` and XLA cannot compile, or under `ParameterServerStrategy`; if any
            argument but `learning_rate` is assigned after `build`.

    Example:

    >>> optimizer = keras_lars.LARS(learning_rate=10, momentum=0, weight_decay=0)
    >>> w = keras.Variable([3.0, 4.0])
    >>> optimizer.apply([keras.ops.array([0.0, 0.5])], [w])
    >>> [round(float(x), 4) for x in w.numpy()]  # moved by 10 * 1e-3 * 5, against the gradient
    [3.0, 3.95]

    Reference:
        - [You, Gitman and Ginsburg, 2017](https://arxiv.org/abs/1708.03888), equation 6 and
          Algorithm 1, whose printed version lacks the trust coefficient.
    """

    def __init__(
        self,
        learning_rate: "LearningRate" = 4.0,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        trust_coefficient: float = 1e-3,
        *,
        nesterov: bool = False,
        momentum_form: "MomentumForm" = "classic",
        decay_in_norm: bool = False,
        epsilon: float = 0.0,
        trust_clip: bool = False,
        weight_norm_floor: float = 0.05,
        zero_weight_ratio: float | None = None,
        zero_gradient_ratio: float | None = 1.0,
        exclude_from_layer_adaptation: "ExclusionRules | None" = None,
        exclude_from_weight_decay: "ExclusionRules | None" = None,
        unadapted_learning_rate_multiplier: float = 1.0,
        record_trust_ratios: bool = False,
        record_noise_scale: bool = False,
        jit_compile: Literal["auto"] | bool = "auto",
        name: str = "lars",
        **kwargs: "Unpack[KerasArguments]",
    ):
        learning_rate = _arguments.learning_rate("learning_rate", learning_rate, tensors=False)
        _foreign_names.refuse_unknown(kwargs, _lars_arguments.defaults(LARS))
        of_keras: dict[str, Any] = {
            argument: _lars_arguments.checked(argument, value) for argument, value in kwargs.items()
        }
        weight_decay = _lars_arguments.checked("weight_decay", weight_decay)
        of_keras["name"] = _arguments.name_of_optimizer("name", name)
        steps = of_keras.pop("gradient_accumulation_steps", None)
        learning_rate = _rates.counted(learning_rate, steps)
        super().__init__(learning_rate, weight_decay, **of_keras)
        self.gradient_accumulation_steps = steps  # Keras accepts only integers
        self._assigned_learning_rate = learning_rate
        self._given_learning_rate = learning_rate if isinstance(learning_rate, float) else None
        self._has_warned_of_rate = False
        self._largest_assigned_rate: float | None = None
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.trust_coefficient = trust_coefficient
        self.nesterov = nesterov
        self.momentum_form = momentum_form
        self.decay_in_norm = decay_in_norm
        self.epsilon = epsilon
        self.trust_clip = trust_clip
        self.weight_norm_floor = weight_norm_floor
        self.zero_weight_ratio = zero_weight_ratio
        self.zero_gradient_ratio = zero_gradient_ratio
        self.unadapted_learning_rate_multiplier = unadapted_learning_rate_multiplier
        self.record_trust_ratios = record_trust_ratios
        self.record_noise_scale = record_noise_scale
        self.jit_compile = jit_compile
        _lars_arguments.check_momentum_form(momentum_form, decay_in_norm)
        self._set_rules(exclude_from_layer_adaptation, exclude_from_weight_decay)
        self.momentums = []
        self._is_rate_undecided = _rates.warn_if_tiny(self)
        _lars_arguments.warn_of_mistakes(self)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "learning_rate":
            self._assign_learning_rate(value)
            return
        if type(self) is LARS:  # a subclass may have attributes of any name
            _foreign_names.refuse_attribute(name, value)
        if name in _lars_arguments.CHECKS:
            value = _lars_arguments.checked(name, value)
            # A traced function would keep using the old value.
            if getattr(self, "built", False) and value != getattr(self, name):
                raise ValueError(
                    f"`{name}` must not be assigned once the optimizer is built; only "
                    f"`learning_rate` may. Received: {name}={value!r}, but it is "
                    f"{getattr(self, name)!r}"
                )
        super().__setattr__(name, value)

    def _assign_learning_rate(self, value: LearningRate) -> None:
        value = _arguments.learning_rate("learning_rate", value)
        _rates.check_assignable(value, self._schedule)
        _rates.warn_if_absolute(self, value)
        value = _rates.counted(value, self.gradient_accumulation_steps)
        # Keras's `__setattr__` would call a callable.
        keras.optimizers.Optimizer.learning_rate.fset(self, value)
        if isinstance(value, float):
            self._assigned_learning_rate = value
            _rates.note_assigned(self, value)

    def build(self, variables: Sequence[Variable]) -> None:
        """Decide how each variable is treated, and create its slots.

        Without variables this does nothing, and the optimizer can still be built later.
        """
        if self.built:
            return
        # Checked again, because arguments can be assigned until now.
        _lars_arguments.check_momentum_form(self.momentum_form, self.decay_in_norm)
        if self._schedule is not None:
            self.learning_rate = self._schedule
        _rates.check_first(self)
        _backends.current().check_strategy()
        variables = _arguments.variables("variables", variables)
        variables = variables or self._variables_of_loaded_model()
        if not variables:
            return
        _variables.check(variables)
        table = self._select(variables, self.weight_decay)
        compiled = self._compiles(variables)
        super().build(variables)
        if self.momentum:
            self.momentums = [
                None
                if _variables.is_overwritten(variable)
                else self.add_variable_from_reference(variable, "momentum")
                for variable in variables
            ]
        self._update = BuiltUpdate(
            config=self._update_config(),
            variable_configs=[
                VariableConfig(
                    row.adapted,
                    self.weight_decay if row.decayed else 0.0,
                    least_norm(row.shape, self.weight_norm_floor),
                )
                for row in table
            ],
            table=table,
            record=self._add_record(variables),
            squares=self._add_squares(variables),
            compiled=compiled,
        )
        self._restore_waiting()
        self._is_rate_undecided = self._is_rate_undecided and _rates.warn_if_tiny(self)
        _fit_checks.at_build(self)

    def _update_config(self) -> UpdateConfig:
        return UpdateConfig(**{f.name: getattr(self, f.name) for f in fields(UpdateConfig)})

    def _compiles(self, variables: Sequence[Variable]) -> bool:
        if self.jit_compile is False:
            return False
        error = _backends.current().xla_error(variables)
        if error is not None and self.jit_compile is True:
            raise ValueError(
                f"`jit_compile` must not be True if XLA cannot compile: {error}. "
                "Received: jit_compile=True"
            )
        return error is None

    def finalize_variable_values(self, var_list: Sequence[keras.Variable]) -> None:
        """End a `fit`: overwrite the variables with their averages, if these are kept."""
        super().finalize_variable_values(var_list)
        _fit_checks.at_end(self)

    def __repr__(self) -> str:
        return _representation.call(self, self._differing)

    def _differing(self) -> list[str]:
        """The arguments that differ from the defaults, as a user would write them."""
        defaults = _lars_arguments.defaults(LARS) | {
            "exclude_from_layer_adaptation": (),
            "exclude_from_weight_decay": (_exclusions.bias_or_normalization(),),
        }
        apart = {
            "learning_rate": self._current_learning_rate(),
            "exclude_from_layer_adaptation": self._adaptation_rules,
            "exclude_from_weight_decay": self._decay_rules,
        }
        values = {
            argument: apart[argument] if argument in apart else getattr(self, argument)
            for argument in defaults
        }
        return _representation.differing(values, defaults)

    def _state_marker(self) -> dict[str, str]:
        """What distinguishes this state from that of other optimizers and momentum forms."""
        form = self.momentum_form if self.momentum else "none"
        return {"class": "LARS", "momentum_form": form}

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` makes the same optimizer.

        Raises:
            ValueError: If a rule is a callable that is not registered with Keras, or a variable
                while the optimizer is not built.
        """
        own = {argument: getattr(self, argument) for argument in _lars_arguments.OF_LARS}
        steps = {"gradient_accumulation_steps": plain(self.gradient_accumulation_steps)}
        return {**super().get_config(), **steps, **own, **self._rules_config()}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, type] | None = None
    ) -> "LARS":
        """Make the optimizer from a configuration, which may be of an older version."""
        if not isinstance(config, dict):
            raise _arguments.refusal("config", "a dictionary, as `get_config` returns it", config)
        with warnings.catch_warnings():  # whoever made the optimizer was warned
            warnings.filterwarnings("ignore", f"{_rates.TINY}|{_lars_arguments.MISTAKES}")
            made = super().from_config(_lars_arguments.completed(config), custom_objects)
        made._is_rate_undecided = False
        return made
