"""The loss and the metrics of a compiled model."""

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def unbuilt_again(model: keras.Model) -> Iterator[None]:
    """On JAX and torch, unbuild on exit the loss and metrics that were built inside.

    There the first `fit` draws a batch to build them (fault 19). On TensorFlow they are built while
    the training step is traced, which keeps their variables.
    """
    loss, metrics = model._compile_loss, model._compile_metrics
    on_tensorflow = keras.backend.backend() == "tensorflow"
    unbuilt = [] if on_tensorflow else [x for x in (loss, metrics) if x is not None and not x.built]
    try:
        yield
    finally:
        for each in unbuilt:
            each.built = False
            if each is loss:
                each.metrics.clear()  # building adds a metric for each output
