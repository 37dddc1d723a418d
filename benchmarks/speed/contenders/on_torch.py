"""Contenders on torch: Keras optimizers and torch optimizers, all of them eager."""

import importlib.util
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks.speed import variables
from benchmarks.speed.contenders import on_keras
from benchmarks.speed.contenders.on_keras import Model

MODULES = ("torch",)
ON_GPU = torch.cuda.is_available()


class Update(on_keras.Update):
    """Tensors, and an eager function that updates them with their gradients.

    If the function overwrites `grad`, it needs `gradients`, which are restored untimed.
    """

    def __init__(
        self, function: Callable[[], Any], weights: list, gradients: Sequence[torch.Tensor] = ()
    ):
        super().__init__(weights)
        self._function, self._gradients = function, gradients

    def prepare(self) -> None:
        for weight, gradient in zip(self._weights, self._gradients):
            weight.grad = gradient.clone()

    def step(self) -> None:
        self._function()
        if ON_GPU:
            torch.cuda.synchronize()


def keras(model: Model, optimizer: str, **arguments: Any) -> Update:
    own, built = on_keras.build(model, optimizer, **arguments)
    return Update(lambda: built.apply(model.gradients, own), [variable.value for variable in own])


def sgd(model: Model) -> Update:
    weights, hyper = _parameters(model), model.hyper
    optimizer = torch.optim.SGD(weights, hyper.learning_rate, hyper.momentum, fused=True)
    return Update(optimizer.step, weights)


def timm(model: Model, foreach: bool) -> Update:
    shapes, _, hyper = model
    weights = _parameters(model)
    groups = [
        {
            "params": [w for p, w in zip(shapes, weights) if variables.is_decayed(p) is decayed],
            "weight_decay": hyper.weight_decay if decayed else 0.0,
        }
        for decayed in (True, False)
    ]
    optimizer = _timm_lars()(
        [group for group in groups if group["params"]],
        hyper.learning_rate,
        hyper.momentum,
        trust_coeff=hyper.trust_coefficient,
        always_adapt=True,  # adapt variables without weight decay, like the others
        foreach=foreach,
    )
    return Update(optimizer.step, weights)


def lars(
    model: Model, package: str, overwrites_gradients: bool = False, **arguments: Any
) -> Update:
    """The class `LARS` of a package."""
    weights, hyper = _parameters(model), model.hyper
    optimizer = importlib.import_module(package).LARS(
        weights,
        lr=hyper.learning_rate,
        momentum=hyper.momentum,
        weight_decay=hyper.weight_decay,
        trust_coefficient=hyper.trust_coefficient,
        **arguments,
    )
    return Update(optimizer.step, weights, model.gradients if overwrites_gradients else ())


def _parameters(model: Model) -> list[torch.nn.Parameter]:
    weights = on_keras.tensors(variables.weights(model.shapes))
    parameters = [torch.nn.Parameter(weight) for weight in weights]
    for parameter, gradient in zip(parameters, model.gradients):
        parameter.grad = gradient
    return parameters


def _timm_lars() -> Any:
    """timm's LARS, without importing timm, which needs a torchvision that fits.

    Its folder of optimizers becomes a package of another name, for the module's relative imports.
    """
    package, timm = types.ModuleType("_timm_optimizers"), importlib.util.find_spec("timm")
    assert timm
    package.__path__ = [f"{folder}/optim" for folder in timm.submodule_search_locations or []]
    sys.modules[package.__name__] = package
    return importlib.import_module(f"{package.__name__}.lars").Lars


def adder(elements: int) -> Update:
    """Adds 1 to an array in place, which reads and writes it once."""
    array = torch.zeros(elements, device="cuda" if ON_GPU else "cpu")
    return Update(lambda: array.add_(1), [array])


def gpu_memory(reset_peak: bool = False) -> tuple[int, int] | None:
    """The bytes in use on a GPU, and their peak since the last reset; None on a CPU."""
    if not ON_GPU:
        return None
    if reset_peak:
        torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()
