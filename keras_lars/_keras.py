"""Where Keras 3 does not do what its optimizer promises, put right for one optimizer.

The only module that touches private parts of Keras. From `keras.optimizers.Optimizer` it uses
`_iterations`, `_learning_rate`, `_trainable_variables`, `_variables`, `_accumulated_gradients`,
`_model_variables_moving_average`, `_get_variable_index`, `_check_variables_are_known`,
`_filter_empty_gradients`, `_overwrite_variables_directly_with_gradients`, `_clip_gradients`,
`_get_current_learning_rate`, `_apply_weight_decay`, and from TensorFlow's `Trackable`
`_trackable_children`, `_lookup_dependency`, `_handle_deferred_dependencies`.

The faults, as seen on Keras 3.6.0 with TensorFlow 2.18.1, and on 3.15.1 with 2.21.0. For each a
test in `tests/test_keras_faults.py` fails once it is gone:

1. Gradients are clipped before they are summed over replicas: each replica's share is clipped.
   https://github.com/tensorflow/tensorflow/issues/33929 (the same in an older Keras)
2. Gradient accumulation fails under `MirroredStrategy`.
   https://github.com/keras-team/keras/issues/20582
3. Under gradient accumulation, schedules count micro-batches, the moving average takes in each of
   them, and constraints act between updates. (Documented for schedules; no issue known.)
4. `ema_overwrite_frequency` fails under `MirroredStrategy`. (No issue known.)
5. `loss_scale_factor` fails on `tf.IndexedSlices`, and float16 gradients are unscaled in float16.
   https://github.com/keras-team/keras/issues/18985 (the same for clipping, since repaired)
6. `weight_decay` moves the weights before the update, unscaled by whatever the update does.
   (By design; no issue.)
7. Saved state is matched by number of variables or by attribute name, so that another optimizer's
   loads silently, and a pickled or copied optimizer loses its state.
   https://github.com/tensorflow/tensorflow/issues/44670 (the same in an older Keras)
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_lars import _state
from keras_lars._update_rule import compute_dtype


class Slots(NamedTuple):
    """What one update reads and writes: a list of Keras variables for each kind.

    All are indexed by position among the trainable variables, and hold `None` where a variable has
    no such slot: without momentum, averages or accumulation, or where Keras overwrites it.
    """

    variables: list
    velocities: list
    averages: list
    accumulators: list


class KerasOptimizer(keras.optimizers.Optimizer):
    """A Keras optimizer in which everything counts updates and acts on the whole gradient.

    A subclass sets `momentums` and `plan` (what the engines need to know of its update) in `build`,
    and gives `state_marker`, which tells its saved state from that of others.
    """

    # The state that was loaded before there were variables to hold it, by name.
    waiting_state: dict | None = None

    def state_marker(self) -> dict:
        raise NotImplementedError

    # Applying gradients.

    def apply(self, grads: Sequence, trainable_variables: Sequence | None = None) -> None:
        """Update variables by their gradients; see `keras.optimizers.Optimizer.apply`."""
        grads = list(grads)
        if not grads:
            return
        variables = self._known_variables(grads, trainable_variables)
        with keras.name_scope(self.name, caller=self):
            grads, variables = self._filter_empty_gradients(grads, variables)
            grads, variables = self._overwrite_variables_directly_with_gradients(grads, variables)
            if grads:
                whole = [self._whole(g, v) for g, v in zip(grads, variables)]
                positions = [self._get_variable_index(v) for v in variables]
                self._engine().apply(self, whole, positions)
        self._iterations.assign_add(1)

    def _known_variables(self, grads: list, variables: Sequence | None) -> list:
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
        if len(grads) != len(variables):
            raise ValueError(
                "`grads` must hold one gradient (or None) for each trainable variable. Received: "
                f"{len(grads)} gradients for {len(variables)} variables"
            )
        return variables

    def _whole(self, gradient: Any, variable: Any) -> Any:
        """The gradient as a dense, unscaled tensor of the dtype that the update computes in."""
        dtype = compute_dtype(keras.backend.standardize_dtype(variable.dtype))
        gradient = ops.cast(self._engine().dense(gradient, variable), dtype)
        if self.loss_scale_factor is not None:
            gradient = gradient / self.loss_scale_factor
        return gradient

    def _engine(self) -> Any:
        if keras.backend.backend() == "tensorflow":
            from keras_lars import _apply_tensorflow as engine
        else:
            from keras_lars import _apply_functional as engine
        return engine

    def clipped(self, gradients: list) -> list:
        """The gradients, clipped as the constructor says; NaN where they were not finite."""
        dtypes = [keras.backend.standardize_dtype(g.dtype) for g in gradients]
        widest = "float64" if "float64" in dtypes else "float32"
        clipped = self._clip_gradients([ops.cast(g, widest) for g in gradients])
        if self.clipvalue is not None:
            # An infinity that is clipped to a value would pass unseen.
            clipped = [
                ops.where(ops.isfinite(g), c, float("nan")) for g, c in zip(gradients, clipped)
            ]
        return [ops.cast(c, dtype) for c, dtype in zip(clipped, dtypes)]

    @property
    def slots(self) -> Slots:
        """The variables of the model, and of the optimizer for each of them."""
        variables = list(self._trainable_variables)
        none = [None] * len(variables)
        return Slots(
            variables,
            list(self.momentums) or none,
            list(self._model_variables_moving_average) if self.use_ema else none,
            list(self._accumulated_gradients) if self.gradient_accumulation_steps else none,
        )

    @property
    def micro_batches(self) -> Any:
        """The number of calls of `apply` so far; `iterations` is the number of updates."""
        return self._iterations

    def xla_error(self, variables: Sequence) -> str | None:
        """Why XLA cannot compile an update of these variables, or None where it can."""
        return self._engine().xla_error(variables)

    def add_unsaved_variable(self, shape: tuple, value: float, dtype: str, name: str) -> Any:
        """A variable that no file will hold."""
        initializer = keras.initializers.Constant(value)
        if keras.backend.backend() != "tensorflow":
            # JAX carries on from step to step only what is among the optimizer's variables.
            return self.add_variable(shape, initializer, dtype=dtype, name=name)
        with keras.name_scope(self.name, caller=self):
            return keras.Variable(initializer, shape=shape, dtype=dtype, trainable=False, name=name)

    # What Keras would do otherwise.

    def _get_current_learning_rate(self) -> Any:
        if isinstance(self._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
            return self._learning_rate(self.iterations)
        return super()._get_current_learning_rate()

    def _apply_weight_decay(self, variables: Sequence) -> None:
        """Nothing: weight decay is part of the update."""

    # State.

    def named_variables(self) -> dict:
        """The variables that are saved, by the names that they are saved under."""
        named = {"iteration": self._iterations}
        if hasattr(self._learning_rate, "assign"):  # a variable, and no schedule or callable
            named["learning_rate"] = self._learning_rate
        if self.built:
            slots = self.slots
            for kind in ("velocities", "averages", "accumulators"):
                for position, variable in enumerate(getattr(slots, kind)):
                    if variable is not None:
                        named[f"{kind}_{position}"] = variable
        return named

    def keep_waiting(self, state: dict | None) -> None:
        """Set `waiting_state`, past the tracking of attributes: these are not our variables."""
        object.__setattr__(self, "waiting_state", state)

    def save_own_variables(self, store: Any) -> None:
        """Write the state, with a marker that says whose it is."""
        _state.save(self, store)

    def load_own_variables(self, store: Any) -> None:
        """Read the state; for what another optimizer wrote, warn and start afresh."""
        _state.load(self, store)

    # A `tf.train.Checkpoint` matches by attribute name. The one name that we show it holds the
    # marker, so that nothing of another optimizer matches.

    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: Any) -> dict:
        if save_type != "checkpoint":
            return super()._trackable_children(save_type, **kwargs)
        return {_state.checkpoint_name(self): self._variables}

    def _lookup_dependency(self, name: str, cached_dependencies: dict | None = None) -> Any:
        if not cached_dependencies:  # TensorFlow tracks an attribute; nothing is restored
            return super()._lookup_dependency(name)
        if name in cached_dependencies:
            return cached_dependencies[name]
        if name == "_variables" or _state.is_checkpoint_name(name):
            _state.warn_foreign(self, f"the checkpoint's `{name}`", "stay as they are")
        return None

    def _handle_deferred_dependencies(self, name: str, trackable: Any) -> None:
        """Nothing: all that a checkpoint holds of us is in `_variables`, which is always there."""
