"""All layers of a model, those inside of other layers too."""

import keras


def all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The model itself, its layers, and theirs, each once."""
    return model._flatten_layers()
