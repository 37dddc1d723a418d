"""Batches of inputs, from any data that `fit` accepts."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from keras_lars import _arguments


class Batches:
    """Batches of a model's inputs. Each iteration starts from the beginning.

    Args:
        data: Arrays (one, or a list or dict of the model's inputs, or a tuple of them and what
            `fit` calls `y` and `sample_weight`), or batches of them: a `tf.data.Dataset` or another
            iterable that can be iterated again.
        batches: Integer, the maximum number of batches; None for all.
        batch_size: Integer, the samples in a batch, if `data` are arrays.
    """

    def __init__(self, data: object, batches: int | None, batch_size: int):
        self._are_arrays = hasattr(data, "shape") or isinstance(data, (list, tuple, dict))
        if self._are_arrays:
            data = _inputs(data)
            check_arrays(data)
        elif not isinstance(data, Iterable) or isinstance(data, (str, bytes, Iterator)):
            must_be = (
                "arrays, or a collection of batches that can be iterated repeatedly, such as a "
            )
            raise _arguments.refusal("data", must_be + "`tf.data.Dataset`", data)
        elif batches is None and _is_endless(data):
            raise ValueError("`batches` is required for infinite data. Received: batches=None")
        self._data: Any = data
        self._batches, self._batch_size = batches, batch_size

    def __iter__(self) -> Iterator[Any]:
        if self._are_arrays:
            samples = len(keras.tree.flatten(self._data)[0])
            found = (self._slice(first) for first in range(0, samples, self._batch_size))
        else:
            # Here a list holds the inputs and targets of a batch, as in a `DataLoader` of torch.
            batches = (tuple(b) if isinstance(b, list) else b for b in self._data)
            found = (keras.tree.map_structure(_tensor, _inputs(batch)) for batch in batches)
        return itertools.islice(found, self._batches)

    def _slice(self, first: int) -> Any:
        return keras.tree.map_structure(
            lambda array: _tensor(array[first : first + self._batch_size]), self._data
        )


def refuse_separate(name: str, value: object) -> None:
    """Raise ValueError if the argument after `data` is an array: `x, y` in place of `(x, y)`."""
    if getattr(value, "shape", ()) or isinstance(value, (list, tuple, dict)):
        raise ValueError(
            "`data` must hold inputs and targets in one tuple: pass `(x, y)` instead of `x, y`. "
            f"Received: {name}={_arguments.shown(value)}"
        )


def samples_of(inputs: object) -> int:
    """The number of samples in a batch."""
    return int(keras.tree.flatten(inputs)[0].shape[0])


def _inputs(data: object) -> Any:
    # A list holds the inputs of a model with several inputs, not inputs and targets.
    if not isinstance(data, tuple):
        return data
    if not 1 <= len(data) <= 3:
        must_be = "x, (x,), (x, y) or (x, y, sample_weight), if it is or contains a tuple"
        raise _arguments.refusal("data", must_be, data)
    return data[0]


def check_arrays(data: object) -> None:
    """Raise ValueError unless these are non-empty arrays with equal numbers of samples."""
    try:
        arrays = keras.tree.flatten(data)
    except RecursionError:  # a list that contains itself
        arrays = []
    if not arrays or not all(len(getattr(array, "shape", ())) for array in arrays):
        must_be = "arrays with a sample axis, or an iterable of batches"
        raise _arguments.refusal("data", must_be, data)
    lengths = {array.shape[0] for array in arrays}
    if lengths == {0} or len(lengths) > 1:
        raise ValueError(
            "`data` must be non-empty arrays of equal length. Received: data of "
            f"shapes {[tuple(array.shape) for array in arrays]}"
        )


def _is_endless(data: object) -> bool:
    # -1 is `tf.data.INFINITE_CARDINALITY`; this does not import TensorFlow.
    return hasattr(data, "cardinality") and int(data.cardinality()) == -1


def _tensor(value: object) -> Any:
    """The value as a tensor, as `fit` passes it to the model."""
    if keras.ops.is_tensor(value):
        return value
    array = np.asarray(value)
    is_float = np.issubdtype(array.dtype, np.floating)
    return keras.ops.convert_to_tensor(array, dtype=keras.config.floatx() if is_float else None)
