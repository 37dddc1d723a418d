"""The paper's network, and a tiny one of the same kind for tests."""

import functools

import keras
from keras import layers

# Below this size the usual stem would leave the last stages nothing to see.
SMALL_IMAGE = 64


def resnet(
    image_shape: tuple[int, int, int],
    classes: int,
    width: float = 1.0,
    *,
    blocks: tuple[int, ...],
    name: str,
) -> keras.Model:
    """A ResNet v1 with bottlenecks, as the authors of LARS trained it.

    The stride is on the first 1x1 convolution of a stage (v1.5 has it on the 3x3 one) and on the
    projection beside it, convolutions have no bias, and no gamma starts at 0.

    Args:
        image_shape: Height, width and channels. Images of less than 64 pixels get a stem that
            keeps their size: a 3x3 convolution, and no pooling.
        classes: Number of outputs, which are logits.
        width: Multiplies the number of filters of every convolution.
        blocks: Number of bottleneck blocks of each stage; (3, 4, 6, 3) is ResNet-50.
        name: Name of the model.

    Reference: [He et al., 2015](https://arxiv.org/abs/1512.03385), table 1.
    """
    filters = max(1, round(64 * width))
    images = keras.Input(image_shape, name="images")
    if min(image_shape[:2]) < SMALL_IMAGE:
        x = _convolution(images, filters, 3, name="stem")
    else:
        x = layers.ZeroPadding2D(3, name="stem_padding")(images)
        x = _convolution(x, filters, 7, strides=2, padding="valid", name="stem")
        x = layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pooling")(x)
    for stage, blocks_of_stage in enumerate(blocks):
        for block in range(blocks_of_stage):
            strides = 2 if stage > 0 and block == 0 else 1
            prefix = f"stage{stage + 1}_block{block + 1}"
            x = _bottleneck(x, filters * 2**stage, strides, project=block == 0, prefix=prefix)
    x = layers.GlobalAveragePooling2D(name="pooling")(x)
    logits = layers.Dense(classes, kernel_initializer=_filler(), name="logits")(x)
    return keras.Model(images, logits, name=name)


def _bottleneck(x, filters: int, strides: int, project: bool, prefix: str):
    shortcut = x
    if project:
        shortcut = _convolution(x, 4 * filters, 1, strides, relu=False, name=f"{prefix}_projection")
    x = _convolution(x, filters, 1, strides, name=f"{prefix}_conv1")
    x = _convolution(x, filters, 3, name=f"{prefix}_conv2")
    x = _convolution(x, 4 * filters, 1, relu=False, name=f"{prefix}_conv3")
    x = layers.Add(name=f"{prefix}_add")([x, shortcut])
    return layers.ReLU(name=f"{prefix}_relu")(x)


def _convolution(
    x, filters: int, size: int, strides: int = 1, relu: bool = True, padding="same", *, name: str
):
    x = layers.Conv2D(
        filters,
        size,
        strides,
        padding,
        use_bias=False,
        kernel_initializer=_filler(),
        name=name,
    )(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-4, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def _filler() -> keras.initializers.Initializer:
    # Caffe's "msra", which cuts no tails off as `HeNormal` does. A new one for each layer: an
    # initializer used twice may draw the same numbers twice.
    return keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")


MODELS = {
    "resnet50": functools.partial(resnet, blocks=(3, 4, 6, 3), name="resnet50"),
    "resnet_tiny": functools.partial(resnet, blocks=(1, 1), name="resnet_tiny"),
}
