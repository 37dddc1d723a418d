"""All layers of a model, including nested ones."""

import keras


def all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The model itself and all of its layers, including nested ones, each once."""
    return model._flatten_layers()
