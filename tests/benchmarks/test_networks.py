"""The paper's networks, layer by layer, and their normalization layers."""

import math

import keras
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the extra `benchmarks` is not installed")
if keras.backend.backend() != "tensorflow":
    pytest.skip("the benchmarks run on TensorFlow", allow_module_level=True)

import tensorflow as tf
from support.helpers import at_least

import keras_lars
from benchmarks import models
from benchmarks.models.alexnet import alexnet
from benchmarks.models.lrn import LocalResponseNormalization
from benchmarks.models.options import Options
from benchmarks.models.resnet import resnet
from benchmarks.models.virtual_batch import VirtualBatchNormalization
from benchmarks.recipe import RecipeError
from benchmarks.speed import variables

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "logits")


def large(name):
    """A fixture of the network as the paper trains it. Tests must not change it."""

    @pytest.fixture(scope="module", name=name)
    def make():
        keras.utils.set_random_seed(0)
        size = 227 if name.startswith("alexnet") else 224
        return models.build(name, (size, size, 3), 1000, dropout=0.5 * name.startswith("alexnet"))

    return make


large_alexnet = large("alexnet")
large_alexnet_bn = large("alexnet_bn")
large_resnet50 = large("resnet50")
large_resnet50_v1_5 = large("resnet50_v1_5")


def of_kind(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def shape_behind(model, name):
    return model.get_layer(name).output.shape[1:]


def order_of(model):
    return [layer.name for layer in model.layers]


def array(x):
    return np.array(keras.ops.convert_to_numpy(x))


def count(variables):
    return sum(math.prod(v.shape) for v in variables)


# --- all networks ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "trainable", "moving"),
    [
        ("alexnet", 60_965_224, 0),
        # Four normalizations without scale and shift, and their moving means and variances.
        ("alexnet_bn", 60_965_224, 2 * (96 + 256 + 384 + 384)),
        # A moving mean and a variance for each gamma and beta.
        ("resnet50", 25_557_032, 53_120),
        ("resnet50_v1_5", 25_557_032, 53_120),
    ],
    ids=["alexnet", "alexnet_bn", "resnet50", "resnet50_v1_5"],
)
def test_parameters(name, trainable, moving, request):
    model = request.getfixturevalue(name)
    assert model.name == name
    assert count(model.trainable_weights) == trainable
    weights = [v for v in model.non_trainable_weights if "seed_generator" not in v.path]
    assert count(weights) == moving


@pytest.mark.slow
def test_updates_are_timed_on_the_variables_of_resnet50(resnet50):
    paths_and_shapes = {v.path: tuple(v.shape) for v in resnet50.trainable_weights}
    assert variables.model("resnet50") == paths_and_shapes


# Added up by hand: the first layer, the other convolutions, then the dense layers.
@pytest.mark.parametrize(
    ("name", "shape", "classes", "width", "expected"),
    [
        ("alexnet", (14, 14, 1), 10, 1 / 64, 20 + 606 + 320 + 4160 + 650),
        ("alexnet_bn", (28, 28, 1), 10, 1 / 64, 20 + 606 + 2368 + 4160 + 650),
        ("alexnet_bn", (32, 32, 3), 7, 1 / 64, 56 + 606 + 4160 + 4160 + 455),
        ("alexnet_bn", (227, 227, 3), 1000, 1 / 64, 728 + 606 + 9280 + 4160 + 65_000),
        ("alexnet_tiny", (8, 8, 1), 10, 1, 80 + 6272 + 544 + 1056 + 330),
        ("resnet_tiny", (8, 8, 1), 10, 0.125, 88 + 1312 + 6208 + 650),
        ("resnet_tiny", (28, 28, 3), 7, 0.125, 232 + 1312 + 6208 + 455),
        ("resnet_tiny", (96, 96, 3), 1000, 0.125, 1192 + 1312 + 6208 + 65_000),
    ],
)
def test_parameters_at_other_sizes(name, shape, classes, width, expected):
    model = models.build(name, shape, classes, width=width)
    assert count(model.trainable_weights) == expected
    assert model.output.shape == (None, classes)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "alexnet_bn", "resnet50", "resnet50_v1_5"])
def test_no_two_layers_draw_the_same_numbers(name, request):
    model = request.getfixturevalue(name)
    kernels = [v for v in model.trainable_weights if len(v.shape) > 1]
    assert len(kernels) == {"alexnet": 8, "alexnet_bn": 8}.get(name, 54)
    # Relative to the first: the same numbers at another deviation count as the same.
    first = [array(v).ravel()[:100] for v in kernels]
    assert len({tuple(np.round(x / x[0], 3)) for x in first}) == len(kernels)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [
        *((name, 8) for name in models.MODELS),
        # ResNet-50 takes seconds, and is built from the same parts at both sizes.
        *((name, 28) for name in ("alexnet", "alexnet_bn", "resnet_tiny", "alexnet_tiny")),
    ],
)
def test_every_network_is_trained_and_saved(name, size, tmp_path):
    shape = (size, size, 1)
    is_tiny = name.endswith("tiny")
    has_normalization = name != "alexnet"
    model = models.build(
        name,
        shape,
        10,
        width=0.25 if is_tiny else 1 / 64,
        dropout=0.5 if name.startswith("alexnet") else 0.0,
        virtual_batch_size=2 * has_normalization,
        zero_gamma=name.startswith("resnet"),
    )
    assert model.output.shape == (None, 10)
    model.compile(
        # Compiling ResNet-50 takes longer than a step, and so does compiling its update.
        keras_lars.LARS(0.05, jit_compile=False),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=True,
    )
    images = np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")
    before = [array(v) for v in model.trainable_weights]
    loss = model.train_on_batch(images, np.arange(4))
    assert np.isfinite(loss)
    changed = [not np.array_equal(array(v), w) for v, w in zip(model.trainable_weights, before)]
    # With the last gamma of a block at 0, the layers before it in the block have no gradient.
    assert changed[-2:] == [True, True]
    if name.startswith("alexnet"):
        assert all(changed)

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    images = keras.ops.convert_to_tensor(images)  # Keras 3.10 warns if it is called on an array
    np.testing.assert_array_equal(array(loaded(images)), array(model(images)))
    assert [type(x) for x in loaded.layers] == [type(x) for x in model.layers]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet_tiny", "alexnet_tiny"])
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_logits_are_float32_in_mixed_precision(name, precision):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        model = models.build(name, (8, 8, 1), 10)
    finally:
        keras.config.set_dtype_policy(before)
    logits = model.get_layer("logits")
    assert logits.compute_dtype == "float32"
    assert model.output.dtype == "float32"
    assert model.layers[1].compute_dtype == precision.removeprefix("mixed_")
    assert {v.dtype for v in model.trainable_weights} == {"float32"}
    assert model(np.ones((2, 8, 8, 1), "float32"), training=True).dtype == "float32"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("alexnet", {"zero_gamma": True}, "--zero_gamma must be false: .* Received: True$"),
        ("alexnet_bn", {"zero_gamma": True}, "--zero_gamma must be false: alexnet_bn .* True$"),
        ("alexnet", {"virtual_batch_size": 8}, "--virtual_batch_size must be 0: .* Received: 8$"),
    ],
    ids=["zero_gamma", "zero_gamma-bn", "virtual_batch_size"],
)
def test_options_that_a_network_does_not_use_are_refused(name, options, message):
    with pytest.raises(RecipeError, match=message) as error:
        models.build(name, (8, 8, 1), 10, width=1 / 64, **options)
    assert "\n" not in str(error.value)


# --- AlexNet --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["alexnet", "alexnet_bn"])
def test_convolutions_of_alexnet(name, request):
    model = request.getfixturevalue(name)
    found = [
        (x.name, x.filters, x.kernel_size[0], x.strides[0], x.padding, x.groups, x.use_bias)
        for x in of_kind(model, keras.layers.Conv2D)
    ]
    assert found == [
        ("conv1", 96, 11, 4, "valid", 1, True),
        ("conv2", 256, 5, 1, "same", 2, True),
        ("conv3", 384, 3, 1, "same", 1, True),
        ("conv4", 384, 3, 1, "same", 2, True),
        ("conv5", 256, 3, 1, "same", 2, True),
    ]
    assert [x.units for x in of_kind(model, keras.layers.Dense)] == [4096, 4096, 1000]


@pytest.mark.parametrize("name", ["alexnet", "alexnet_bn"])
def test_sizes_within_alexnet(name, request):
    model = request.getfixturevalue(name)
    assert shape_behind(model, "conv1") == (55, 55, 96)
    assert shape_behind(model, "conv1_pool") == (27, 27, 96)
    assert shape_behind(model, "conv2_pool") == (13, 13, 256)
    assert shape_behind(model, "conv5_pool") == (6, 6, 256)
    assert shape_behind(model, "flatten") == (6 * 6 * 256,)
    # At this size the windows fit.
    assert of_kind(model, keras.layers.ZeroPadding2D) == []


def caffe_size(size):
    return math.ceil((size - 3) / 2) + 1


@pytest.mark.parametrize("size", [8, 14, 28, 32, 64, 65, 96, 128, 224, 225, 226])
def test_pooling_gives_the_sizes_of_caffe(size):
    model = models.build("alexnet_bn", (size, size + 3, 3), 10, width=1 / 64)
    for axis in (0, 1):
        expected = (size, size + 3)[axis]
        if size > 64:
            expected = (expected - 11) // 4 + 1
        for layer in ("conv1", "conv2", "conv5"):
            expected = caffe_size(expected) if expected >= 2 else expected
            assert shape_behind(model, f"{layer}_pool")[axis] == expected


def test_a_window_over_the_edge_ignores_the_padding():
    model = models.build("alexnet_bn", (8, 8, 3), 10, width=1 / 64)
    part = keras.Model(model.get_layer("conv1_relu").output, model.get_layer("conv1_pool").output)
    values = np.random.default_rng(0).uniform(1, 2, (2, 8, 8, 2)).astype("float32")
    expected = np.zeros((2, 4, 4, 2), "float32")
    for i in range(4):
        for j in range(4):
            window = values[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            expected[:, i, j] = window.max(axis=(1, 2))
    np.testing.assert_array_equal(array(part(values)), expected)


def test_an_input_smaller_than_a_window_is_not_pooled():
    model = models.build("alexnet", (1, 1, 1), 10, width=1 / 64)
    assert of_kind(model, keras.layers.MaxPooling2D) == []
    assert shape_behind(model, "conv5") == (1, 1, 4)


def test_layers_of_alexnet(alexnet):
    blocks = [
        *("conv1", "conv1_relu", "conv1_lrn", "conv1_pool"),
        *("conv2", "conv2_relu", "conv2_lrn", "conv2_pool"),
        *("conv3", "conv3_relu"),
        *("conv4", "conv4_relu"),
        *("conv5", "conv5_relu", "conv5_pool"),
        "flatten",
        *("fc6", "fc6_relu", "fc6_dropout"),
        *("fc7", "fc7_relu", "fc7_dropout"),
        "logits",
    ]
    assert order_of(alexnet) == ["images", *blocks]
    found = of_kind(alexnet, LocalResponseNormalization)
    assert [(x.size, x.alpha, x.beta) for x in found] == [(5, 1e-4, 0.75)] * 2
    assert of_kind(alexnet, keras.layers.BatchNormalization) == []


def test_layers_of_alexnet_bn(alexnet_bn):
    blocks = [
        *("conv1", "conv1_relu", "conv1_pool", "conv1_bn"),
        *("conv2", "conv2_relu", "conv2_pool", "conv2_bn"),
        *("conv3", "conv3_relu", "conv3_bn"),
        *("conv4", "conv4_relu", "conv4_bn"),
        *("conv5", "conv5_relu", "conv5_pool"),
        "flatten",
        *("fc6", "fc6_relu", "fc6_dropout"),
        *("fc7", "fc7_relu", "fc7_dropout"),
        "logits",
    ]
    assert order_of(alexnet_bn) == ["images", *blocks]
    found = of_kind(alexnet_bn, keras.layers.BatchNormalization)
    assert [(x.scale, x.center, x.epsilon, x.momentum) for x in found] == [
        (False, False, 1e-4, 0.9)
    ] * 4
    assert of_kind(alexnet_bn, LocalResponseNormalization) == []


@pytest.mark.parametrize("name", ["alexnet", "alexnet_bn"])
def test_dropout_of_alexnet(name, request):
    assert [x.rate for x in of_kind(request.getfixturevalue(name), keras.layers.Dropout)] == [
        0.5,
        0.5,
    ]


@pytest.mark.parametrize("name", ["alexnet", "alexnet_bn"])
@pytest.mark.parametrize("layer", LAYERS)
def test_weight_fillers_of_alexnet(name, layer, request):
    kernel = array(request.getfixturevalue(name).get_layer(layer).kernel).ravel()
    deviation = 0.005 if layer in ("fc6", "fc7") else 0.01
    assert np.std(kernel) == pytest.approx(deviation, rel=5 / math.sqrt(2 * kernel.size))
    assert abs(np.mean(kernel)) < 5 * deviation / math.sqrt(kernel.size)
    assert np.max(np.abs(kernel)) > 3 * deviation  # not truncated


@pytest.mark.parametrize(
    ("name", "biases"),
    [
        ("alexnet", [0.0, 0.1, 0.0, 0.1, 0.1, 0.1, 0.1, 0.0]),
        ("alexnet_bn", [0.01, 0.01, 0.01, 0.01, 0.01, 0.1, 0.1, 0.01]),
    ],
    ids=["alexnet", "alexnet_bn"],
)
def test_bias_fillers_of_alexnet(name, biases, request):
    model = request.getfixturevalue(name)
    for layer, bias in zip(LAYERS, biases):
        np.testing.assert_array_equal(array(model.get_layer(layer).bias), np.float32(bias))


# Norms of a layer's weights and biases, each with half a unit of the last printed digit.
TABLE_2 = {
    "conv1": (1.86, 0.005, 0.098, 0.0005),
    "conv2": (5.546, 0.0005, 0.16, 0.005),
    "conv3": (9.40, 0.005, 0.196, 0.0005),
    "conv4": (8.15, 0.005, 0.196, 0.0005),
    "conv5": (6.65, 0.005, 0.16, 0.005),
    "fc6": (30.7, 0.05, 6.4, 0.05),
    "fc7": (20.5, 0.05, 6.4, 0.05),
    "logits": (20.2, 0.05, 0.316, 0.0005),
}


@pytest.fixture(scope="module")
def other_alexnet_bn():
    keras.utils.set_random_seed(1)
    return models.build("alexnet_bn", (227, 227, 3), 1000)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("seed", [0, 1])
def test_norms_before_training_are_those_of_table_2(seed, layer, request):
    """As printed there, except that the table swaps the labels of weights and biases.

    A bias filled with a constant has the same norm for every seed, and the norm of n Gaussians
    hardly varies. A bias of 4,096 elements of 0.1 cannot have a norm of 30.7.
    """
    seeded = request.getfixturevalue(("alexnet_bn", "other_alexnet_bn")[seed])
    weights, rounding, bias, bias_rounding = TABLE_2[layer]
    kernel = array(seeded.get_layer(layer).kernel).astype("float64")
    # Their norm is a random sample, as ours is.
    error = math.sqrt(2) * 5 * weights / math.sqrt(2 * kernel.size)
    assert np.linalg.norm(kernel) == pytest.approx(weights, abs=error + rounding)
    found = np.linalg.norm(array(seeded.get_layer(layer).bias).astype("float64"))
    assert found == pytest.approx(bias, abs=bias_rounding)


def test_narrow_alexnet_keeps_its_groups():
    model = alexnet(Options((8, 8, 1), 10, 1 / 64), name="narrow")
    assert [x.filters for x in of_kind(model, keras.layers.Conv2D)] == [2, 4, 6, 6, 4]
    assert [x.groups for x in of_kind(model, keras.layers.Conv2D)] == [1, 2, 1, 2, 2]
    assert [x.units for x in of_kind(model, keras.layers.Dense)] == [64, 64, 10]


@pytest.mark.parametrize(("size", "kernel", "strides"), [(64, 3, 1), (65, 11, 4)])
def test_first_layer_of_alexnet_by_image_size(size, kernel, strides):
    layer = models.build("alexnet", (size, size, 1), 10, width=1 / 64).get_layer("conv1")
    assert (layer.kernel_size[0], layer.strides[0]) == (kernel, strides)


# --- ResNet ---------------------------------------------------------------------------------------


def test_layers_of_resnet50(resnet50):
    convolutions = of_kind(resnet50, keras.layers.Conv2D)
    assert len(convolutions) == 53
    assert not any(layer.use_bias for layer in convolutions)
    assert len(of_kind(resnet50, keras.layers.Add)) == 16
    for name, shape in (
        ("stem", (112, 112, 64)),
        ("stem_pooling", (56, 56, 64)),
        ("stage1_block3_relu", (56, 56, 256)),
        ("stage2_block4_relu", (28, 28, 512)),
        ("stage3_block6_relu", (14, 14, 1024)),
        ("stage4_block3_relu", (7, 7, 2048)),
    ):
        assert shape_behind(resnet50, name) == shape


@pytest.mark.parametrize(
    ("name", "strided"),
    [
        ("resnet50", {"conv1": (1, 1), "projection": (1, 1)}),
        ("resnet50_v1_5", {"conv2": (3, 3), "projection": (1, 1)}),
    ],
    ids=["first-1x1", "3x3"],
)
def test_where_the_strides_are(name, strided, request):
    found = {
        layer.name: layer.kernel_size
        for layer in of_kind(request.getfixturevalue(name), keras.layers.Conv2D)
        if layer.strides == (2, 2)
    }
    expected = {"stem": (7, 7)}
    for stage in (2, 3, 4):
        expected.update({f"stage{stage}_block1_{part}": k for part, k in strided.items()})
    assert found == expected


@pytest.mark.parametrize(("name", "epsilon"), [("resnet50", 1e-4), ("resnet50_v1_5", 1e-5)])
def test_normalization_of_resnet50(name, epsilon, request):
    found = of_kind(request.getfixturevalue(name), keras.layers.BatchNormalization)
    assert len(found) == 53
    assert {(x.momentum, x.epsilon) for x in found} == {(0.9, epsilon)}
    assert all(np.all(array(x.gamma) == 1) and np.all(array(x.beta) == 0) for x in found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "deviation"), [("resnet50", math.sqrt(2 / 2048)), ("resnet50_v1_5", 0.01)]
)
def test_fillers_of_resnet50(name, deviation, request):
    model = request.getfixturevalue(name)
    for layer in of_kind(model, keras.layers.Conv2D):
        kernel = array(layer.kernel)
        expected = math.sqrt(2 / math.prod(kernel.shape[:3]))
        assert np.std(kernel) == pytest.approx(expected, rel=5 / math.sqrt(2 * kernel.size))
    kernel = array(model.get_layer("stage4_block2_conv2").kernel)
    assert np.max(np.abs(kernel)) > 4 * np.std(kernel)  # not truncated
    logits = model.get_layer("logits")
    assert np.std(array(logits.kernel)) == pytest.approx(deviation, rel=0.005)
    assert not np.any(array(logits.bias))


@pytest.mark.parametrize("virtual", [0, 2])
def test_zero_gamma(virtual):
    model = models.build("resnet_tiny", (8, 8, 1), 10, virtual_batch_size=virtual, zero_gamma=True)
    found = {
        x.name: float(np.max(np.abs(array(x.gamma))))
        for x in of_kind(model, keras.layers.BatchNormalization)
    }
    assert {name for name, gamma in found.items() if gamma == 0} == {
        "stage1_block1_conv3_bn",
        "stage2_block1_conv3_bn",
    }
    assert set(found.values()) == {0, 1}


@pytest.mark.slow
def test_small_images_and_narrow_widths_keep_all_layers():
    model = models.build("resnet50", (8, 8, 1), 10, width=0.25)
    assert len(of_kind(model, keras.layers.Conv2D)) == 53
    stem = model.get_layer("stem")
    assert (stem.kernel_size, stem.strides, stem.filters) == ((3, 3), (1, 1), 16)
    assert shape_behind(model, "stage4_block3_relu") == (1, 1, 512)


@pytest.mark.parametrize(
    ("size", "small_stem", "expected"),
    [
        (64, None, (64, 64)),
        (65, None, (17, 17)),
        (64, False, (16, 16)),
        (128, True, (128, 128)),
    ],
    ids=["64", "65", "large-stem", "small-stem"],
)
def test_stem_of_resnet(size, small_stem, expected):
    options = Options((size, size, 3), 10, 0.125, small_stem=small_stem)
    model = resnet(options, blocks=(1,), name="stem")
    assert shape_behind(model, "stage1_block1_conv1")[:2] == expected
    assert model.get_layer("stem").kernel_size == ((3, 3) if expected[0] == size else (7, 7))


def test_dropout_of_resnet():
    assert of_kind(models.build("resnet_tiny", (8, 8, 1), 10), keras.layers.Dropout) == []
    options = Options((8, 8, 1), 10, 0.125, dropout=0.25)
    model = resnet(options, blocks=(1,), v1_5=True, name="dropout")
    assert order_of(model)[-3:] == ["pooling", "dropout", "logits"]
    assert model.get_layer("dropout").rate == 0.25


# --- local response normalization -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "alpha", "beta", "channels"),
    [(5, 1e-4, 0.75, 7), (3, 2.0, 0.5, 8), (5, 1.0, 0.75, 2), (1, 1.0, 1.0, 3)],
    ids=["caffe", "strong", "window-beyond-channels", "size-1"],
)
def test_local_response_normalization(size, alpha, beta, channels):
    x = np.random.default_rng(0).normal(0, 50, (2, 3, 4, channels)).astype("float32")
    found = array(LocalResponseNormalization(size, alpha, beta)(x))
    expected = np.empty(x.shape)
    for c in range(channels):
        window = x[..., max(0, c - size // 2) : c + size // 2 + 1].astype("float64")
        expected[..., c] = x[..., c] / (1 + alpha / size * (window**2).sum(-1)) ** beta
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    other = tf.nn.local_response_normalization(x, size // 2, 1.0, alpha / size, beta)
    np.testing.assert_allclose(found, other, rtol=1e-5)


def test_local_response_normalization_in_float16():
    x = np.full((1, 1, 1, 5), 1000, "float32")  # its square overflows float16
    layer = LocalResponseNormalization(alpha=1.0, dtype="mixed_float16")
    found = layer(x)
    assert found.dtype == "float16"
    expected = array(LocalResponseNormalization(alpha=1.0)(x))
    np.testing.assert_allclose(array(found), expected, rtol=1e-3)


def test_local_response_normalization_keeps_float64():
    x = np.random.default_rng(0).normal(size=(2, 3, 3, 1))
    found = array(LocalResponseNormalization(alpha=1.0, dtype="float64")(x))
    np.testing.assert_allclose(found, x / (1 + x**2 / 5) ** 0.75, rtol=1e-12)


def test_local_response_normalization_is_saved():
    layer = LocalResponseNormalization(3, 0.5, 0.25, name="lrn")
    twin = LocalResponseNormalization.from_config(layer.get_config())
    assert (twin.size, twin.alpha, twin.beta, twin.name) == (3, 0.5, 0.25, "lrn")


@pytest.mark.parametrize("size", [0, 2, -1])
def test_a_window_of_even_size_is_refused(size):
    with pytest.raises(ValueError, match=f"odd number of channels. Received: size={size}"):
        LocalResponseNormalization(size)


# --- virtual batch normalization ------------------------------------------------------------------

OPTIONS = {"momentum": 0.9, "epsilon": 1e-3}


def images(samples, shape=(3, 2, 4), seed=0):
    generator = np.random.default_rng(seed)
    # Groups that differ: each sample has a mean and a deviation of its own.
    means = generator.normal(0, 3, (samples, *[1] * len(shape)))
    x = means + generator.uniform(0.5, 2, means.shape) * generator.normal(size=(samples, *shape))
    return x.astype("float32")


def virtual(size, **options):
    """A layer whose gamma and beta differ from their initial values."""
    return given_parameters(VirtualBatchNormalization(size, **{**OPTIONS, **options}))


def given_parameters(layer, shape=(None, 3, 2, 4)):
    layer.build(shape)
    numbers = np.arange(1, shape[-1] + 1, dtype="float32")
    for variable, value in ((layer.gamma, numbers / 2), (layer.beta, numbers - 3)):
        if variable is not None:
            variable.assign(value)
    return layer


def by_numpy(x, size, scale=True, center=True):
    """The output, and the averages of mean and variance over the groups."""
    groups = x.astype("float64").reshape(-1, size, *x.shape[1:])
    axes = tuple(range(1, groups.ndim - 1))
    mean, variance = groups.mean(axes, keepdims=True), groups.var(axes, keepdims=True)
    y = (groups - mean) / np.sqrt(variance + OPTIONS["epsilon"])
    numbers = np.arange(1, x.shape[-1] + 1)
    y = y * (numbers / 2 if scale else 1) + (numbers - 3 if center else 0)
    channels = x.shape[-1]
    return (
        y.reshape(x.shape),
        mean.reshape(-1, channels).mean(0),
        variance.reshape(-1, channels).mean(0),
    )


@pytest.mark.parametrize(
    ("scale", "center"),
    [(True, True), (False, True), (True, False), (False, False)],
    ids=["scale-center", "center", "scale", "neither"],
)
@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_each_group_is_normalized_by_itself(size, scale, center):
    layer = virtual(size, scale=scale, center=center)
    x = images(6)
    found = array(layer(x, training=True))
    expected, mean, variance = by_numpy(x, size, scale, center)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(array(layer.moving_mean), 0.1 * mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(array(layer.moving_variance), 0.9 + 0.1 * variance, rtol=1e-5)
    assert len(layer.trainable_weights) == scale + center


def test_groups_of_vectors():
    layer = given_parameters(VirtualBatchNormalization(4, **OPTIONS), (None, 5))
    x = images(8, (5,))
    expected, *_ = by_numpy(x, 4)
    np.testing.assert_allclose(array(layer(x, training=True)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("samples", [8, 3], ids=["one-group", "smaller-batch"])
def test_a_batch_of_one_group_is_batch_normalization(samples):
    layer = virtual(8)
    reference = given_parameters(keras.layers.BatchNormalization(**OPTIONS))
    x = tf.constant(images(samples))
    weights = tf.constant(images(samples, seed=1))
    results = []
    for each in (layer, reference):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = each(x, training=True)
            loss = tf.reduce_sum(weights * y)
        gradients = tape.gradient(loss, [x, each.gamma.value, each.beta.value])
        results.append([y, *gradients, each.moving_mean, each.moving_variance])
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(array(found), array(expected), rtol=1e-4, atol=1e-4)


def test_gradients_stay_within_a_group():
    layer = virtual(2)
    x = tf.constant(images(6))
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(layer(x, training=True)[:2] ** 3)
    gradient = array(tape.gradient(loss, x))
    assert np.all(np.any(gradient[:2] != 0, axis=(1, 2, 3)))
    assert not np.any(gradient[2:])


@pytest.mark.parametrize("samples", [5, 6, 9])
def test_a_batch_that_is_not_a_multiple_is_refused(samples):
    with pytest.raises(ValueError, match=f" 4, or a multiple of it. Received: {samples} samples"):
        virtual(4)(images(samples), training=True)


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("samples", [5, 6])
def test_a_batch_of_unknown_size_that_is_not_a_multiple_fails_in_fit(samples, jit_compile):
    """Six is a multiple of the number of groups that it would need, though not of four."""
    model = keras.Sequential([keras.Input((3, 2, 4)), virtual(4), keras.layers.Flatten()])
    model.compile("sgd", "mse", jit_compile=jit_compile)
    data = tf.data.Dataset.from_tensor_slices((images(samples), np.zeros((samples, 24), "float32")))
    # Since 3.16 Keras traces a step for the size of the first batch, so the size is known.
    known = at_least(keras, "3.16")
    rule = f"Received: {samples} samples" if known else "batch_must_be_a_multiple_of_4_samples"
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=rule):
        model.fit(data.batch(samples), shuffle=False, verbose=0)


@pytest.mark.slow
def test_batches_of_unknown_size_in_fit():
    """A batch of two groups, then one that is smaller than a group."""
    layer = virtual(4)
    model = keras.Sequential([keras.Input((3, 2, 4)), layer, keras.layers.Flatten()])
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=False)
    x = images(11)
    data = tf.data.Dataset.from_tensor_slices((x, np.zeros((11, 24), "float32")))
    model.fit(data.batch(8), shuffle=False, verbose=0)
    _, first_mean, first_variance = by_numpy(x[:8], 4)
    _, mean, variance = by_numpy(x[8:], 3)
    np.testing.assert_allclose(
        array(layer.moving_mean), 0.09 * first_mean + 0.1 * mean, rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(
        array(layer.moving_variance), 0.81 + 0.09 * first_variance + 0.1 * variance, rtol=1e-4
    )


@pytest.mark.parametrize("training", [False, None], ids=["false", "none"])
def test_inference_is_batch_normalization(training):
    layer = virtual(2)
    reference = given_parameters(keras.layers.BatchNormalization(**OPTIONS))
    for each in (layer, reference):
        each.moving_mean.assign([1.0, 2.0, 3.0, 4.0])
        each.moving_variance.assign([4.0, 3.0, 2.0, 1.0])
    x = images(5)  # any number of samples
    np.testing.assert_array_equal(array(layer(x, training=training)), array(reference(x)))
    np.testing.assert_array_equal(array(layer.moving_mean), [1, 2, 3, 4])


def test_a_frozen_layer_infers():
    layer = virtual(2)
    layer.trainable = False
    x = images(5)
    found = array(layer(x, training=True))
    np.testing.assert_array_equal(found, array(layer(x, training=False)))
    assert not np.any(array(layer.moving_mean))
    assert layer.trainable_weights == []


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_statistics_are_float32_in_mixed_precision(precision):
    layer = virtual(2, dtype=precision)
    x = 1000 * images(4)  # their squares overflow float16
    found = layer(x, training=True)
    assert found.dtype == precision.removeprefix("mixed_")
    assert {v.dtype for v in layer.weights} == {"float32"}
    seen = array(keras.ops.cast(keras.ops.cast(x, found.dtype), "float32"))
    expected, mean, variance = by_numpy(seen, 2)
    np.testing.assert_allclose(array(layer.moving_mean), 0.1 * mean, rtol=1e-4)
    np.testing.assert_allclose(array(layer.moving_variance), 0.9 + 0.1 * variance, rtol=1e-4)
    # Eight bits of a bfloat16, eleven of a float16; outputs are up to about 10.
    tolerance = 0.1 if precision == "mixed_bfloat16" else 0.01
    np.testing.assert_allclose(array(keras.ops.cast(found, "float32")), expected, atol=tolerance)


def test_float64_is_kept():
    layer = virtual(2, dtype="float64")
    x = images(4).astype("float64")
    expected, *_ = by_numpy(x, 2)
    np.testing.assert_allclose(array(layer(x, training=True)), expected, rtol=1e-10, atol=1e-10)


def test_virtual_batch_normalization_is_saved(tmp_path):
    layer = virtual(2, center=False, name="virtual")
    model = keras.Sequential([keras.Input((3, 2, 4)), layer])
    x = images(4)
    model(x, training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    twin = loaded.get_layer("virtual")
    assert type(twin) is VirtualBatchNormalization
    assert (twin.virtual_batch_size, twin.epsilon, twin.center) == (2, 1e-3, False)
    np.testing.assert_array_equal(array(loaded(x)), array(model(x)))
    np.testing.assert_array_equal(array(loaded(x, training=True)), array(model(x, training=True)))


def test_lars_recognizes_its_parameters():
    layer = virtual(2)
    rule = keras_lars.bias_or_normalization()
    assert [v.path.split("/")[-1] for v in layer.trainable_weights] == ["gamma", "beta"]
    assert all(rule(v) for v in layer.trainable_weights)
    optimizer = keras_lars.LARS(exclude_from_layer_adaptation=rule)
    optimizer.build(layer.trainable_weights)
    assert not any(row.adapted or row.decayed for row in optimizer.variable_table())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"virtual_batch_size": 0}, "must be at least 1. Received: 0"),
        ({"virtual_batch_size": -2}, "must be at least 1. Received: -2"),
        ({"virtual_batch_size": 2, "synchronized": True}, "`synchronized` must be False"),
        ({"virtual_batch_size": 2, "renorm": True}, "`renorm` must be False"),
        ({"virtual_batch_size": 2, "axis": 1}, "`axis` must be -1 .* Received: 1"),
    ],
    ids=["zero", "negative", "synchronized", "renorm", "axis"],
)
def test_unsupported_options_of_virtual_batch_normalization(options, message):
    with pytest.raises(ValueError, match=message):
        VirtualBatchNormalization(**options)


def test_a_mask_is_refused_in_training():
    with pytest.raises(ValueError, match="`mask` is not supported"):
        virtual(2).call(images(4), training=True, mask=np.ones((4, 3, 2), bool))


@pytest.mark.parametrize(
    ("size", "kind"), [(0, keras.layers.BatchNormalization), (4, VirtualBatchNormalization)]
)
@pytest.mark.parametrize("name", ["resnet_tiny", "alexnet_tiny"])
def test_virtual_batch_size_selects_the_normalization(name, size, kind):
    model = models.build(name, (8, 8, 1), 10, virtual_batch_size=size)
    found = of_kind(model, keras.layers.BatchNormalization)
    assert {type(x) for x in found} == {kind}
    assert {getattr(x, "virtual_batch_size", 0) for x in found} == {size}
