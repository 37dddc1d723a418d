"""The input of every optimizer: tensors, gradients and learning rates for thirteen steps."""

import numpy as np

STEPS, WARMUP_STEPS = 13, 4
SHAPES = {
    "matrix": (3, 2),
    "twin": (3, 2),  # so that tests notice mixed-up slots
    "kernel": (2, 2, 2, 2),
    "vector": (4,),
    "scalar": (),
    "zero": (3, 2),  # starts at zero
}
WITHOUT_GRADIENT, LARGE = 5, 8  # steps


def weights() -> list[np.ndarray]:
    random = np.random.default_rng(1)
    arrays = {name: random.normal(size=shape) for name, shape in SHAPES.items()}
    arrays["zero"] *= 0
    return list(arrays.values())


def gradients() -> list[list[np.ndarray]]:
    """The gradients of each step: all 0 in one step, and a thousand times as large in another."""
    random = np.random.default_rng(2)
    rows = [[random.normal(size=shape) for shape in SHAPES.values()] for _ in range(STEPS)]
    rows[WITHOUT_GRADIENT] = [0 * g for g in rows[WITHOUT_GRADIENT]]
    rows[LARGE] = [1000 * g for g in rows[LARGE]]
    return rows


def learning_rates(peak: float) -> list[float]:
    """A linear ramp, then quadratic decay."""
    ramp = [peak * (step + 1) / WARMUP_STEPS for step in range(WARMUP_STEPS)]
    rest = STEPS - WARMUP_STEPS
    return ramp + [peak * (1 - step / rest) ** 2 for step in range(rest)]
