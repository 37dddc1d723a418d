"""Optimizers of Keras and of this package, with the hyperparameters that all contenders share."""

from typing import Any

import keras

import keras_lars
from benchmarks.speed import variables
from benchmarks.speed.variables import Hyperparameters, Shapes


def build(
    shapes: Shapes, hyper: Hyperparameters, name: str, **arguments: Any
) -> tuple[list[keras.Variable], keras.optimizers.Optimizer]:
    """The variables of a model, and a built optimizer for them."""
    own = keras_variables(shapes)
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


def keras_variables(shapes: Shapes) -> list[keras.Variable]:
    """Keras variables with the paths of a model, because `LARS` recognizes biases by name."""
    made = []
    for position, (path, shape) in enumerate(shapes.items()):
        layer, _, name = path.rpartition("/")
        with keras.name_scope(layer):
            made.append(keras.Variable(variables.weight(position, shape), name=name))
    return made
