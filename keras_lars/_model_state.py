"""Restores the whole state of a model after a temporary training."""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_lars._keras.optimizer import KerasOptimizer
from keras_lars._keras.saved_state import StatefulOptimizer
from keras_lars._types import Tensor

# The attributes that `fit` sets.
_ATTRIBUTES = ("history", "stop_training")


def wrapped(optimizer: keras.optimizers.Optimizer | None) -> list[keras.optimizers.Optimizer]:
    """The optimizer and those that it wraps, outermost first. The last one makes the updates."""
    found = []
    while optimizer is not None:
        found.append(optimizer)
        optimizer = getattr(optimizer, "inner_optimizer", None)
    return found


def optimizers_of(model: keras.Model) -> list[keras.optimizers.Optimizer]:
    """The optimizer of `compile`, if any, and those that the model keeps itself, as a GAN does."""
    found: list[keras.optimizers.Optimizer] = []
    for each in [getattr(model, "optimizer", None), *vars(model).values()]:
        known = [inner for optimizer in found for inner in wrapped(optimizer)]
        if isinstance(each, keras.optimizers.Optimizer) and not any(each is one for one in known):
            found.append(each)
    return found


def sums_of_parts(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """The sums from which it measures noise. They may not be among `optimizer.variables`."""
    innermost = wrapped(optimizer)[-1]
    is_ours = isinstance(innermost, StatefulOptimizer) and innermost.built
    sums = innermost._sums_of_parts() if is_ours else None
    return [] if sums is None else [sums]


def _records(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """What it records of updates. On TensorFlow these are not among `optimizer.variables`."""
    innermost = wrapped(optimizer)[-1]
    if not isinstance(innermost, KerasOptimizer) or not innermost.built:
        return []
    update = innermost._update
    squares = [] if update.squares is None else [update.squares.parts, update.squares.last]
    return [each for each in (update.record, *squares) if each is not None]


@contextlib.contextmanager
def restored(model: keras.Model) -> Iterator[None]:
    """Restore the model on exit, however it was trained inside, also after an exception.

    This restores weights, moving statistics, seed generators, metrics, the optimizers,
    `model.history`, and the generators of Python, NumPy and torch. The optimizer is built if it was
    not. State that a layer keeps outside of Keras variables is not restored.

    Args:
        model: A built and compiled model.
    """
    _build_optimizer(model)
    attributes = {name: getattr(model, name, None) for name in _ATTRIBUTES}
    before = [(component, _numpy(component)) for component in _components(model)]
    try:
        with _generators():
            yield
    finally:
        if hasattr(model, "jax_state_sync"):
            model.jax_state_sync()  # otherwise Keras does it later, and overwrites this
        model.reset_metrics()  # including those created inside
        for component, value in before:
            component.assign(value)
        for name, attribute in attributes.items():
            setattr(model, name, attribute)


def _build_optimizer(model: keras.Model) -> None:
    optimizer = model.optimizer
    if optimizer.built:
        return
    is_tensorflow = keras.backend.backend() == "tensorflow"
    with model.distribute_strategy.scope() if is_tensorflow else contextlib.nullcontext():
        optimizer.build(model.trainable_variables)


def _components(model: keras.Model) -> list[Any]:
    """All variables; on TensorFlow, their components on each replica of this worker."""
    variables = [*model.variables, *model.metrics_variables]
    for optimizer in optimizers_of(model):
        variables += [*optimizer.variables, *_records(optimizer)]
    variables = list({id(variable): variable for variable in variables}.values())
    if keras.backend.backend() != "tensorflow":
        return variables
    results = model.distribute_strategy.experimental_local_results
    return [component for variable in variables for component in results(variable.value)]


def _numpy(variable: Tensor) -> np.ndarray:
    # A copy, because the array may share the variable's memory, or JAX may donate it.
    if keras.backend.backend() == "tensorflow":
        return np.array(variable.numpy())
    return np.array(keras.ops.convert_to_numpy(variable.value))


@contextlib.contextmanager
def _generators() -> Iterator[None]:
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with contextlib.ExitStack() as stack:
            if keras.backend.backend() == "torch":
                import torch

                stack.enter_context(torch.random.fork_rng(range(torch.cuda.device_count())))
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
