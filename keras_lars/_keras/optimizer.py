"""`keras.optimizers.Optimizer` with faults 1 to 6, 8, 15 to 17 and 21 to 23 repaired."""

import contextlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from keras_lars import _accumulation, _arguments, _backends, _rates
from keras_lars._backends import BuiltUpdate
from keras_lars._keras import hooks
from keras_lars._keras.fitted_model import is_failing, loaded_model, stateless_variables
from keras_lars._keras.saved_state import StatefulOptimizer
from keras_lars._types import LearningRate, Schedule, Tensor, Variable
from keras_lars._update_rule import compute_dtype, full_like, nan_unless_finite
from keras_lars._variables import check_gradient, is_overwritten, path_of, refuse_repeated
from keras_lars._words import counted


class KerasOptimizer(StatefulOptimizer):
    """A Keras optimizer in which everything counts updates and acts on the whole gradient.

    A subclass sets `_update` in `build`. `_backends.base` describes what happens to the gradients.
    """

    _update: BuiltUpdate

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        for base in cls.__mro__[: cls.__mro__.index(KerasOptimizer)]:
            for name in vars(base):
                hooks.refuse(name, f"{base.__qualname__}.{name}")

    def __setattr__(self, name: str, value: object) -> None:
        if name in hooks.NEVER_CALLED:  # only then, because `repr` of many variables is slow
            hooks.refuse(name, f"{name}={value!r}")
        super().__setattr__(name, value)

    def build(self, variables: Sequence[Variable]) -> None:
        """Add the slots that every Keras optimizer has."""
        overwritten = [path_of(variable) for variable in variables if is_overwritten(variable)]
        steps = self.gradient_accumulation_steps
        if overwritten and isinstance(steps, Mapping):
            raise ValueError(
                "`gradient_accumulation_steps` must be an integer or None if Keras overwrites "
                f"variables with their gradients, as in float8. Received: variables {overwritten}, "
                f"gradient_accumulation_steps={steps}"
            )
        refuse_repeated("variables", variables, [self._var_key(each) for each in variables])
        super().build(variables)

    # Applying gradients.

    def apply(
        self,
        grads: Sequence[Tensor | None],
        trainable_variables: Sequence[Variable] | None = None,
    ) -> None:
        """Update variables with their gradients; see `keras.optimizers.Optimizer.apply`."""
        grads = list(grads)
        if not grads:
            return
        variables = self._known_variables(grads, trainable_variables)
        with keras.name_scope(self.name, caller=self):
            grads = self._completed(grads, variables)
            grads, variables = self._filter_empty_gradients(grads, variables)
            grads, variables = self._overwrite_variables_directly_with_gradients(grads, variables)
            whole = self._whole(grads, variables)
            if whole:
                positions = [self._get_variable_index(v) for v in variables]
                _backends.current().apply(self, whole, positions)
        # At the end of the data a step is run without any. It fails, and must not be counted.
        with _backends.current().after(whole):
            _backends.current().count(self._iterations)

    def _known_variables(
        self, grads: list[Tensor], variables: Sequence[Variable] | None
    ) -> list[Variable]:
        if hasattr(variables, "dtype"):  # on JAX, a list of one variable would never end
            must_be = "a list of Keras variables"
            raise _arguments.refusal("trainable_variables", must_be, variables)
        if variables is not None:
            variables = list(variables)
            if not self.built:
                with keras.name_scope(self.name, caller=self):
                    self.build(variables)
            self._check_variables_are_known(variables)
        elif self.built:
            variables = list(self._trainable_variables)
        else:
            raise ValueError(
                "`trainable_variables` must be given to the first call of `apply`, unless the "
                "optimizer is built. Received: trainable_variables=None"
            )
        _check_count(grads, variables)
        return variables

    def stateless_apply(
        self,
        optimizer_variables: list[Tensor],
        grads: list[Tensor],
        trainable_variables: list[Tensor],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """`apply` on values; see `keras.optimizers.Optimizer.stateless_apply`."""
        _check_count(grads, trainable_variables)
        if not self.built and not trainable_variables:
            # Nothing of the model is trained. In the scope of a wrapper these are variables.
            return [], [ops.convert_to_tensor(each) for each in optimizer_variables]
        self._check_variables_of_values()
        return super().stateless_apply(optimizer_variables, grads, trainable_variables)

    def _check_variables_of_values(self) -> None:
        """Raise ValueError if the values in `fit` are not those of the optimizer's variables.

        Keras pairs them by position. Slots of other variables would be used (fault 22).
        """
        variables = stateless_variables(self)
        if variables is None:
            return
        self._check_variables_are_known(variables)
        key = self._var_key
        if list(map(key, variables)) != list(map(key, self._trainable_variables)):
            raise ValueError(
                "On the JAX backend, a model must be trained with all variables that its optimizer "
                "was built with, in the same order. Compile it with a new optimizer after you "
                f"freeze layers. Received: {[path_of(v) for v in variables]}, but the optimizer "
                f"was built with {[path_of(v) for v in self._trainable_variables]}"
            )

    def _variables_of_loaded_model(self) -> list[keras.Variable]:
        """The trainable variables of a model that is being loaded from an `.h5` file, if any."""
        model = loaded_model(self)
        if model is None:
            return []
        if model.optimizer is not self:
            # On JAX, the wrapper that Keras built without variables cannot train (fault 16).
            is_jax = keras.backend.backend() == "jax"
            then = " Compile the model with a new wrapper before you train it." if is_jax else ""
            warnings.warn(
                f"The state of optimizer '{self.name}' was not loaded, because Keras's "
                "`LossScaleOptimizer` loads only its own state from an `.h5` file. Save to a "
                "`.keras` file, or wrap the optimizer in `keras_lars.LossScaleOptimizer`. Its "
                f"velocities and iteration are 0.{then}",
                stacklevel=2,
            )
        return list(model.trainable_variables)

    def _check_variables_are_known(self, variables: Sequence[Variable]) -> None:
        known = self._trainable_variables_indices
        keys = [self._var_key(variable) for variable in variables]
        unknown = [path_of(v) for key, v in zip(keys, variables) if key not in known]
        if unknown:
            raise ValueError(
                "Unknown variable: `trainable_variables` must be among those that the optimizer "
                f"was built with. Make a new optimizer for others. Received: {unknown}"
            )
        refuse_repeated("trainable_variables", variables, keys)

    def _completed(self, grads: list[Tensor], variables: Sequence[Variable]) -> list[Tensor]:
        """The gradients, with zeros in place of None if earlier micro-batches had a gradient.

        Without them an update would leave out the variable, and keep its sum for the next one. In
        a traced step a variable has a gradient in each micro-batch, or in none.
        """
        if self.gradient_accumulation_steps is None or all(g is not None for g in grads):
            return grads
        accumulators, backend = self._slots.accumulators, _backends.current()
        completed = []
        for gradient, variable in zip(grads, variables):
            accumulator = accumulators[self._get_variable_index(variable)]
            if gradient is None and accumulator is not None and backend.holds_sum(accumulator):
                gradient = ops.zeros_like(ops.convert_to_tensor(accumulator))
            completed.append(gradient)
        return completed

    def _whole(self, gradients: Sequence[Tensor], variables: Sequence[Variable]) -> list[Tensor]:
        """The gradients as dense, unscaled tensors of the compute dtypes."""
        are_whole = _backends.current().are_whole(gradients, variables)
        whole = [
            gradient if is_whole else _made_whole(gradient, variable)
            for gradient, variable, is_whole in zip(gradients, variables, are_whole)
        ]
        if self.loss_scale_factor is not None:
            whole = [gradient / self.loss_scale_factor for gradient in whole]
        return whole

    def _clipped(self, gradients: list[Tensor]) -> list[Tensor]:
        """The gradients, clipped to the constructor's limits. NaN where they are not finite."""
        limits = (self.clipnorm, self.clipvalue, self.global_clipnorm)
        if self._clipping_is_ours and all(limit is None for limit in limits):
            return gradients
        dtypes = [keras.backend.standardize_dtype(g.dtype) for g in gradients]
        widest = "float64" if "float64" in dtypes else "float32"
        wide = [ops.cast(g, widest) for g in gradients]
        clipped = self._clip_gradients(wide)
        if self.clipvalue is not None:
            # Clipping would hide an infinity.
            clipped = [nan_unless_finite(c, g) for g, c in zip(wide, clipped)]
        return [ops.cast(c, dtype) for c, dtype in zip(clipped, dtypes)]

    def _clip_gradients(self, grads: list[Tensor]) -> list[Tensor]:
        if self.global_clipnorm is None:
            return super()._clip_gradients(grads)
        # As in Keras, except for the derivative if all gradients are 0 (fault 17).
        squares = ops.sum(ops.stack([ops.sum(ops.square(g)) for g in grads]))
        all_zero = squares == 0
        norm = ops.sqrt(ops.where(all_zero, ops.ones_like(squares), squares))
        limit = self.global_clipnorm
        scale = limit * ops.minimum(1.0 / norm, full_like(norm, 1.0 / limit)) + (norm - norm)
        scale = ops.where(all_zero, ops.ones_like(scale), scale)
        return [g * scale for g in grads]

    @property
    def _clipping_is_ours(self) -> bool:
        """Whether no subclass overrides the clipping."""
        return type(self)._clip_gradients is KerasOptimizer._clip_gradients

    @property
    def _micro_batches(self) -> keras.Variable:
        """The number of calls of `apply` so far; `iterations` is the number of updates."""
        return self._iterations

    @property
    def _accumulation(self) -> _accumulation.Accumulation:
        """How many micro-batches each update takes: 1 without accumulation."""
        return _accumulation.of(self.gradient_accumulation_steps)

    @property
    def iterations(self) -> Tensor:
        """The number of updates so far, with which schedules are called."""
        if self.gradient_accumulation_steps is None:
            return self._iterations
        return self._accumulation.updates(ops.convert_to_tensor(self._iterations))

    def _require_built(self, what: str) -> None:
        if not self.built:
            raise ValueError(
                f"`{what}` needs a built optimizer: call `build(variables)`, or train a step. "
                "Received: an optimizer that is not built"
            )

    def add_variable_from_reference(
        self, reference_variable: Variable, name: str | None = None, **kwargs: object
    ) -> keras.Variable:
        """Add a slot for a variable. An accumulator has its own value on each replica."""
        is_accumulator = name == "gradient_accumulator"  # the name in Keras's `build`
        with _backends.current().per_replica_sum() if is_accumulator else contextlib.nullcontext():
            try:
                return super().add_variable_from_reference(reference_variable, name, **kwargs)
            except RuntimeError as error:
                if "Mixing different tf.distribute.Strategy objects" not in str(error):
                    raise
                raise ValueError(
                    f"Optimizer '{self.name}' must be made in the scope of the strategy that its "
                    "variables were created in: `with strategy.scope(): "
                    "model.compile(keras_lars.LARS(...))`. Received: "
                    f"{path_of(reference_variable)}, created in another scope"
                ) from error

    # Where Keras would do something else.

    if TYPE_CHECKING:  # Keras's property, which has no types

        @property
        def learning_rate(self) -> Tensor:
            """The learning rate at the current update."""

        @learning_rate.setter
        def learning_rate(self, value: LearningRate) -> None: ...

    def _get_current_learning_rate(self) -> Tensor:
        if self._schedule is None:
            return self._learning_rate
        given: Any = self._schedule
        if isinstance(given, keras.optimizers.schedules.LearningRateSchedule):
            return _arguments.returned_rate(given, given(self.iterations))
        rate = _arguments.returned_rate(given, given())
        _rates.warn_if_fixed(self, rate)
        return rate

    def _apply_weight_decay(self, variables: Sequence[Variable]) -> None:
        """Do nothing: weight decay is part of the update."""

    def finalize_variable_values(self, var_list: Sequence[keras.Variable]) -> None:
        """Overwrite each variable with its own average (fault 21), if averages are kept.

        Not if `fit` fails (fault 23).
        """
        if not self.built or not self.use_ema or is_failing(self):
            return
        variables, _, averages, _ = self._slots
        average_of = dict(zip(map(self._var_key, variables), averages))
        no_update = ops.convert_to_tensor(self.iterations) == 0  # so the averages are still 0
        for variable in var_list:
            average = average_of.get(self._var_key(variable))
            if average is not None:
                w, average = ops.convert_to_tensor(variable), ops.convert_to_tensor(average)
                variable.assign(ops.where(no_update, w, average))
        _backends.current().separate(var_list)

    @property
    def _schedule(self) -> Schedule | Callable[[], Tensor] | None:
        """The schedule or callable that was given as learning rate, or None."""
        return None if hasattr(self._learning_rate, "assign") else self._learning_rate

    def _last_learning_rate(self) -> float:
        """The learning rate of the last update; the present one for a callable or a number."""
        if isinstance(self._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
            return float(ops.convert_to_numpy(self._learning_rate(self.iterations - 1)))
        return float(ops.convert_to_numpy(self.learning_rate))

    def _current_learning_rate(self) -> LearningRate:
        """The schedule or callable, or the present number without digits from float32 rounding."""
        if self._schedule is not None:
            return self._schedule
        assigned = self._assigned_learning_rate
        try:
            now = ops.convert_to_numpy(self._learning_rate)[()]
        except Exception:  # while a step is traced there is no number
            return assigned
        return assigned if now == now.dtype.type(assigned) else float(str(now))


def _check_count(grads: Sequence[Tensor], variables: Sequence[Tensor]) -> None:
    if len(grads) != len(variables):
        raise ValueError(
            "`grads` must hold one gradient (or None) for each trainable variable. Received: "
            f"{counted(len(grads), 'gradient')} for {counted(len(variables), 'variable')}"
        )


def _made_whole(gradient: Tensor, variable: Variable) -> Tensor:
    dtype = compute_dtype(keras.backend.standardize_dtype(variable.dtype))
    gradient = _backends.current().dense(gradient, variable)
    check_gradient(gradient, variable)
    return ops.cast(gradient, dtype)
