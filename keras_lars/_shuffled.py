"""Shuffled batches of arrays. `fit` would shuffle them with the global random generator."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_lars import _arguments
from keras_lars._types import Array
from keras_lars.callbacks._batches import check_arrays, samples_of

_MUST_BE = (
    "(x, y) or (x, y, sample_weight), of arrays of one length, or a collection of batches that can "
    "be iterated repeatedly, such as a `tf.data.Dataset`"
)
_NO_BATCHES = (str, bytes, list, dict, Iterator)


class Shuffled(keras.utils.PyDataset):
    """The batches of one epoch, in an order that is always the same.

    Args:
        data: A tuple, `(x, y)` or `(x, y, sample_weight)`, of arrays, or of lists or dicts of them.
        batch_size: Integer, samples in a batch; the last one may be smaller.
    """

    def __init__(self, data: tuple[Any, ...], batch_size: int):
        super().__init__()
        if len(data) not in (2, 3):
            raise _arguments.refusal("data", _MUST_BE, data)
        check_arrays(data)
        self._data = _without_lists(keras.tree.map_structure(_numpy, data))
        self._batch_size = batch_size
        self._order = np.random.default_rng(0).permutation(samples_of(data))

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        chosen = self._order[index * self._batch_size :][: self._batch_size]
        return keras.tree.map_structure(lambda array: array[chosen], self._data)


def batches_of(data: object, batch_size: int) -> Any:
    """The data for `fit`: a tuple of arrays is cut into batches, and batches are not changed."""
    if isinstance(data, tuple):
        return Shuffled(data, batch_size)
    is_collection = hasattr(data, "__iter__") or hasattr(data, "__getitem__")
    if not is_collection or hasattr(data, "shape") or isinstance(data, _NO_BATCHES):
        raise _arguments.refusal("data", _MUST_BE, data)
    if _length(data) == 0:
        raise ValueError("`data` must hold at least one batch. Received: none")
    return data


def _length(data: Any) -> int | None:
    """The number of batches, or None if it is not known."""
    try:
        return len(data)
    except (TypeError, NotImplementedError):
        return None


def _without_lists(data: object) -> Any:
    """The data with tuples in place of lists, which `tf.data` would convert to arrays."""
    if isinstance(data, list | tuple):
        return tuple(map(_without_lists, data))
    if isinstance(data, dict):
        return {key: _without_lists(value) for key, value in data.items()}
    return data


def _numpy(array: Array) -> np.ndarray:
    if hasattr(array, "to_frame"):
        array = array.to_frame()  # a series of pandas, which `fit` makes a column
    return np.asarray(keras.ops.convert_to_numpy(array) if keras.ops.is_tensor(array) else array)
