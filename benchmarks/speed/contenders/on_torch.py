"""Contenders on torch: Keras optimizers and torch optimizers, all of them eager."""

import importlib
import importlib.util
import pathlib
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.speed import contenders, variables
from benchmarks.speed.contenders import keras_optimizers
from benchmarks.speed.variables import Hyperparameters, Shapes

MODULES = ("torch",)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Update(contenders.Update):
    """Tensors, and an eager function that updates them with their gradients."""

    def __init__(self, function: Callable[[], None], weights: list[torch.Tensor]):
        self._function, self._weights = function, weights

    def step(self) -> None:
        self._function()
        synchronize()

    def weights(self) -> list[np.ndarray]:
        return [weight.detach().cpu().numpy().copy() for weight in self._weights]


class OverwritingUpdate(Update):
    """For an optimizer that overwrites `grad`. Gradients are restored untimed."""

    def __init__(self, function: Callable[[], None], weights: list, gradients: list):
        super().__init__(function, weights)
        self._gradients = gradients
        for weight in weights:
            weight.grad = torch.empty_like(weight)

    def prepare(self) -> None:
        for weight, gradient in zip(self._weights, self._gradients):
            weight.grad.copy_(gradient)


def synchronize() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def gradients(shapes: Shapes, hyper: Hyperparameters) -> list[torch.Tensor]:
    return [
        torch.tensor(variables.gradient(position, shape, hyper), device=DEVICE)
        for position, shape in enumerate(shapes.values())
    ]


def keras(
    shapes: Shapes, gradients: list, hyper: Hyperparameters, optimizer: str, **arguments: Any
) -> Update:
    own, built = keras_optimizers.build(shapes, hyper, optimizer, **arguments)
    return Update(lambda: built.apply(gradients, own), [variable.value for variable in own])


def sgd(shapes: Shapes, gradients: list, hyper: Hyperparameters) -> Update:
    weights = _parameters(shapes, gradients)
    optimizer = torch.optim.SGD(weights, hyper.learning_rate, hyper.momentum, fused=True)
    return Update(optimizer.step, weights)


def timm(shapes: Shapes, gradients: list, hyper: Hyperparameters, foreach: bool) -> Update:
    weights = _parameters(shapes, gradients)
    optimizer = _timm_lars().Lars(
        _groups(shapes, weights, hyper),
        hyper.learning_rate,
        hyper.momentum,
        trust_coeff=hyper.trust_coefficient,
        always_adapt=True,  # adapt variables without weight decay, like the others
        foreach=foreach,
    )
    return Update(optimizer.step, weights)


def pytorch_optimizer(shapes: Shapes, gradients: list, hyper: Hyperparameters) -> OverwritingUpdate:
    from pytorch_optimizer import LARS

    weights = _parameters(shapes, None)
    optimizer = LARS(
        weights,
        hyper.learning_rate,
        hyper.weight_decay,
        hyper.momentum,
        trust_coefficient=hyper.trust_coefficient,
        foreach=True,
    )
    return OverwritingUpdate(optimizer.step, weights, gradients)


def open_lars(shapes: Shapes, gradients: list, hyper: Hyperparameters) -> Update:
    import open_lars

    weights = _parameters(shapes, gradients)
    optimizer = open_lars.LARS(
        weights,
        lr=hyper.learning_rate,
        momentum=hyper.momentum,
        weight_decay=hyper.weight_decay,
        trust_coefficient=hyper.trust_coefficient,
    )
    return Update(optimizer.step, weights)


def _parameters(shapes: Shapes, gradients: list | None) -> list[torch.nn.Parameter]:
    parameters = [
        torch.nn.Parameter(torch.tensor(variables.weight(position, shape), device=DEVICE))
        for position, shape in enumerate(shapes.values())
    ]
    for parameter, gradient in zip(parameters, gradients or []):
        parameter.grad = gradient
    return parameters


def _groups(shapes: Shapes, weights: list, hyper: Hyperparameters) -> list[dict]:
    groups = [
        {"params": [w for p, w in zip(shapes, weights) if variables.is_decayed(p) is decayed]}
        | {"weight_decay": hyper.weight_decay if decayed else 0.0}
        for decayed in (True, False)
    ]
    return [group for group in groups if group["params"]]


def _timm_lars() -> types.ModuleType:
    """timm's LARS, without importing timm, which needs torchvision.

    Its folder of optimizers is registered as a package with another name. The module finds its
    relative imports there, and nothing else of timm is imported.
    """
    name = "_timm_optimizers"
    if name not in sys.modules:
        spec = importlib.util.find_spec("timm")
        assert spec
        assert spec.origin
        folder = pathlib.Path(spec.origin).parent / "optim"
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    return importlib.import_module(f"{name}.lars")


def adder(elements: int) -> Callable[[], None]:
    """Returns a function that adds 1 to an array in place, which reads and writes it once."""
    array = torch.zeros(elements, device=DEVICE)

    def run() -> None:
        array.add_(1)
        synchronize()

    return run


def gpu_memory(reset_peak: bool = False) -> tuple[int, int] | None:
    """The bytes in use on a GPU, and their peak since the last reset; None on a CPU."""
    if DEVICE == "cpu":
        return None
    if reset_peak:
        torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()
