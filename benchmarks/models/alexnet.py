"""AlexNet as in BVLC's and NVIDIA's Caffe, and AlexNet-BN as the norms in the paper imply it."""

import math

import keras
from keras import layers

from benchmarks.models.lrn import LocalResponseNormalization
from benchmarks.models.options import Options
from benchmarks.models.virtual_batch import normalization
from benchmarks.recipe import RecipeError

GROUPS = 2  # in the second, fourth and fifth convolution; originally one group per GPU


def alexnet(
    options: Options,
    *,
    batch_normalization: bool = False,
    filters: tuple[int, ...] = (96, 256, 384, 384, 256),
    units: int = 4096,
    name: str,
) -> keras.Model:
    """AlexNet with local response normalization, or AlexNet-BN with batch normalization.

    The authors' images have 227x227 pixels. The small stem replaces the 11x11 convolution with
    stride 4. Dropout, 0.5 in the paper, follows each hidden dense layer. The four normalizations of
    AlexNet-BN have neither scale nor shift, and follow the pooling if there is one. All layers keep
    their bias.

    Raises:
        RecipeError: If `zero_gamma` is true, or if `virtual_batch_size` is not 0 without batch
            normalization.

    Reference: github.com/borisgin/nvcaffe-0.16, models bvlc_alexnet/train_val and
        alexnet_bn/train_val2. All sixteen norms of the latter at the first iteration match table 2
        of [You et al., 2017](https://arxiv.org/abs/1708.03888).
    """
    if options.zero_gamma:
        raise RecipeError(
            f"--zero_gamma must be false: {name} has no residual blocks. Received: True"
        )
    if options.virtual_batch_size and not batch_normalization:
        raise RecipeError(
            f"--virtual_batch_size must be 0: {name} has no batch normalization. "
            f"Received: {options.virtual_batch_size}"
        )
    biases = (0.01,) * 5 if batch_normalization else (0.0, 0.1, 0.0, 0.1, 0.1)
    scaled = [_scaled(count, options.width) for count in filters]
    # Size, strides and padding of the convolutions.
    stem = (3, 1, "same") if options.has_small_stem else (11, 4, "valid")
    shapes = [stem, (5, 1, "same"), *[(3, 1, "same")] * 3]

    images = keras.Input(options.image_shape, name="images")
    x = images
    for i, shape in enumerate(shapes):
        layer = f"conv{i + 1}"
        x = layers.Conv2D(
            scaled[i],
            *shape,
            groups=GROUPS if i in (1, 3, 4) else 1,
            kernel_initializer=_gaussian(0.01),
            bias_initializer=keras.initializers.Constant(biases[i]),
            name=layer,
        )(x)
        x = layers.ReLU(name=f"{layer}_relu")(x)
        if i < 2 and not batch_normalization:
            x = LocalResponseNormalization(name=f"{layer}_lrn")(x)
        if i in (0, 1, 4):
            x = _pool(x, f"{layer}_pool")
        if i < 4 and batch_normalization:
            x = normalization(
                options.virtual_batch_size, f"{layer}_bn", epsilon=1e-4, scale=False, center=False
            )(x)
    x = layers.Flatten(name="flatten")(x)
    for layer in ("fc6", "fc7"):
        x = layers.Dense(
            _scaled(units, options.width),
            kernel_initializer=_gaussian(0.005),
            bias_initializer=keras.initializers.Constant(0.1),
            name=layer,
        )(x)
        x = layers.ReLU(name=f"{layer}_relu")(x)
        x = layers.Dropout(options.dropout, name=f"{layer}_dropout")(x)
    logits = layers.Dense(
        options.classes,
        kernel_initializer=_gaussian(0.01),
        bias_initializer=keras.initializers.Constant(0.01 if batch_normalization else 0.0),
        dtype="float32",  # also in mixed precision, for the loss
        name="logits",
    )(x)
    return keras.Model(images, logits, name=name)


def _pool(x, name: str):
    """3x3 max pooling with stride 2 as in Caffe, where a window may extend past the edge.

    Caffe uses ceil((size - 3) / 2) + 1 windows, of which the last may lack a row. Inputs that are
    too small for that keep their size.
    """
    height, width = x.shape[1:3]
    if min(height, width) < 2:
        return x
    missing = [(math.ceil((size - 3) / 2) * 2 + 3) - size for size in (height, width)]
    if any(missing):
        # Zeros do not change the maximum, because the input comes from a ReLU.
        x = layers.ZeroPadding2D(((0, missing[0]), (0, missing[1])), name=f"{name}_padding")(x)
    return layers.MaxPooling2D(3, strides=2, name=name)(x)


def _scaled(count: int, width: float) -> int:
    return max(GROUPS, GROUPS * round(count * width / GROUPS))


def _gaussian(deviation: float) -> keras.initializers.Initializer:
    # A new one for each layer, because an initializer used twice may draw the same numbers twice.
    return keras.initializers.RandomNormal(stddev=deviation)
