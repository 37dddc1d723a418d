"""Checks of what XLA makes of an update on JAX, for `backend_script.py` to run."""

import math

import keras
import numpy as np

import keras_lars
from benchmarks.speed import h100

SHAPES = [(128, 64), (64,), (32, 4, 16)] * 4
GRADIENTS = 4 * sum(map(math.prod, SHAPES))  # bytes


def compiled_update(**options):
    """The program of an update of some variables, all of which are given away."""
    import jax

    variables = [keras.Variable(np.ones(s), name=f"v{i}") for i, s in enumerate(SHAPES)]
    lars = keras_lars.LARS(exclude_from_layer_adaptation=keras_lars.rank_at_most(1), **options)
    lars.build(variables)
    weights, state = ([v.value for v in each] for each in (variables, lars.variables))
    update = jax.jit(lambda w, s, g: lars.stateless_apply(s, g, w), donate_argnums=(0, 1))
    return update.lower(weights, state, weights).compile()


def check_micro_batches_touch_only_the_accumulators():
    if keras.backend.backend() != "jax":
        return
    for options in (
        {},
        {"use_ema": True, "ema_overwrite_frequency": 5},
        {"record_trust_ratios": True, "global_clipnorm": 1.0, "momentum": 0},
    ):
        plain = compiled_update(**options)
        compiled = compiled_update(gradient_accumulation_steps=3, **options)
        accumulating, updating = h100.paths(h100.program(compiled.as_text()))
        assert accumulating["copies"] == updating["copies"] == 0, options
        # Accumulators and gradients are read, and accumulators written.
        assert accumulating["bytes"] < 3.01 * GRADIENTS < updating["bytes"], options
        temporary = [each.memory_analysis().temp_size_in_bytes for each in (plain, compiled)]
        assert temporary[1] < temporary[0] + 1.01 * GRADIENTS, options


def check_an_update_copies_nothing():
    if keras.backend.backend() != "jax":
        return
    compiled = compiled_update()
    (update,) = h100.paths(h100.program(compiled.as_text()))
    assert update["copies"] == 0
