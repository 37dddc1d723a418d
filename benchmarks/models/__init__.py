"""The paper's networks, and tiny versions of them for tests."""

import functools
from collections.abc import Callable
from typing import Any

import keras

from benchmarks.models.alexnet import alexnet
from benchmarks.models.options import Options
from benchmarks.models.resnet import resnet

# Each takes `Options` and the name of the network.
MODELS: dict[str, Callable[..., keras.Model]] = {
    "resnet50": functools.partial(resnet, blocks=(3, 4, 6, 3)),
    "resnet50_v1_5": functools.partial(resnet, blocks=(3, 4, 6, 3), v1_5=True),
    "alexnet": alexnet,
    "alexnet_bn": functools.partial(alexnet, batch_normalization=True),
    "resnet_tiny": functools.partial(resnet, blocks=(1, 1)),
    "alexnet_tiny": functools.partial(
        alexnet, batch_normalization=True, filters=(8, 16, 16, 16, 16), units=32
    ),
}


def build(
    name: str, image_shape: tuple[int, int, int], classes: int, **options: Any
) -> keras.Model:
    """Builds a network by its name. The other arguments are those of `Options`.

    Raises:
        RecipeError: If the network does not support an option.
    """
    return MODELS[name](Options(image_shape, classes, **options), name=name)
