"""The update on each Keras backend. `base` is the contract, and `current` is the one in use."""

import keras

from keras_lars._backends.base import Backend, BuiltUpdate, Slots, Squares

__all__ = ["Backend", "BuiltUpdate", "Slots", "Squares", "current"]

# Kept by name, since `current` is called for each gradient in each step of an eager loop. With
# `functools.cache`, `torch.compile` would give a warning.
_backends: dict[str, Backend] = {}


def current() -> Backend:
    """The backend that Keras runs on."""
    name = keras.backend.backend()
    if name not in _backends:
        _backends[name] = _named(name)
    return _backends[name]


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
