"""The paper's networks, and tiny versions of them for tests."""

import functools
from typing import Any

import keras

from benchmarks.models.alexnet import alexnet
from benchmarks.models.options import Options
from benchmarks.models.resnet import V1_5, resnet

# Each takes `Options`.
MODELS = {
    "resnet50": functools.partial(resnet, blocks=(3, 4, 6, 3), name="resnet50"),
    "resnet50_v1_5": functools.partial(
        resnet, blocks=(3, 4, 6, 3), version=V1_5, name="resnet50_v1_5"
    ),
    "alexnet": functools.partial(alexnet, name="alexnet"),
    "alexnet_bn": functools.partial(alexnet, batch_normalization=True, name="alexnet_bn"),
    "resnet_tiny": functools.partial(resnet, blocks=(1, 1), name="resnet_tiny"),
    "alexnet_tiny": functools.partial(
        alexnet,
        batch_normalization=True,
        filters=(8, 16, 16, 16, 16),
        units=32,
        name="alexnet_tiny",
    ),
}


def build(
    name: str, image_shape: tuple[int, int, int], classes: int, **options: Any
) -> keras.Model:
    """Builds a network by its name. The other arguments are those of `Options`.

    Raises:
        RecipeError: If the network does not support an option.
    """
    return MODELS[name](Options(image_shape, classes, **options))
