"""The update on each Keras backend. `base` is the contract, and `current` is the one in use."""

import importlib
import re

import keras

from keras_lars._backends.base import Backend, BuiltUpdate, Slots, Squares

__all__ = ["Backend", "BuiltUpdate", "Slots", "Squares", "current"]

# Kept by name, since `current` is called for each gradient in each step of an eager loop. With
# `functools.cache`, `torch.compile` would give a warning.
_backends: dict[str, Backend] = {}
# As in setup.py, which is not asked if a backend is installed without the extra of that name.
_OLDEST = {"jax": (0, 6), "torch": (2, 4)}


def current() -> Backend:
    """The backend that Keras runs on."""
    name = keras.backend.backend()
    if name not in _backends:
        if name in _OLDEST:
            _refuse_old(name, importlib.import_module(name).__version__)
        _backends[name] = _named(name)
    return _backends[name]


def _refuse_old(name: str, version: str) -> None:
    oldest = _OLDEST[name]
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < oldest:
        needed = ".".join(map(str, oldest))
        raise ImportError(f"keras_lars needs {name} {needed} or later. Received: {version}")


def _named(name: str) -> Backend:
    if name == "tensorflow":
        from keras_lars._backends.tensorflow import TensorFlowBackend

        return TensorFlowBackend()
    if name == "jax":
        from keras_lars._backends.jax import JaxBackend

        return JaxBackend()
    if name == "torch":
        from keras_lars._backends.torch import TorchBackend

        return TorchBackend()
    from keras_lars._backends.functional import FunctionalBackend

    return FunctionalBackend()
