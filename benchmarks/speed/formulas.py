"""What each contender should compute, in NumPy float64, from the formula that it documents.

`w` is a weight, `g` its gradient, `v` the velocity, `s` the second moment, `q` the trust ratio.
Implementations treat zero tensors differently, so no tensor here is zero.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.speed import variables
from benchmarks.speed.variables import Hyperparameters, Shapes

STEPS = 3  # all with the same gradient

Array = np.ndarray
# The weights after some steps, from the path of a variable, its weights and the gradient.
Formula = Callable[[str, Array, Array, Hyperparameters], Array]


@dataclasses.dataclass(frozen=True)
class Lars:
    """LARS. The attributes are the arguments of `keras_lars.LARS` in which implementations differ.

    The momentum coefficient is by default that of the hyperparameters. What is excluded is given by
    the names of variables.
    """

    momentum_form: str = "classic"
    nesterov: bool = False
    decay_in_norm: bool = False
    epsilon: float = 0.0
    trust_clip: bool = False
    momentum: float | None = None
    gradient_accumulation_steps: int = 1
    unadapted_learning_rate_multiplier: float = 1.0
    exclude_from_layer_adaptation: Sequence[str] = ()
    exclude_from_weight_decay: Sequence[str] = variables.VECTORS

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> "Lars":
        """The formula of `keras_lars.LARS` with some arguments. Others change no weight."""
        return cls(**{name: value for name, value in arguments.items() if name in LARS_FIELDS})

    def __call__(self, path: str, w: Array, g: Array, hyper: Hyperparameters) -> Array:
        name = path.rpartition("/")[2]
        decay = 0.0 if name in self.exclude_from_weight_decay else hyper.weight_decay
        momentum = hyper.momentum if self.momentum is None else self.momentum
        rate, v = hyper.learning_rate, np.zeros_like(w)
        for _ in range(STEPS // self.gradient_accumulation_steps):
            q = self.unadapted_learning_rate_multiplier
            if name not in self.exclude_from_layer_adaptation:
                q = self._ratio(w, g, v, decay, hyper)
            velocity_scale, step_scale = {
                "classic": (rate * q, 1.0),
                "learning_rate_outside": (q, rate),
                "ratio_outside": (1.0, rate * q),
                "ratio_of_update": (1.0, rate * q),
            }[self.momentum_form]
            u = velocity_scale * (g + decay * w)
            v = momentum * v + u
            w = w - step_scale * (momentum * v + u if self.nesterov else v)
        return w

    def _ratio(self, w: Array, g: Array, v: Array, decay: float, hyper: Hyperparameters) -> float:
        norm, u = np.linalg.norm, g + decay * w
        if self.momentum_form == "ratio_of_update":
            v = hyper.momentum * v + u
            denominator = norm(hyper.momentum * v + u if self.nesterov else v)
        elif self.decay_in_norm:
            denominator = norm(u)
        else:
            denominator = norm(g) + decay * norm(w)
        q = float(hyper.trust_coefficient * norm(w) / (denominator + self.epsilon))
        return min(q / hyper.learning_rate, 1.0) if self.trust_clip else q


LARS_FIELDS = [field.name for field in dataclasses.fields(Lars)]


def momentum(path: str, w: Array, g: Array, hyper: Hyperparameters) -> Array:
    """SGD with momentum. At a constant learning rate, all momentum forms are equal."""
    v = np.zeros_like(w)
    for _ in range(STEPS):
        v = hyper.momentum * v + hyper.learning_rate * g
        w = w - v
    return w


def lamb(path: str, w: Array, g: Array, hyper: Hyperparameters) -> Array:
    """Lamb as in Keras: bias-corrected moments, the ratio |w| / |update|, no weight decay."""
    beta_1, beta_2, epsilon = 0.9, 0.999, 1e-7  # Keras's defaults
    v, s = np.zeros_like(w), np.zeros_like(w)
    for step in range(1, STEPS + 1):
        v = beta_1 * v + (1 - beta_1) * g
        s = beta_2 * s + (1 - beta_2) * g**2
        update = v / (1 - beta_1**step) / (np.sqrt(s / (1 - beta_2**step)) + epsilon)
        w = w - hyper.lamb_learning_rate * np.linalg.norm(w) / np.linalg.norm(update) * update
    return w


def error(formula: Formula, shapes: Shapes, reached: list[Array], hyper: Hyperparameters) -> float:
    """The largest error of a variable that was reached, relative to the correct total step."""
    norm, errors = np.linalg.norm, []
    starts, gradients = variables.weights(shapes), variables.gradients(shapes, hyper)
    for path, start, gradient, end in zip(shapes, starts, gradients, reached, strict=True):
        w = start.astype(np.float64)
        expected = formula(path, w, gradient.astype(np.float64), hyper)
        errors.append(norm(end.astype(np.float64) - expected) / norm(expected - w))
    return float(np.max(errors))  # NaN if one is
