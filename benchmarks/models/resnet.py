"""ResNets with bottlenecks: v1 as the paper's authors ran it, and v1.5 as in MLPerf."""

import dataclasses

import keras
from keras import layers

from benchmarks.models.options import Options
from benchmarks.models.virtual_batch import normalization


def resnet(
    options: Options, *, blocks: tuple[int, ...], v1_5: bool = False, name: str
) -> keras.Model:
    """A ResNet with bottlenecks; (3, 4, 6, 3) blocks in its stages make a ResNet-50.

    No pooling follows the small stem. Dropout, 0 in all recipes, precedes the last layer.

    Version 1 is that of github.com/borisgin/nvcaffe-0.16, models/resnet50/train_val: convolutions
    without bias, Caffe's "msra" filler everywhere, every initial gamma is 1. Version 1.5 is that of
    github.com/mlcommons/training_results_v0.7, resnet-research-JAX-tpu-v3-8192/models.py. It
    differs in where a stage has its strides, in epsilon, and in the last layer's initial weights.

    Reference: [He et al., 2015](https://arxiv.org/abs/1512.03385), table 1.
    """
    network = _Network(v1_5, options)
    filters = max(1, round(64 * options.width))
    images = keras.Input(options.image_shape, name="images")
    if options.has_small_stem:
        x = network.convolution(images, filters, 3, name="stem")
    else:
        x = layers.ZeroPadding2D(3, name="stem_padding")(images)
        x = network.convolution(x, filters, 7, strides=2, padding="valid", name="stem")
        # Caffe's pooling may extend past the lower edge, which is "same" for even sizes.
        x = layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pooling")(x)
    for stage, blocks_of_stage in enumerate(blocks):
        for block in range(blocks_of_stage):
            strides = 2 if stage > 0 and block == 0 else 1
            prefix = f"stage{stage + 1}_block{block + 1}"
            x = network.bottleneck(x, filters * 2**stage, strides, block == 0, prefix)
    x = layers.GlobalAveragePooling2D(name="pooling")(x)
    if options.dropout:
        x = layers.Dropout(options.dropout, name="dropout")(x)
    filler = keras.initializers.RandomNormal(stddev=0.01) if v1_5 else _filler()
    # float32 also in mixed precision, for the loss.
    logits = layers.Dense(
        options.classes, kernel_initializer=filler, dtype="float32", name="logits"
    )(x)
    return keras.Model(images, logits, name=name)


@dataclasses.dataclass(frozen=True)
class _Network:
    """Builds blocks and convolutions with shared settings."""

    v1_5: bool
    options: Options

    def bottleneck(self, x, filters: int, strides: int, project: bool, prefix: str):
        shortcut = x
        if project:
            shortcut = self.convolution(
                x, 4 * filters, 1, strides, relu=False, name=f"{prefix}_projection"
            )
        # Version 1 has the strides in the first 1x1 convolution, 1.5 in the 3x3 convolution.
        first, second = (1, strides) if self.v1_5 else (strides, 1)
        x = self.convolution(x, filters, 1, first, name=f"{prefix}_conv1")
        x = self.convolution(x, filters, 3, second, name=f"{prefix}_conv2")
        gamma = "zeros" if self.options.zero_gamma else "ones"
        x = self.convolution(x, 4 * filters, 1, relu=False, gamma=gamma, name=f"{prefix}_conv3")
        x = layers.Add(name=f"{prefix}_add")([x, shortcut])
        return layers.ReLU(name=f"{prefix}_relu")(x)

    def convolution(
        self,
        x,
        filters: int,
        size: int,
        strides: int = 1,
        padding: str = "same",
        *,
        relu: bool = True,
        gamma: str = "ones",
        name: str,
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
        x = normalization(
            self.options.virtual_batch_size,
            f"{name}_bn",
            epsilon=1e-5 if self.v1_5 else 1e-4,
            gamma_initializer=gamma,
        )(x)
        return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def _filler() -> keras.initializers.Initializer:
    # Caffe's "msra". Unlike `HeNormal` it is not truncated. A new one for each layer, because an
    # initializer used twice may draw the same numbers twice.
    return keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")
