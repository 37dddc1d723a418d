"""Optimizers of Keras and of this package, with the rates that all contenders share."""

from typing import Any

import keras

import keras_lars
from benchmarks.speed import settings
from benchmarks.speed.settings import Hyperparameters
from benchmarks.speed.variables import Shapes


def optimizer(name: str, hyper: Hyperparameters, **arguments: Any) -> keras.optimizers.Optimizer:
    if name == "SGD":
        return keras.optimizers.SGD(hyper.learning_rate, hyper.momentum, **arguments)
    if name == "Lamb":
        return keras.optimizers.Lamb(hyper.lamb_learning_rate, **arguments)
    return keras_lars.LARS(
        hyper.learning_rate,
        hyper.momentum,
        hyper.weight_decay,
        hyper.trust_coefficient,
        **arguments,
    )


def variables(shapes: Shapes) -> list[keras.Variable]:
    """Keras variables with the paths of a model: `LARS` tells biases by their names."""
    made = []
    for position, (path, shape) in enumerate(shapes.items()):
        layer, _, name = path.rpartition("/")
        with keras.name_scope(layer):
            made.append(keras.Variable(settings.weight(position, shape), name=name))
    return made
