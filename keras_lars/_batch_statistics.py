"""Whether batch statistics are taken over enough batches."""

import keras


def warn_if_stale(model: keras.Model, batches: int) -> None:
    """Nothing yet."""
