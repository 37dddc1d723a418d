"""What each contender should compute, in NumPy float64, from the formula that it documents.

`w` is a weight, `g` its gradient, `v` the velocity, `s` the second moment, `q` the trust ratio.
Implementations treat zero tensors differently, so no tensor here is zero.
"""

import dataclasses

import numpy as np

from benchmarks.speed.variables import Hyperparameters, is_decayed


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

    def weights(
        self, path: str, w: np.ndarray, g: np.ndarray, steps: int, hyper: Hyperparameters
    ) -> np.ndarray:
        adapted = w.ndim > 1 or self.vectors == "adapted"
        if self.vectors == "adapted":
            decay = hyper.weight_decay if is_decayed(path) else 0.0
        else:
            decay = hyper.weight_decay if w.ndim > 1 or self.vectors == "decayed" else 0.0
        momentum = hyper.momentum if self.momentum else 0.0
        v = np.zeros_like(w)
        for _ in range(steps // self.accumulated):
            q = self._ratio(w, g, v, decay, hyper) if adapted else self.unadapted
            velocity_scale, step_scale = {
                "classic": (hyper.learning_rate * q, 1.0),
                "learning_rate_outside": (q, hyper.learning_rate),
                "ratio_outside": (1.0, hyper.learning_rate * q),
                "ratio_of_update": (1.0, hyper.learning_rate * q),
            }[self.form]
            u = velocity_scale * (g + decay * w)
            v = momentum * v + u
            w = w - step_scale * (momentum * v + u if self.nesterov else v)
        return w

    def _ratio(
        self, w: np.ndarray, g: np.ndarray, v: np.ndarray, decay: float, hyper: Hyperparameters
    ) -> float:
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


@dataclasses.dataclass(frozen=True)
class Momentum:
    """SGD with momentum. At a constant learning rate, all momentum forms are equal."""

    def weights(
        self, path: str, w: np.ndarray, g: np.ndarray, steps: int, hyper: Hyperparameters
    ) -> np.ndarray:
        v = np.zeros_like(w)
        for _ in range(steps):
            v = hyper.momentum * v + hyper.learning_rate * g
            w = w - v
        return w


@dataclasses.dataclass(frozen=True)
class Lamb:
    """Lamb as in Keras: bias-corrected moments, the ratio |w| / |update|, no weight decay."""

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7

    def weights(
        self, path: str, w: np.ndarray, g: np.ndarray, steps: int, hyper: Hyperparameters
    ) -> np.ndarray:
        v, s = np.zeros_like(w), np.zeros_like(w)
        for step in range(1, steps + 1):
            v = self.beta_1 * v + (1 - self.beta_1) * g
            s = self.beta_2 * s + (1 - self.beta_2) * g**2
            mean, square = v / (1 - self.beta_1**step), s / (1 - self.beta_2**step)
            update = mean / (np.sqrt(square) + self.epsilon)
            w = w - hyper.lamb_learning_rate * np.linalg.norm(w) / np.linalg.norm(update) * update
        return w


Formula = Lars | Momentum | Lamb


def error(
    formula: Formula,
    variables: dict[str, tuple[np.ndarray, np.ndarray]],
    weights: list[np.ndarray],
    steps: int,
    hyper: Hyperparameters,
) -> float:
    """The largest error of a variable after some steps, relative to the correct total step.

    Args:
        formula: The correct update.
        variables: Initial weight and constant gradient by path.
        weights: The computed weights.
        steps: Number of steps.
        hyper: The hyperparameters.
    """
    norm, errors = np.linalg.norm, []
    for (path, (weight, gradient)), reached in zip(variables.items(), weights, strict=True):
        w = weight.astype(np.float64)
        expected = formula.weights(path, w, gradient.astype(np.float64), steps, hyper)
        errors.append(norm(reached.astype(np.float64) - expected) / norm(expected - w))
    return float(np.max(errors))  # NaN if one is
