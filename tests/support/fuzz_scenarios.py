"""Hypothesis strategies for test_fuzz.py: variables, options and gradients of all kinds."""

import dataclasses

import ml_dtypes
import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

from keras_lars._update_rule import MOMENTUM_FORMS

DTYPES = ["float16", "bfloat16", "float32", "float64"]
SHAPES = [(), (1,), (7,), (3, 2), (0, 3), (2, 3, 4)]  # each shape is another compilation
# The decimal exponents of weights and gradients.
EXPONENTS = {
    "float16": (-4, 3),
    "bfloat16": (-30, 37),
    "float32": (-30, 37),
    "float64": (-130, 130),
}
RATES = [0.0, 0.01, 0.5, 4.0]


@dataclasses.dataclass
class Scenario:
    """The properties of the variables, the options, and the gradients of each update."""

    shapes: list
    dtypes: list
    weights: list
    adapted: list
    decayed: list
    options: dict
    rate: float
    updates: list  # of lists of micro-batches, which are lists of gradients


def finfo(dtype):
    return ml_dtypes.finfo(dtype)


def rounded(array, dtype):
    """The array rounded to the type, as float64; values out of its range become infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(array).astype(tf.as_dtype(dtype).as_numpy_dtype).astype("float64")


@st.composite
def arrays(draw, shape, dtype, exponent):
    """Zeros, or normally distributed numbers of a magnitude, some of which may be zero."""
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    kind = draw(st.sampled_from(["normal"] * 6 + ["zero", "with zeros"]))
    array = random.normal(size=shape) * 10.0**exponent
    if kind == "zero":
        array = np.zeros(shape)
    elif kind == "with zeros":
        array = array * (random.random(shape) < 0.5)
    return rounded(array, dtype)


@st.composite
def gradients(draw, shape, dtype, exponent):
    kind = draw(st.sampled_from(["dense"] * 8 + ["sparse", "sparse", "not finite"]))
    if kind == "sparse" and shape and shape[0]:
        rows = draw(st.lists(st.integers(0, shape[0] - 1), min_size=1, max_size=4))
        values = draw(arrays((len(rows), *shape[1:]), dtype, exponent))
        return values, rows
    gradient = draw(arrays(shape, dtype, exponent))
    if kind == "not finite" and gradient.size:
        place = draw(st.integers(0, gradient.size - 1))
        gradient.reshape(-1)[place] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    return gradient


OPTIONS = {
    "momentum": [0.0, 0.9, 0.9],
    "weight_decay": [0.0, 5e-4, 0.3],
    "trust_coefficient": [1e-3, 0.02, 1.0],
    "nesterov": [False, True],
    "momentum_form": list(MOMENTUM_FORMS),
    "decay_in_norm": [False, True],
    "epsilon": [0.0, 0.0, 1e-6, 0.1],
    "trust_clip": [False, False, True],
    "weight_norm_floor": [0.0, 0.2, 3.0],
    "zero_weight_ratio": [1.0, 0.0, 0.25, None],
    "zero_gradient_ratio": [1.0, 0.0, 0.25, None],
    "unadapted_learning_rate_multiplier": [1.0, 0.0, 0.5],
    "record_trust_ratios": [False, True],
    "loss_scale_factor": [None, None, 8.0],
    "gradient_accumulation_steps": [None, None, 2],
}
CLIPPING = [{}, {}, {}, {"clipnorm": 0.5}, {"global_clipnorm": 0.5}, {"clipvalue": 0.5}]
AVERAGES = [{}, {}, {"use_ema": True}, {"use_ema": True, "ema_overwrite_frequency": 2}]


@st.composite
def scenarios(draw, shapes, dtypes, largest):
    count = draw(st.integers(1, largest))
    options = {name: draw(st.sampled_from(values)) for name, values in OPTIONS.items()}
    # Without accumulation it would be refused, as there is only one part.
    options["record_noise_scale"] = options["gradient_accumulation_steps"] is not None
    if options["momentum_form"] == "ratio_of_update":
        options["decay_in_norm"] = True
    options |= draw(st.sampled_from(CLIPPING)) | draw(st.sampled_from(AVERAGES))
    some = [draw(st.sampled_from(shapes)) for _ in range(count)]
    types = [draw(st.sampled_from(dtypes)) for _ in range(count)]
    exponents = [draw(st.integers(*EXPONENTS[dtype])) for dtype in types]
    weights = [draw(arrays(*each)) for each in zip(some, types, exponents)]
    updates = []
    for _ in range(draw(st.integers(1, 3))):
        micro_batches = []
        missing = [draw(st.integers(0, 11)) == 0 for _ in some]  # in all micro-batches
        missing[0] &= not all(missing)
        for _ in range(options["gradient_accumulation_steps"] or 1):
            row = []
            for shape, dtype, exponent, absent in zip(some, types, exponents, missing):
                low, high = EXPONENTS[dtype]
                # Mostly near the weights' exponent: float32 cannot hold a ratio beyond 1e38.
                near = draw(st.sampled_from([-12, -6, -3, 0, 0, 3, 6, 12, 40, -40]))
                exponent = min(max(exponent + near, low), high)
                row.append(None if absent else draw(gradients(shape, dtype, exponent)))
            micro_batches.append(row)
        updates.append(micro_batches)
    return Scenario(
        some,
        types,
        weights,
        adapted=[draw(st.booleans()) or draw(st.booleans()) for _ in some],
        decayed=[draw(st.booleans()) or draw(st.booleans()) for _ in some],
        options=options,
        rate=draw(st.sampled_from(RATES)),
        updates=updates,
    )
