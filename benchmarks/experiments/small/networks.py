"""The networks: one like AlexNet, residual ones with batch normalization, and a transformer."""

import functools
from collections.abc import Callable

import keras
from keras import layers

from benchmarks import models


def plain(image_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Three convolutions and two dense layers, similar to AlexNet, with 52,586 parameters."""
    x = images = keras.Input(image_shape, name="images")
    for i, (filters, size) in enumerate([(16, 5), (32, 3), (32, 3)], 1):
        x = layers.Conv2D(filters, size, padding="same", activation="relu", name=f"conv{i}")(x)
        if i < 3:
            x = layers.MaxPooling2D(2, name=f"pool{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(128, activation="relu", name="dense")(x)
    return keras.Model(images, layers.Dense(classes, name="logits")(x), name="plain")


def residual(image_shape: tuple[int, int, int], classes: int, gamma: str = "ones") -> keras.Model:
    """A residual block at each of three sizes, with batch normalization and 20,146 parameters.

    As in ResNet-50, the first convolution halves the size, which saves most of the time. `gamma`
    initializes the scale of the last normalization of each block.
    """
    x = images = keras.Input(image_shape, name="images")
    x = _normalized(x, 8, 3, 2, "stem")
    for i, filters in enumerate((8, 16, 32), 1):
        strides = 1 if i == 1 else 2
        inside = _normalized(x, filters, 3, strides, f"block{i}_a")
        inside = _normalized(inside, filters, 3, 1, f"block{i}_b", relu=False, gamma=gamma)
        if i > 1:
            x = _normalized(x, filters, 1, strides, f"block{i}_shortcut", relu=False)
        x = layers.ReLU(name=f"block{i}_relu")(layers.Add(name=f"block{i}_sum")([inside, x]))
    x = layers.GlobalAveragePooling2D(name="pooling")(x)
    return keras.Model(images, layers.Dense(classes, name="logits")(x), name="residual")


def _normalized(
    x, filters: int, size: int, strides: int, name: str, relu: bool = True, gamma: str = "ones"
):
    x = layers.Conv2D(
        filters, size, strides=strides, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    x = layers.BatchNormalization(gamma_initializer=gamma, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def vit(image_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Two transformer blocks of width 32 on patches of 4x4 pixels, with 18,538 parameters.

    It has two attention heads, layer normalization, learned positions and mean pooling.
    """
    x = images = keras.Input(image_shape, name="images")
    padding = -image_shape[0] % 4
    x = layers.ZeroPadding2D((padding // 2, padding - padding // 2), name="padding")(x)
    x = layers.Conv2D(_VIT_WIDTH, 4, 4, name="patches")(x)
    x = layers.Reshape((-1, _VIT_WIDTH), name="sequence")(x)
    positions = layers.Embedding(x.shape[1], _VIT_WIDTH, name="positions")
    x = x + positions(keras.ops.arange(x.shape[1]))
    for i in (1, 2):
        y = layers.LayerNormalization(name=f"block{i}_norm1")(x)
        x = x + layers.MultiHeadAttention(2, _VIT_WIDTH // 2, name=f"block{i}_attention")(y, y)
        y = layers.LayerNormalization(name=f"block{i}_norm2")(x)
        y = layers.Dense(2 * _VIT_WIDTH, activation="gelu", name=f"block{i}_dense1")(y)
        x = x + layers.Dense(_VIT_WIDTH, name=f"block{i}_dense2")(y)
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.GlobalAveragePooling1D(name="pooling")(x)
    return keras.Model(images, layers.Dense(classes, name="logits")(x), name="vit")


_VIT_WIDTH = 32

NETWORKS: dict[str, Callable[..., keras.Model]] = {
    "plain": plain,
    "residual": residual,
    # Residual branches start at zero, as in recipes for ResNet-50.
    "residual_zero_gamma": functools.partial(residual, gamma="zeros"),
    # The paper's network, whose first convolution keeps the size of small images, and the
    # quarter-width one of `python -m benchmarks.train`, with 1,497,178 parameters.
    "resnet50": functools.partial(models.build, "resnet50"),
    "resnet50_quarter": functools.partial(models.build, "resnet50", width=0.25),
    "vit": vit,
}
