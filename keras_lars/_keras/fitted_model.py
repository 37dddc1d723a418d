"""Finds the model for which an optimizer is being built. Keras does not tell the optimizer."""

import inspect
import sys
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import keras

# The methods of `keras.Model` that build its optimizer in order to train. `compile_from_config`
# also builds it, for a model that is loaded from a file, but does not train.
_METHODS = ("fit", "train_step", "train_on_batch")


def fitted_model(optimizer: keras.optimizers.Optimizer) -> keras.Model | None:
    """The model whose `fit` or training step is running, if `optimizer` is its own.

    Under a strategy each replica traces the step in a thread of its own, where `train_step` is on
    the stack and `fit` is not; otherwise both are, or, on JAX and torch, `fit` alone.

    Args:
        optimizer: The optimizer that is being built, which may be inside a `LossScaleOptimizer` or
            one of a `MultiOptimizer`.

    Returns:
        The model, or `None` in a custom loop, or if the optimizer is built by hand.
    """
    for frame in _frames():
        if frame.f_code.co_name in _METHODS:
            model = frame.f_locals.get("self")
            if isinstance(model, keras.Model) and _uses(model, optimizer):
                return model
    return None


def loaded_model(optimizer: keras.optimizers.Optimizer) -> keras.Model | None:
    """The model that is being loaded from an `.h5` file, if `optimizer` is its own."""
    for frame in _frames():
        if frame.f_code.co_name == "load_model_from_hdf5":
            model = frame.f_locals.get("model")
            if isinstance(model, keras.Model) and has(model, optimizer):
                return model
    return None


def is_loaded() -> bool:
    """Whether an optimizer is being built for a model that is loaded from a file."""
    return any(frame.f_code.co_name == "compile_from_config" for frame in _frames())


def stateless_variables(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable] | None:
    """The variables whose values Keras's own training step on JAX passes to `stateless_apply`.

    `None` in any other training step, which may pass the values of other variables.
    """
    for frame in _frames():
        if frame.f_code is getattr(keras.Model.train_step, "__code__", None):
            model = frame.f_locals.get("self")
            if isinstance(model, keras.Model) and has(model, optimizer):
                return list(model.trainable_variables)
            return None
    return None


def frozen_variables(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """The untrained variables of the optimizer's model. Empty if the model cannot be found.

    It is found while it is trained or loaded, or if a calling function has it as `model`.
    """
    for frame in _frames():
        for name in ("self", "model"):
            model = frame.f_locals.get(name)
            if isinstance(model, keras.Model) and has(model, optimizer):
                return list(model.non_trainable_variables)
    return []


def fitting_callbacks(model: keras.Model) -> list[keras.callbacks.Callback]:
    """The callbacks of the model's running `fit`. Empty if they are not known.

    They are not known in the thread of a replica.
    """
    for names in _locals_of_fit(model):
        given = names.get("callbacks")
        if given is None:
            return []
        given = getattr(given, "callbacks", given)  # a `CallbackList` once `fit` has made one
        return list(given) if isinstance(given, list | tuple) else [given]
    return []


def fitting_batches(model: keras.Model) -> int | None:
    """The number of batches that the model's running `fit` makes in all of its epochs, if known.

    `None` outside of `fit`, in the thread of a replica, and with data of unknown size.
    """
    for names in _locals_of_fit(model):
        of_an_epoch = getattr(names.get("epoch_iterator"), "num_batches", None)
        if of_an_epoch is not None:
            return max(0, names["epochs"] - names["initial_epoch"]) * of_an_epoch
    return None


def fitting_epochs(model: keras.Model) -> range | None:
    """The epochs of the model's running `fit`, as a range. `None` where `fit` is not known."""
    for names in _locals_of_fit(model):
        return range(names["initial_epoch"], names["epochs"])
    return None


def running_fit(model: keras.Model) -> Callable[[], bool]:
    """A function that tells whether the present `fit` of the model still runs in this thread.

    It is not another `fit` of that model: each has its own `CallbackList`. The function does not
    keep it, nor the model, in memory.
    """
    fit = next((weakref.ref(names["callbacks"]) for names in _locals_of_fit(model)), None)

    def is_running() -> bool:
        found = fit and fit()
        return found is not None and any(
            frame.f_code.co_name == "fit" and frame.f_locals.get("callbacks") is found
            for frame in _frames()
        )

    return is_running


def swaps_weights(model: keras.Model) -> bool:
    """Whether the model's running `fit` validates with other weights than it trains."""
    swap = keras.callbacks.SwapEMAWeights
    return any(isinstance(callback, swap) for callback in fitting_callbacks(model))


def is_failing(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether the `fit` of the optimizer's model ends with an error. It is known on JAX alone.

    The other backends do not finalize variables then. On JAX variables may have no values.
    """
    model = fitted_model(optimizer)
    if model is None or sys.exc_info()[0] is None:
        return False
    return any(names.get("training_finished") is False for names in _locals_of_fit(model))


def is_in_batch() -> bool:
    """Whether a callback's method for the beginning or the end of a batch is running."""
    methods = ("on_train_batch_begin", "on_train_batch_end")
    return any(frame.f_code.co_name in methods for frame in _frames())


def is_shuffling(model: keras.Model) -> bool:
    """Whether the model's running `fit` shuffles its data itself; False where that is not known."""
    for names in _locals_of_fit(model):
        x = names.get("x")
        is_shuffled = isinstance(x, list | tuple | dict | keras.utils.PyDataset)
        return bool(names.get("shuffle")) and (is_shuffled or hasattr(x, "shape"))
    return False


def _locals_of_fit(model: keras.Model) -> Iterator[dict[str, Any]]:
    """The local variables of each of Keras's `fit`s of this model on the stack, innermost first."""
    for frame in _frames():
        is_of_keras = frame.f_globals.get("__name__", "").startswith("keras.")
        if frame.f_code.co_name == "fit" and is_of_keras and frame.f_locals.get("self") is model:
            yield frame.f_locals


def _frames() -> Iterator[FrameType]:
    frame = inspect.currentframe()
    while frame is not None:
        yield frame
        frame = frame.f_back


def has(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether the optimizer, perhaps in a `LossScaleOptimizer`, trains the whole model."""
    outer = getattr(model, "optimizer", None)
    return outer is optimizer or getattr(outer, "inner_optimizer", None) is optimizer


def _uses(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> bool:
    outer = getattr(model, "optimizer", None)
    several = getattr(getattr(outer, "inner_optimizer", outer), "optimizers", ())
    return has(model, optimizer) or any(each is optimizer for each in several)
