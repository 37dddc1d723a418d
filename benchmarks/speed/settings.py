"""What all contenders are given: the same rates, and the same numbers in their variables."""

import dataclasses
import math

import numpy as np

_BLOCK = 2**20  # random numbers are drawn once, and repeated: drawing 1e8 of them takes seconds


@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    learning_rate: float
    momentum: float
    weight_decay: float  # of LARS; SGD and Lamb are timed without
    trust_coefficient: float
    lamb_learning_rate: float  # a step of Lamb is this share of the weight
    gradient_scale: float  # standard deviation of the gradients; weights have `WEIGHT_SCALE`


TIMED = Hyperparameters(
    learning_rate=0.1,
    momentum=0.9,
    weight_decay=5e-4,
    trust_coefficient=1e-3,
    lamb_learning_rate=1e-3,
    gradient_scale=1e-3,
)

# Large steps, and decay as large as the gradient: a mistake in any term shows in the weights.
CHECKED = Hyperparameters(
    learning_rate=10.0,
    momentum=0.9,
    weight_decay=0.01,
    trust_coefficient=1e-2,
    lamb_learning_rate=0.1,
    gradient_scale=1e-3,
)

WEIGHT_SCALE = 0.1


def weight(position: int, shape: tuple[int, ...]) -> np.ndarray:
    """The initial value of a variable: the same for each contender."""
    return _normal(2 * position, shape, WEIGHT_SCALE)


def gradient(position: int, shape: tuple[int, ...], hyper: Hyperparameters) -> np.ndarray:
    return _normal(2 * position + 1, shape, hyper.gradient_scale)


def _normal(seed: int, shape: tuple[int, ...], scale: float) -> np.ndarray:
    size = math.prod(shape)
    block = np.random.default_rng(seed).standard_normal(min(size, _BLOCK), np.float32)
    block *= np.float32(scale)
    return np.resize(block, shape) if size > _BLOCK else block.reshape(shape)


def is_decayed(path: str) -> bool:
    """Whether a variable is decayed: all but biases and normalization are."""
    return path.rpartition("/")[2] not in ("bias", "gamma", "beta")
