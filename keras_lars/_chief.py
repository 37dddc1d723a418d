"""Which worker warns and prints: all workers would say the same."""

import warnings

import keras


def is_chief(model: keras.Model | None = None) -> bool:
    """Whether this process is the worker that warns, prints and writes.

    Without a model, by the strategy in scope, or by the one that `multi_worker.strategy` made.
    """
    if keras.backend.backend() != "tensorflow":
        return True
    from keras_lars import _replicas

    return _replicas.is_chief(_replicas.present() if model is None else model.distribute_strategy)


def warn(message: str, stacklevel: int = 1, model: keras.Model | None = None) -> None:
    """`warnings.warn`, on the chief only, if there is a strategy that tells which worker it is."""
    if is_chief(model):
        warnings.warn(message, stacklevel=stacklevel + 1)
