"""Warns if the compiled training step of TensorFlow no longer suits its model.

Keras compiles the step in the first `fit` after `compile`. After that, freezing or unfreezing a
layer, or assigning another optimizer to the model, has no effect. On the other backends it has an
effect, or LARS raises an error.
"""

import warnings
import weakref
from typing import TYPE_CHECKING

import keras

from keras_lars._keras.fitted_model import fitting_batches, has
from keras_lars._variables import path_of
from keras_lars._words import listed

if TYPE_CHECKING:
    from keras_lars.optimizer import LARS

_warned: "weakref.WeakSet[LARS]" = weakref.WeakSet()


def at_end(optimizer: "LARS", model: keras.Model) -> None:
    """Warn, once for each optimizer, of what the `fit` that ends did not or still train."""
    if optimizer in _warned or keras.backend.backend() != "tensorflow":
        return
    # A step of the user's own may leave out variables on purpose, and so does a `MultiOptimizer`.
    if type(model).train_step is not keras.Model.train_step or not has(model, optimizer):
        return
    if fitting_batches(model) == 0:
        return
    found = _found(optimizer, model)
    if found is not None:
        _warned.add(optimizer)
        warnings.warn(
            f"{found} Keras compiles the training step once: call `compile`, with a new optimizer, "
            "after you change `trainable` or the optimizer. Received: optimizer "
            f"'{optimizer.name}'",
            stacklevel=2,
        )


def _found(optimizer: "LARS", model: keras.Model) -> str | None:
    variables = model.trainable_variables
    if not optimizer.built:
        return "`fit` made no update with the optimizer of the model." if variables else None
    known, key = optimizer._trainable_variables, optimizer._var_key
    keys = set(map(key, known))
    left_out = [path_of(variable) for variable in variables if key(variable) not in keys]
    if left_out:
        return f"`fit` did not train {listed(left_out)}, although {_they_are(left_out)} not frozen."
    frozen = [path_of(known[i]) for i in optimizer._update.traced if not known[i].trainable]
    if not frozen:
        return None
    return f"`fit` still trained {listed(frozen)}, although {_they_are(frozen)} frozen."


def _they_are(paths: list[str]) -> str:
    return "it is" if len(paths) == 1 else "they are"
