"""The model that an optimizer is being built for, which Keras does not tell the optimizer."""

import inspect
from collections.abc import Iterator
from types import FrameType
from typing import Any

import keras

# The methods of `keras.Model` that build its optimizer for a training. `compile_from_config` builds
# one too, for a model that is loaded from a file: that training is over.
_METHODS = ("fit", "train_step", "train_on_batch")


def fitted_model(optimizer: keras.optimizers.Optimizer) -> keras.Model | None:
    """The model in whose `fit` or training step this is called, if `optimizer` is its own.

    Under a strategy each replica traces the step in a thread of its own, where `train_step` is on
    the stack and `fit` is not; otherwise both are, or, on JAX and torch, `fit` alone.

    Args:
        optimizer: The optimizer that is being built, which may be inside a `LossScaleOptimizer`.

    Returns:
        The model, or `None` in a custom loop, or where the optimizer is built by hand.
    """
    for frame in _frames():
        if frame.f_code.co_name in _METHODS:
            model = frame.f_locals.get("self")
            if isinstance(model, keras.Model) and _has(model, optimizer):
                return model
    return None


def loaded_model(optimizer: keras.optimizers.Optimizer) -> keras.Model | None:
    """The model that is being loaded from an `.h5` file, if `optimizer` is its own."""
    for frame in _frames():
        if frame.f_code.co_name == "load_model_from_hdf5":
            model = frame.f_locals.get("model")
            if isinstance(model, keras.Model) and _has(model, optimizer):
                return model
    return None


def frozen_variables(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """The variables of its model that are not trained, as far as the model can be found.

    It is found where it trains, or is loaded, and in a function that calls it `model`.
    """
    for frame in _frames():
        for name in ("self", "model"):
            model = frame.f_locals.get(name)
            if isinstance(model, keras.Model) and _has(model, optimizer):
                return list(model.non_trainable_variables)
    return []


def fitting_callbacks(model: keras.Model) -> list[keras.callbacks.Callback]:
    """The callbacks of the `fit` of this model in which this is called, as far as they are known.

    In the thread of a replica they are not.
    """
    for names in _locals_of_fit(model):
        given = names.get("callbacks")
        if given is None:
            return []
        given = getattr(given, "callbacks", given)  # a `CallbackList` once `fit` has made one
        return list(given) if isinstance(given, list | tuple) else [given]
    return []


def fitting_batches(model: keras.Model) -> int | None:
    """The batches of all epochs of the `fit` of this model in which this is called, if known.

    `None` outside of `fit`, in the thread of a replica, and with data of unknown size.
    """
    for names in _locals_of_fit(model):
        of_an_epoch = getattr(names.get("epoch_iterator"), "num_batches", None)
        if of_an_epoch is not None:
            return names["epochs"] * of_an_epoch
    return None


def _locals_of_fit(model: keras.Model) -> Iterator[dict[str, Any]]:
    """The local names of each `fit` of this model on the stack, the innermost first."""
    for frame in _frames():
        if frame.f_code.co_name == "fit" and frame.f_locals.get("self") is model:
            yield frame.f_locals


def _frames() -> Iterator[FrameType]:
    frame = inspect.currentframe()
    while frame is not None:
        yield frame
        frame = frame.f_back


def _has(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> bool:
    outer = getattr(model, "optimizer", None)
    return outer is optimizer or getattr(outer, "inner_optimizer", None) is optimizer
