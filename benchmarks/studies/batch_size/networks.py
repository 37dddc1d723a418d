"""The networks: one like AlexNet, without normalization, and two with it."""

import keras
from keras import layers

from benchmarks import models


def plain(image_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Three convolutions and two dense layers, as AlexNet is made, and 52,586 parameters."""
    x = images = keras.Input(image_shape, name="images")
    for i, (filters, size) in enumerate([(16, 5), (32, 3), (32, 3)], 1):
        x = layers.Conv2D(filters, size, padding="same", activation="relu", name=f"conv{i}")(x)
        if i < 3:
            x = layers.MaxPooling2D(2, name=f"pool{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(128, activation="relu", name="dense")(x)
    return keras.Model(images, layers.Dense(classes, name="logits")(x), name="plain")


def residual(image_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """A residual block at each of three sizes, batch normalization, and 20,146 parameters.

    As in ResNet-50 the first convolution halves the size, which is most of its speed.
    """
    x = images = keras.Input(image_shape, name="images")
    x = _normalized(x, 8, 3, 2, "stem")
    for i, filters in enumerate((8, 16, 32), 1):
        strides = 1 if i == 1 else 2
        inside = _normalized(x, filters, 3, strides, f"block{i}_a")
        inside = _normalized(inside, filters, 3, 1, f"block{i}_b", relu=False)
        if i > 1:
            x = _normalized(x, filters, 1, strides, f"block{i}_shortcut", relu=False)
        x = layers.ReLU(name=f"block{i}_relu")(layers.Add(name=f"block{i}_sum")([inside, x]))
    x = layers.GlobalAveragePooling2D(name="pooling")(x)
    return keras.Model(images, layers.Dense(classes, name="logits")(x), name="residual")


def _normalized(x, filters: int, size: int, strides: int, name: str, relu: bool = True):
    x = layers.Conv2D(
        filters, size, strides=strides, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def resnet50(image_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """The paper's ResNet-50, whose first convolution keeps the size of small images."""
    return models.build("resnet50", image_shape, classes)


NETWORKS = {"plain": plain, "residual": residual, "resnet50": resnet50}
