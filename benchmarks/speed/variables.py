"""The variables that are updated: models as paths and shapes, initial values, hyperparameters.

No model needs to be built. Paths end as in Keras, because biases and normalization parameters are
recognized by their names.
"""

import dataclasses
import itertools
import math
import pathlib
from collections.abc import Iterator

import numpy as np

from benchmarks import files

Shapes = dict[str, tuple[int, ...]]

MODELS = ("resnet50", "alexnet", "small_variables", "embedding")
VECTORS = ("bias", "gamma", "beta")  # the names of biases and normalization parameters
_NETWORKS = pathlib.Path(__file__).with_name("networks.csv")
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


def network(name: str) -> Shapes:
    """A network of the CSV file."""
    rows = [row for row in files.csv_lines(_NETWORKS) if row["network"] == name]
    return {row["variable"]: tuple(map(int, row["shape"].split("x"))) for row in rows}


def small_variables(count: int = 1000) -> Shapes:
    """Many small variables, alternating kernels and biases, with 20 distinct shapes."""
    shapes: Shapes = {}
    for layer in range(math.ceil(count / 2)):
        kind = layer % 10
        shapes[f"layer{layer}/kernel"] = (3, 3, 8 + 4 * kind, 16)
        shapes[f"layer{layer}/bias"] = (16 + 4 * kind,)
    return dict(itertools.islice(shapes.items(), count))


def model(name: str, quick: bool = False) -> Shapes:
    """The variables of a model, or with `quick` tiny versions of the first three."""
    shapes = small_variables() if name == "small_variables" else network(name)
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
