"""What the contenders of all frameworks share, and optimizers of Keras and of this package."""

import timeit
from collections.abc import Iterable
from typing import Any, NamedTuple

import keras
import numpy as np

import keras_lars
from benchmarks.speed import variables
from benchmarks.speed.variables import Hyperparameters, Shapes


class Model(NamedTuple):
    """Variables to update, and the gradients, which contenders share."""

    shapes: Shapes
    gradients: list
    hyper: Hyperparameters


def model(shapes: Shapes, hyper: Hyperparameters) -> Model:
    return Model(shapes, tensors(variables.gradients(shapes, hyper)), hyper)


class Update:
    """A contender with its variables, ready for a step."""

    def __init__(self, weights: list):
        self._weights = weights

    def prepare(self) -> None:
        """Prepares a step, untimed. By default there is nothing to do."""

    def step(self) -> None:
        """Takes a step, and waits until it is done."""
        raise NotImplementedError

    def seconds(self) -> float:
        """Takes a step, and times it."""
        self.prepare()
        return timeit.timeit(self.step, number=1)

    def weights(self) -> list[np.ndarray]:
        return [keras.ops.convert_to_numpy(weight) for weight in self._weights]

    def launches(self) -> int | None:
        """The number of XLA clusters that a step launches; None if they are not counted."""
        return None


def tensors(arrays: Iterable[np.ndarray]) -> list:
    # Copied, because a tensor that borrows NumPy's memory may behave differently.
    return [keras.ops.copy(array) for array in arrays]


def keras_variables(shapes: Shapes) -> list[keras.Variable]:
    """Variables with the paths of a model, because `LARS` recognizes biases by name."""
    made = []
    for path, weight in zip(shapes, variables.weights(shapes)):
        layer, _, name = path.rpartition("/")
        with keras.name_scope(layer):
            made.append(keras.Variable(keras.ops.copy(weight), name=name))
    return made


def build(
    model: Model, name: str, **arguments: Any
) -> tuple[list[keras.Variable], keras.optimizers.Optimizer]:
    """The variables of a model, and an optimizer that is built for them."""
    own, hyper = keras_variables(model.shapes), model.hyper
    if name == "SGD":
        optimizer = keras.optimizers.SGD(hyper.learning_rate, hyper.momentum, **arguments)
    elif name == "Lamb":
        optimizer = keras.optimizers.Lamb(hyper.lamb_learning_rate, **arguments)
    else:
        optimizer = keras_lars.LARS(
            hyper.learning_rate,
            arguments.pop("momentum", hyper.momentum),
            hyper.weight_decay,
            hyper.trust_coefficient,
            **arguments,
        )
    optimizer.build(own)
    return own, optimizer
