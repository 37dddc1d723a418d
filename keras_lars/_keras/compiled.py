"""What `compile` made: the loss and the metrics of a model."""

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def unbuilt_again(model: keras.Model) -> Iterator[None]:
    """Loss and metrics that are built in here are unbuilt afterwards, on JAX and torch.

    There the first `fit` draws a batch to build them by: fault 19. On TensorFlow it builds them as
    it traces the training step, which knows their variables from then on.
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
                each.metrics.clear()  # the loss of each output, which building it adds
