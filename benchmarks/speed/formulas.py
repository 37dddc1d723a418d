"""What each contender should compute, in NumPy float64, from the formula that it documents.

`w` is a weight, `g` its gradient, `v` the velocity, `s` the second moment, `q` the trust ratio.
Implementations treat zero tensors differently, so no tensor here is zero.
"""

import dataclasses

import numpy as np

from benchmarks.speed import variables
from benchmarks.speed.variables import Hyperparameters, Shapes

STEPS = 3  # all with the same gradient

Array = np.ndarray


@dataclasses.dataclass(frozen=True)
class Lars:
    """LARS, with the differences between its implementations.

    Attributes:
        form: The momentum form, as in `keras_lars.LARS`.
        nesterov: Whether to use Nesterov momentum.
        decay_in_norm: Whether the denominator is |g + decay * w| and not |g| + decay * |w|.
        vectors: How to treat variables of rank 1: "adapted" like the others; or without layer
            adaptation, "plain" without weight decay and "decayed" with it.
        epsilon: Added to the denominator.
        trust_clip: Whether to divide the trust ratio by the learning rate and limit it to 1.
        momentum: Whether to use momentum.
        accumulated: Number of gradients whose mean makes an update.
        unadapted: Replaces the trust ratio of variables without layer adaptation.
    """

    form: str = "classic"
    nesterov: bool = False
    decay_in_norm: bool = False
    vectors: str = "adapted"
    epsilon: float = 0.0
    trust_clip: bool = False
    momentum: bool = True
    accumulated: int = 1
    unadapted: float = 1.0

    def weights(self, path: str, w: Array, g: Array, hyper: Hyperparameters) -> Array:
        if self.vectors == "adapted":
            adapted, decayed = True, variables.is_decayed(path)
        else:
            adapted = w.ndim > 1
            decayed = adapted or self.vectors == "decayed"
        decay = hyper.weight_decay if decayed else 0.0
        momentum = hyper.momentum if self.momentum else 0.0
        rate, v = hyper.learning_rate, np.zeros_like(w)
        for _ in range(STEPS // self.accumulated):
            q = self._ratio(w, g, v, decay, hyper) if adapted else self.unadapted
            velocity_scale, step_scale = {
                "classic": (rate * q, 1.0),
                "learning_rate_outside": (q, rate),
                "ratio_outside": (1.0, rate * q),
                "ratio_of_update": (1.0, rate * q),
            }[self.form]
            u = velocity_scale * (g + decay * w)
            v = momentum * v + u
            w = w - step_scale * (momentum * v + u if self.nesterov else v)
        return w

    def _ratio(self, w: Array, g: Array, v: Array, decay: float, hyper: Hyperparameters) -> float:
        norm, u = np.linalg.norm, g + decay * w
        if self.form == "ratio_of_update":
            v = hyper.momentum * v + u
            denominator = norm(hyper.momentum * v + u if self.nesterov else v)
        elif self.decay_in_norm:
            denominator = norm(u)
        else:
            denominator = norm(g) + decay * norm(w)
        q = float(hyper.trust_coefficient * norm(w) / (denominator + self.epsilon))
        return min(q / hyper.learning_rate, 1.0) if self.trust_clip else q


class Momentum:
    """SGD with momentum. At a constant learning rate, all momentum forms are equal."""

    def weights(self, path: str, w: Array, g: Array, hyper: Hyperparameters) -> Array:
        v = np.zeros_like(w)
        for _ in range(STEPS):
            v = hyper.momentum * v + hyper.learning_rate * g
            w = w - v
        return w


class Lamb:
    """Lamb as in Keras: bias-corrected moments, the ratio |w| / |update|, no weight decay."""

    def weights(self, path: str, w: Array, g: Array, hyper: Hyperparameters) -> Array:
        beta_1, beta_2, epsilon = 0.9, 0.999, 1e-7  # Keras's defaults
        v, s = np.zeros_like(w), np.zeros_like(w)
        for step in range(1, STEPS + 1):
            v = beta_1 * v + (1 - beta_1) * g
            s = beta_2 * s + (1 - beta_2) * g**2
            update = v / (1 - beta_1**step) / (np.sqrt(s / (1 - beta_2**step)) + epsilon)
            w = w - hyper.lamb_learning_rate * np.linalg.norm(w) / np.linalg.norm(update) * update
        return w


Formula = Lars | Momentum | Lamb


def error(formula: Formula, shapes: Shapes, reached: list[Array], hyper: Hyperparameters) -> float:
    """The largest error of a variable that was reached, relative to the correct total step."""
    norm, errors = np.linalg.norm, []
    starts, gradients = variables.weights(shapes), variables.gradients(shapes, hyper)
    for path, start, gradient, end in zip(shapes, starts, gradients, reached, strict=True):
        w = start.astype(np.float64)
        expected = formula.weights(path, w, gradient.astype(np.float64), hyper)
        errors.append(norm(end.astype(np.float64) - expected) / norm(expected - w))
    return float(np.max(errors))  # NaN if one is
