"""The variables of the models that are updated: path and shape, and nothing that must be built.

A path ends as in Keras, since biases and normalization are told by their names.
"""

import itertools
import math

Shapes = dict[str, tuple[int, ...]]

_SMALL_KINDS = 20  # distinct shapes among many small variables


def resnet50() -> Shapes:
    """The paper's ResNet-50 with 1000 classes, the variables of `benchmarks.models`."""
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
    """The paper's AlexNet, as Caffe has it: the second, fourth and fifth layer in two groups."""
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
    """Many small variables, kernels and biases in turns, of 20 distinct shapes."""
    kinds = itertools.cycle(range(_SMALL_KINDS // 2))
    shapes: Shapes = {}
    for layer, kind in zip(range(math.ceil(count / 2)), kinds):
        shapes[f"layer{layer}/kernel"] = (3, 3, 8 + 4 * kind, 16)
        shapes[f"layer{layer}/bias"] = (16 + 4 * kind,)
    return dict(itertools.islice(shapes.items(), count))


def embedding() -> Shapes:
    """One variable of a hundred million elements."""
    return {"embedding/embeddings": (1_000_000, 100)}


def one_variable(elements: int) -> Shapes:
    return {"dense/kernel": (elements // 100, 100)}


MODELS = {
    "resnet50": resnet50,
    "alexnet": alexnet,
    "small_variables": small_variables,
    "embedding": embedding,
}

# How the cost grows: by the size of one variable, and by the number of small ones.
ELEMENTS = (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
VARIABLES = (10, 30, 100, 300, 1000, 2000)
QUICK_ELEMENTS = (10_000,)
QUICK_VARIABLES = (1, 2)


def quick(shapes: Shapes, variables: int = 3, axis: int = 16) -> Shapes:
    """The first few variables, cut small: for trying the benchmark out."""
    return {
        path: tuple(min(length, axis) for length in shape)
        for path, shape in itertools.islice(shapes.items(), variables)
    }


def parameters(shapes: Shapes) -> int:
    return sum(math.prod(shape) for shape in shapes.values())
