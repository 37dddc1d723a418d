"""Saved state: named, marked as ours, and kept until there are variables to put it into."""

import json
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_lars._exclusions import path_of, shape_of
from keras_lars._variable_order import Described, described, new_positions
from keras_lars._words import counted

# Files of version 1, of keras_lars 0.1.0, have no list of the variables.
_VERSION, _OLDEST = 2, 1
# What the numbers in the slots mean has not changed since.
_MEANING = 1
_MARKER = "marker"
_VARIABLES = "variables"
_CHECKPOINT_PREFIX = "keras_lars"


def meaning(optimizer: Any) -> dict[str, str | int]:
    """What the numbers in the slots are, wherever they are kept."""
    return {**optimizer._state_marker(), "state_version": _MEANING}


def checkpoint_name(optimizer: Any) -> str:
    """The same as a name in a `tf.train.Checkpoint`."""
    return ".".join([_CHECKPOINT_PREFIX, *map(str, meaning(optimizer).values())])


def _described(optimizer: Any) -> list[Described]:
    return [Described(path_of(v), shape_of(v)) for v in optimizer._slots.variables]


def is_checkpoint_name(name: str) -> bool:
    return name.startswith(_CHECKPOINT_PREFIX + ".")


def warn_foreign(optimizer: Any, what: str, consequence: str) -> None:
    warnings.warn(
        f"The state of optimizer '{optimizer.name}' was not loaded: {what} is not state of "
        f"{optimizer._state_marker()}. Its velocities and iteration {consequence}.",
        stacklevel=2,
    )


def _refuse(optimizer: Any, what: str) -> None:
    """Start afresh, with a warning.

    It would not do to leave everything alone: `keras.optimizers.LossScaleOptimizer` has put the
    file's values into the variables of the optimizer that it wraps before that one is asked.
    """
    warn_foreign(optimizer, what, "are set to 0")
    optimizer._keep_waiting(None)
    for name, variable in optimizer._named_variables().items():
        value = optimizer._assigned_learning_rate if name == "learning_rate" else 0
        variable.assign(keras.ops.full(variable.shape, value, dtype=variable.dtype))


def save(optimizer: Any, store: Any) -> None:
    """Write the state into a mapping of names to arrays."""
    if optimizer.built:
        variables = _described(optimizer)
        state = {name: v.numpy() for name, v in optimizer._named_variables().items()}
    else:
        state = dict(optimizer._waiting_state or {})
        variables = state.pop(_VARIABLES, None)
    marker = {**optimizer._state_marker(), "state_version": _VERSION, _VARIABLES: variables}
    store[_MARKER] = np.frombuffer(json.dumps(marker).encode(), dtype=np.uint8)
    for name, value in state.items():
        store[name] = value


def load(optimizer: Any, store: Any) -> None:
    """Read the state from such a mapping, now or as soon as the optimizer is built."""
    names = set(store.keys())
    if _MARKER not in names:
        _refuse(optimizer, f"what was saved ({counted(len(names), 'value')} without a marker)")
        return
    marker = _read(optimizer, store, _MARKER, lambda x: json.loads(x.tobytes().decode()))
    rows = marker.pop(_VARIABLES, None) if isinstance(marker, dict) else None
    if not _is_of(optimizer, marker):
        by = " by a later version of keras_lars" if _is_later(marker) else ""
        _refuse(optimizer, f"what was saved{by} ({marker})")
        return
    # All of it is read before any of it is set.
    state = {name: _read(optimizer, store, name, np.array) for name in names - {_MARKER}}
    if not state:
        return  # saved before it was built, and nothing waited
    if rows is not None:
        state[_VARIABLES] = _read(optimizer, store, _MARKER, lambda _: described(rows))
    if optimizer.built:
        _assign(optimizer, state)
    else:
        optimizer._keep_waiting(state)


def _read(optimizer: Any, store: Any, name: str, convert: Callable) -> Any:
    try:
        return convert(np.asarray(store[name]))
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"The state of optimizer '{optimizer.name}' cannot be loaded, since the file is "
            f"damaged in `{name}`. Its variables stay as they are. Received: {error}"
        ) from error


def _is_of(optimizer: Any, marker: Any) -> bool:
    versions = range(_OLDEST, _VERSION + 1)
    return any(marker == {**optimizer._state_marker(), "state_version": v} for v in versions)


def _is_later(marker: Any) -> bool:
    version = marker.get("state_version") if isinstance(marker, dict) else None
    return isinstance(version, int) and version > _VERSION


def restore_waiting(optimizer: Any) -> None:
    """Put the state that came before the variables into them."""
    state = optimizer._waiting_state
    optimizer._keep_waiting(None)
    if state is not None:
        with optimizer._outside_of_steps():
            _assign(optimizer, state)


def _assign(optimizer: Any, state: dict) -> None:
    state = _renumbered(optimizer, state)
    variables = optimizer._named_variables()
    # A learning rate set since, or a schedule in its place, is the user's choice.
    missing = set(variables) - set(state) - {"learning_rate"}
    unexpected = set(state) - set(variables) - {"learning_rate"}
    if missing or unexpected:
        _refuse(
            optimizer,
            f"what was saved, which lacks {sorted(missing)} and has {sorted(unexpected)} besides,",
        )
        return
    for name, variable in variables.items():
        if name in state and _spec(variable) != _spec(state[name]):
            kind, shape = _spec(state[name])
            expected_kind, expected_shape = _spec(variable)
            _refuse(
                optimizer,
                f"what was saved, with `{name}` of {kind} and shape {shape}, not {expected_kind} "
                f"and {expected_shape},",
            )
            return
    # In the order of the variables, the same on all workers: some are exchanged as they are set.
    for name, variable in variables.items():
        if name in state:
            variable.assign(state[name])


def _renumbered(optimizer: Any, state: dict) -> dict:
    """The state by the positions that variables have now."""
    state = dict(state)
    saved = state.pop(_VARIABLES, None)
    positions = None if saved is None else new_positions(saved, _described(optimizer))
    if positions is None:
        return state

    def renamed(name: str) -> str:
        kind, _, position = name.rpartition("_")
        is_slot = kind in ("velocities", "averages", "accumulators") and position.isdecimal()
        if not is_slot or int(position) >= len(positions):
            return name
        return f"{kind}_{positions[int(position)]}"

    return {renamed(name): value for name, value in state.items()}


def _spec(array: Any) -> tuple:
    """What a value must have in common with its variable; a float may be of any width."""
    name = str(array.dtype)
    kind = next((kind for kind in ("float", "int") if kind in name), name)
    return kind, tuple(array.shape)


def forget_waiting(optimizer: Any, name: str) -> None:
    """Drop one value that waits: something newer has taken its place."""
    if optimizer._waiting_state is not None:
        optimizer._waiting_state.pop(name, None)
