"""Saved state (fault 7): named, marked as ours, and kept until the optimizer is built."""

import contextlib
import json
import warnings
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import keras
import numpy as np

from keras_lars import _backends
from keras_lars._backends import Slots
from keras_lars._types import Array
from keras_lars._variable_order import Described, described, new_positions
from keras_lars._variables import path_of, shape_of
from keras_lars._words import counted

# Files of version 1, which keras_lars 0.1.0 wrote, have no list of the variables.
_VERSION, _OLDEST = 2, 1
# The version in which the numbers in the slots got their present meaning.
_MEANING = 1
_MARKER = "marker"
_VARIABLES = "variables"
_CHECKPOINT_PREFIX = "keras_lars"

_KINDS = ("velocities", "averages", "accumulators")  # the slots that are saved
_SUMS = "squares_of_parts"  # optional: state with and without it match


class StatefulOptimizer(keras.optimizers.Optimizer):
    """A Keras optimizer whose saved state says to which kind of optimizer it belongs.

    A subclass implements `_state_marker`, and sets `_assigned_learning_rate`. Its `build` sets
    `momentums`, and calls `_restore_waiting` at the end.
    """

    momentums: list[keras.Variable | None]
    _assigned_learning_rate: Any

    # The state that was loaded before `build`, by name.
    _waiting_state: dict[str, Any] | None = None

    def _state_marker(self) -> dict[str, str]:
        """What distinguishes this state from that of other optimizers."""
        raise NotImplementedError

    def _state_meaning(self) -> dict[str, str | int]:
        """What the numbers in the slots mean, in any kind of file."""
        return {**self._state_marker(), "state_version": _MEANING}

    @property
    def _slots(self) -> Slots:
        """The variables of the model, and the optimizer's slots for each of them."""
        variables = list(self._trainable_variables)
        none = [None] * len(variables)
        return Slots(
            variables,
            list(self.momentums) or none,
            list(self._model_variables_moving_average) if self.use_ema else none,
            list(self._accumulated_gradients) if self.gradient_accumulation_steps else none,
        )

    def _named_variables(self) -> dict[str, keras.Variable]:
        """The variables that are saved, by the names under which they are saved."""
        named = {"iteration": self._iterations}
        if hasattr(self._learning_rate, "assign"):  # a variable, not a schedule or callable
            named["learning_rate"] = self._learning_rate
        if self.built:
            slots = self._slots
            for kind in _KINDS:
                for position, variable in enumerate(getattr(slots, kind)):
                    if variable is not None:
                        named[f"{kind}_{position}"] = variable
            sums = self._sums_of_parts()
            if sums is not None:
                named[_SUMS] = sums
        return named

    def _check_paths(self, saved: list[Described]) -> None:
        """Warn if the paths in a file, in the present order, mean something else to an option."""

    def _described_variables(self) -> list[Described]:
        return [Described(path_of(v), shape_of(v)) for v in self._slots.variables]

    def _sums_of_parts(self) -> keras.Variable | None:
        """The sums from which noise is measured, or None if it is not.

        They have one value for each variable, followed by the number of summands.
        """
        return None

    def _outside_of_steps(self) -> contextlib.AbstractContextManager[object]:
        """A context whose operations run once and at once, even while a step is traced."""
        return _backends.current().outside_of_steps()

    # Files.

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Write the state, with a marker that says to which kind of optimizer it belongs."""
        variables: list[Described] | None
        if self.built:
            variables = self._described_variables()
            state = {name: v.numpy() for name, v in self._named_variables().items()}
        else:
            state = dict(self._waiting_state or {})
            variables = state.pop(_VARIABLES, None)
            if state:
                state.update({name: v.numpy() for name, v in self._named_variables().items()})
        marker = {**self._state_marker(), "state_version": _VERSION, _VARIABLES: variables}
        store[_MARKER] = np.frombuffer(json.dumps(marker).encode(), dtype=np.uint8)
        for name, value in state.items():
            store[name] = value

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Read the state, now or once the optimizer is built.

        If another kind of optimizer wrote it, warn and start afresh.
        """
        names = set(store.keys())
        if _MARKER not in names:
            self._start_afresh(f"the saved state has {counted(len(names), 'value')} and no marker")
            return
        marker = self._read(store, _MARKER, lambda x: json.loads(x.tobytes().decode()))
        rows = marker.pop(_VARIABLES, None) if isinstance(marker, dict) else None
        if not self._is_own(marker):
            is_later = " by a later version of keras_lars," if _is_later(marker) else ""
            self._start_afresh(f"it was saved{is_later} as state of {marker}")
            return
        # Everything is read before anything is set.
        state = {name: self._read(store, name, np.array) for name in names - {_MARKER}}
        if not state:
            return  # saved before `build`, without any state
        if rows is not None:
            state[_VARIABLES] = self._read(store, _MARKER, lambda _: described(rows))
        if self.built:
            self._assign_state(state)
        else:
            self._assign_what_exists(state)
            self._keep_waiting(state)

    def _read(
        self, store: Mapping[str, Any], name: str, convert: Callable[[np.ndarray[Any, Any]], Any]
    ) -> Any:
        try:
            return convert(np.asarray(store[name]))
        except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"The state of optimizer '{self.name}' cannot be loaded, because the file is "
                f"damaged in `{name}`. Its variables are unchanged. Received: {error}"
            ) from error

    def _is_own(self, marker: object) -> bool:
        versions = range(_OLDEST, _VERSION + 1)
        return any(marker == {**self._state_marker(), "state_version": v} for v in versions)

    def _start_afresh(self, why: str) -> None:
        """Reset the state to its initial values, and warn.

        It cannot be left unchanged: `keras.optimizers.LossScaleOptimizer` has already assigned the
        file's values to the variables of the optimizer that it wraps.
        """
        self._warn_of_foreign_state(why, "are set to 0")
        self._keep_waiting(None)
        for name, variable in self._named_variables().items():
            value = self._assigned_learning_rate if name == "learning_rate" else 0
            variable.assign(keras.ops.full(variable.shape, value, dtype=variable.dtype))

    def _warn_of_foreign_state(self, why: str, consequence: str) -> None:
        warnings.warn(
            f"The state of optimizer '{self.name}' was not loaded, because {why}. Its velocities "
            f"and iteration {consequence}. Expected: state of {self._state_marker()}",
            stacklevel=2,
        )

    def _assign_state(self, state: dict[str, Any]) -> None:
        state = self._renumbered(state)
        variables = self._named_variables()
        if _SUMS not in variables:
            state.pop(_SUMS, None)
        elif _SUMS not in state:
            state[_SUMS] = np.zeros(variables[_SUMS].shape, "float32")
        # A learning rate that was set since, or a schedule in its place, is the user's choice.
        missing = set(variables) - set(state) - {"learning_rate"}
        unexpected = set(state) - set(variables) - {"learning_rate"}
        if missing or unexpected:
            self._start_afresh(
                f"the saved state does not match: missing {sorted(missing)}, "
                f"unexpected {sorted(unexpected)}"
            )
            return
        for name, variable in variables.items():
            if name in state and _spec(variable) != _spec(state[name]):
                kind, shape = _spec(state[name])
                expected_kind, expected_shape = _spec(variable)
                self._start_afresh(
                    f"the saved state does not match: `{name}` is {kind} of shape {shape}, not "
                    f"{expected_kind} of shape {expected_shape}"
                )
                return
        # In the same order on all workers, because assigning some variables exchanges values.
        for name, variable in variables.items():
            if name in state:
                variable.assign(state[name])

    def _renumbered(self, state: dict[str, Any]) -> dict[str, Any]:
        """The state, renamed to the present positions of the variables."""
        state = dict(state)
        saved = state.pop(_VARIABLES, None)
        positions = None if saved is None else new_positions(saved, self._described_variables())
        if positions is None:
            return state
        self._check_paths([saved[i] for i in np.argsort(positions)])
        sums = state.get(_SUMS)
        if sums is not None and sums.shape == (len(positions) + 1,):
            state[_SUMS] = np.append(sums[np.argsort(positions)], sums[-1])
        return {_renamed(name, positions): value for name, value in state.items()}

    # State that was loaded before `build`.

    def _keep_waiting(self, state: dict[str, Any] | None) -> None:
        """Set `_waiting_state` without Keras's tracking: these are not variables of ours."""
        object.__setattr__(self, "_waiting_state", state)

    def _assign_what_exists(self, state: dict[str, Any]) -> None:
        """Assign the iteration and the learning rate, because callbacks read them before `build`.

        They may also change the rate, so it no longer waits.
        """
        for name, variable in self._named_variables().items():
            if name in state and _spec(variable) == _spec(state[name]):
                variable.assign(state[name])
                if name == "learning_rate":
                    del state[name]

    def _restore_waiting(self) -> None:
        """Assign the state that was loaded before `build`."""
        state = self._waiting_state
        self._keep_waiting(None)
        if state is not None:
            with self._outside_of_steps():
                self._assign_state(state)

    # A `tf.train.Checkpoint` matches by attribute name. The only name that it sees here contains
    # the marker, so that no state of another optimizer matches.

    def _trackable_children(
        self, save_type: str = "checkpoint", **kwargs: object
    ) -> dict[str, object]:
        if save_type != "checkpoint":
            return super()._trackable_children(save_type, **kwargs)
        name = ".".join([_CHECKPOINT_PREFIX, *map(str, self._state_meaning().values())])
        return {name: self._variables}

    def _lookup_dependency(
        self, name: str, cached_dependencies: dict[str, Any] | None = None
    ) -> Any:
        if not cached_dependencies:  # TensorFlow tracks an attribute; nothing is restored
            return super()._lookup_dependency(name)
        if name in cached_dependencies:
            return cached_dependencies[name]
        if name == "_variables" or name.startswith(_CHECKPOINT_PREFIX + "."):
            why = f"the checkpoint's `{name}` is from another optimizer"
            self._warn_of_foreign_state(why, "are unchanged")
        return None

    def _handle_deferred_dependencies(self, name: str, trackable: object) -> None:
        """Do nothing: a checkpoint holds only our `_variables`, which always exist."""


def rate_of(optimizer: keras.optimizers.Optimizer) -> Any:
    """Its learning rate as it keeps it: a variable, a schedule or a callable."""
    return getattr(optimizer, "_learning_rate", None)


def _is_later(marker: object) -> bool:
    version = marker.get("state_version") if isinstance(marker, dict) else None
    return isinstance(version, int) and version > _VERSION


def _renamed(name: str, positions: list[int]) -> str:
    """The name of a slot's value, with the present position of its variable."""
    kind, _, position = name.rpartition("_")
    is_slot = kind in _KINDS and position.isdecimal()
    if not is_slot or int(position) >= len(positions):
        return name
    return f"{kind}_{positions[int(position)]}"


def _spec(array: Array) -> tuple[str, tuple[int, ...]]:
    """The kind and shape that a value must share with its variable. Floats may have any width."""
    name = str(array.dtype)
    kind = next((kind for kind in ("float", "int") if kind in name), name)
    return kind, tuple(array.shape)
