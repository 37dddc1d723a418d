"""What the networks share."""

import keras

from benchmarks.models.virtual_batch import VirtualBatchNormalization

# Up to this size the usual stem would leave the last layers nothing to see.
SMALL_IMAGE = 64


def normalization(
    virtual_batch_size: int, name: str, **options: bool | float | str
) -> keras.layers.BatchNormalization:
    """Batch normalization with a moving average of 0.9, over so many samples or (0) over all."""
    options = {"momentum": 0.9, "name": name, **options}
    if virtual_batch_size:
        return VirtualBatchNormalization(virtual_batch_size, **options)
    return keras.layers.BatchNormalization(**options)
