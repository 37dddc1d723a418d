"""The formulas of implementations that were read but not run, in a few lines of NumPy each.

They were written from descriptions of that code, not from ours. Each function takes the weight,
gradient and velocity of a variable, the learning rate, the previous one, and the variable's name.
It returns the new weight and velocity.
"""

import numpy as np

MOMENTUM, DECAY = 0.9, 0.05
ETA = 1e-3


def norm(x):
    return np.sqrt(np.sum(x * x))


def is_excluded(name):
    return name.endswith(("bias", "gamma", "beta"))


def paper(w, g, v, rate, before, name):
    denominator = norm(g) + DECAY * norm(w)
    q = ETA * norm(w) / denominator if denominator else 0.0
    v = MOMENTUM * v + rate * q * (g + DECAY * w)
    return w - v, v


def apex(w, g, v, rate, before, name, *, clip=True, eta=0.02):
    """Where a norm is 0, it does not scale, decay or clip."""
    if norm(w) != 0 and norm(g) != 0:
        q = eta * norm(w) / (norm(g) + DECAY * norm(w) + 1e-8)
        g = (g + DECAY * w) * (min(q / rate, 1.0) if clip else q)
    v = MOMENTUM * v + g
    return w - rate * v, v


def apex_without_clip(*arguments):
    return apex(*arguments, clip=False)


def torchlars(w, g, v, rate, before, name):
    both = norm(w) > 0 and norm(g) > 0
    q = ETA * norm(w) / (norm(g) + DECAY * norm(w) + 1e-8) if both else 1.0
    v = MOMENTUM * v + q * (g + DECAY * w)
    return w - rate * v, v


def timm_always_adapted(w, g, v, rate, before, name):
    """With the factory's parameter groups: parameters of rank 1 are adapted, but not decayed."""
    decay = DECAY if w.ndim > 1 else 0.0
    both = norm(w) > 0 and norm(g) > 0
    q = ETA * norm(w) / (norm(g) + decay * norm(w) + 1e-8) if both else 1.0
    v = MOMENTUM * v + q * (g + decay * w)
    return w - rate * v, v


def flax(w, g, v, rate, before, name, *, epsilon=0.0):
    both = norm(w) > 0 and norm(g) > 0
    q = ETA * norm(w) / (norm(g) + DECAY * norm(w) + epsilon) if both else 1.0
    v = MOMENTUM * v + rate * q * (g + DECAY * w)
    return w - v, v


def paddle(w, g, v, rate, before, name):
    """With the biases in its `exclude_from_weight_decay`."""
    if name.endswith("bias"):
        v = MOMENTUM * v + rate * g
        return w - v, v
    return flax(w, g, v, rate, before, name)


def mlperf(w, g, v, rate, before, name, *, epsilon=0.0):
    """Excluded variables use plain momentum without decay."""
    if is_excluded(name):
        v = MOMENTUM * v + rate * g
        return w - v, v
    return flax(w, g, v, rate, before, name, epsilon=epsilon)


def mlperf_tensorflow_2(*arguments):
    return mlperf(*arguments, epsilon=1e-7)


def mxnet(w, g, v, rate, before, name):
    """The velocity contains the rate, so its momentum is corrected when the rate changes."""
    q, decay = 1.0, 0.0
    if not is_excluded(name):
        decay = DECAY
        if norm(w) > 0 and norm(g) > 0:
            q = ETA * norm(w) / (norm(g) + decay * norm(w))
    v = MOMENTUM * rate / before * v + rate * q * (g + decay * w)
    return w - v, v


def barlow_twins(w, g, v, rate, before, name, *, bias_rate=0.0048 / 0.2):
    """Two groups of parameters: those of rank 1 are neither decayed nor adapted."""
    if w.ndim == 1:
        rate = bias_rate * rate
    else:
        g = g + DECAY * w
        if norm(w) > 0 and norm(g) > 0:
            g = ETA * norm(w) / norm(g) * g
    v = MOMENTUM * v + g
    return w - rate * v, v


def vicreg(*arguments):
    return barlow_twins(*arguments, bias_rate=1.0)


def solo_learn(w, g, v, rate, before, name):
    """With `exclude_bias_n_norm=True`."""
    if w.ndim != 1:
        return apex(w, g, v, rate, before, name, clip=False, eta=ETA)
    v = MOMENTUM * v + g
    return w - rate * v, v


def simclr(w, g, v, rate, before, name):
    q = 1.0
    if not is_excluded(name):
        g = g + DECAY * w
        if norm(w) > 0 and norm(g) > 0:
            q = ETA * norm(w) / norm(g)
    v = MOMENTUM * v + rate * q * g
    return w - v, v


def simclr_popular(w, g, v, rate, before, name):
    q = 1.0
    g = g if is_excluded(name) else g + DECAY * w
    v = MOMENTUM * v + g
    if not is_excluded(name) and norm(w) > 0 and norm(v) > 0:
        q = ETA * norm(w) / norm(v)
    return w - rate * q * v, v


def tf_contrib(w, g, v, rate, before, name):
    """Without decay: see docs/migration.md for the rest."""
    q = ETA * norm(w) / norm(g) if norm(w) > 0 and norm(g) > 0 else 1.0
    v = MOMENTUM * v + g
    return w - rate * q * v, v


# For each peer that was only read: the formula, and the arguments that the comparison changes.
FORMULAS = {
    "the paper": (paper, {}),
    "apex LARC around SGD": (apex, {}),
    "apex LARC, clip=False": (apex_without_clip, {}),
    "timm lars, always_adapt=True": (timm_always_adapted, {}),
    "torchlars around SGD": (torchlars, {}),
    "MLPerf, TensorFlow 1": (mlperf, {}),
    "MLPerf, TensorFlow 2": (mlperf_tensorflow_2, {}),
    "SimCLR": (simclr, {}),
    "SimCLR, classic_momentum=False": (simclr_popular, {}),
    "Barlow Twins": (barlow_twins, {}),
    "VICReg, BYOL, MoCo v3": (vicreg, {}),
    "MAE, linear probe": (vicreg, {"weight_decay": DECAY}),
    "solo-learn": (solo_learn, {}),
    "flax.optim.LARS": (flax, {}),
    "MXNet LARS": (mxnet, {}),
    "PaddlePaddle": (
        paddle,
        {"exclude_from_layer_adaptation": "bias", "exclude_from_weight_decay": "bias"},
    ),
    "tf.contrib, before 2020": (tf_contrib, {"weight_decay": 0.0}),
}
