"""Keras, `keras_lars` and TensorFlow, imported on first use.

Their import takes seconds, so a wrong flag or missing data is reported before it.
"""

import importlib
from typing import TYPE_CHECKING, Any


class _Lazy:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)


if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    import keras_lars
else:
    keras, keras_lars, tf = map(_Lazy, ("keras", "keras_lars", "tensorflow"))

__all__ = ["keras", "keras_lars", "tf"]
