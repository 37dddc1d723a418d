"""The variables that are updated: models as paths and shapes, initial values, hyperparameters.

No model needs to be built. Paths end as in Keras, because biases and normalization parameters are
recognized by their names.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator

import numpy as np

Shapes = dict[str, tuple[int, ...]]

VECTORS = ("bias", "gamma", "beta")  # the names of biases and normalization parameters
WEIGHT_SCALE = 0.1  # standard deviation
_BLOCK = 2**20  # this many random numbers are drawn and then repeated, because 1e8 take seconds


@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    learning_rate: float
    weight_decay: float  # for LARS; SGD and Lamb are timed without weight decay
    trust_coefficient: float
    lamb_learning_rate: float  # a step of Lamb is this fraction of the weight norm
    momentum: float = 0.9
    gradient_scale: float = 1e-3  # standard deviation


TIMED = Hyperparameters(0.1, weight_decay=5e-4, trust_coefficient=1e-3, lamb_learning_rate=1e-3)
# Steps are large, and weight decay is as large as the gradient, so any wrong term is noticed.
CHECKED = Hyperparameters(10.0, weight_decay=0.01, trust_coefficient=1e-2, lamb_learning_rate=0.1)


def weights(shapes: Shapes) -> Iterator[np.ndarray]:
    """The initial values of variables, the same for each contender."""
    for i, shape in enumerate(shapes.values()):
        yield _normal(2 * i, shape, WEIGHT_SCALE)


def gradients(shapes: Shapes, hyper: Hyperparameters) -> Iterator[np.ndarray]:
    for i, shape in enumerate(shapes.values()):
        yield _normal(2 * i + 1, shape, hyper.gradient_scale)


def _normal(seed: int, shape: tuple[int, ...], scale: float) -> np.ndarray:
    size = math.prod(shape)
    block = np.random.default_rng(seed).standard_normal(min(size, _BLOCK), np.float32)
    return np.resize(np.float32(scale) * block, shape)


def is_decayed(path: str) -> bool:
    """Whether a variable has weight decay: all except biases and normalization parameters do."""
    return path.rpartition("/")[2] not in VECTORS


def parameters(shapes: Shapes) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


def resnet50() -> Shapes:
    """The paper's ResNet-50 with 1000 classes, as in `benchmarks.models`."""
    shapes: Shapes = {}

    def convolution(name: str, size: int, inputs: int, filters: int) -> int:
        shapes[f"{name}/kernel"] = (size, size, inputs, filters)
        shapes[f"{name}_bn/gamma"] = shapes[f"{name}_bn/beta"] = (filters,)
        return filters

    channels = convolution("stem", 7, 3, 64)
    for stage, blocks in enumerate((3, 4, 6, 3)):
        filters = 64 * 2**stage
        for block in range(blocks):
            prefix = f"stage{stage + 1}_block{block + 1}"
            if block == 0:
                convolution(f"{prefix}_projection", 1, channels, 4 * filters)
            convolution(f"{prefix}_conv1", 1, channels, filters)
            convolution(f"{prefix}_conv2", 3, filters, filters)
            channels = convolution(f"{prefix}_conv3", 1, filters, 4 * filters)
    shapes["logits/kernel"] = (channels, 1000)
    shapes["logits/bias"] = (1000,)
    return shapes


def alexnet() -> Shapes:
    """The paper's AlexNet as in Caffe: the second, fourth and fifth layer have two groups."""
    kernels = {
        "conv1": (11, 11, 3, 96),
        "conv2": (5, 5, 48, 256),
        "conv3": (3, 3, 256, 384),
        "conv4": (3, 3, 192, 384),
        "conv5": (3, 3, 192, 256),
        "dense6": (9216, 4096),
        "dense7": (4096, 4096),
        "dense8": (4096, 1000),
    }
    shapes: Shapes = {}
    for name, shape in kernels.items():
        shapes[f"{name}/kernel"] = shape
        shapes[f"{name}/bias"] = shape[-1:]
    return shapes


def small_variables(count: int = 1000) -> Shapes:
    """Many small variables, alternating kernels and biases, with 20 distinct shapes."""
    shapes: Shapes = {}
    for layer in range(math.ceil(count / 2)):
        kind = layer % 10
        shapes[f"layer{layer}/kernel"] = (3, 3, 8 + 4 * kind, 16)
        shapes[f"layer{layer}/bias"] = (16 + 4 * kind,)
    return dict(itertools.islice(shapes.items(), count))


def embedding() -> Shapes:
    """One variable of a hundred million elements."""
    return {"embedding/embeddings": (1_000_000, 100)}


MODELS = {
    "resnet50": resnet50,
    "alexnet": alexnet,
    "small_variables": small_variables,
    "embedding": embedding,
}


def model(name: str, quick: bool = False) -> Shapes:
    """The variables of a model, or with `quick` tiny versions of the first three."""
    shapes = MODELS[name]()
    if not quick:
        return shapes
    first = itertools.islice(shapes.items(), 3)
    return {path: tuple(min(length, 16) for length in shape) for path, shape in first}


def growing(quick: bool = False) -> Iterator[tuple[str, Shapes]]:
    """Models of growing size, and what grows: the elements of one variable, or small variables."""
    for count in (10_000,) if quick else (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000):
        yield "elements", {"dense/kernel": (count // 100, 100)}
    for count in (1, 2) if quick else (10, 30, 100, 300, 1000, 2000):
        yield "variables", small_variables(count)
