"""Checks of what XLA makes of an update on JAX, for `backend_script.py` to run."""

import itertools
import math
from unittest import mock

import keras
import numpy as np

import keras_lars
from benchmarks.speed import h100
from keras_lars._update_rule import MOMENTUM_FORMS
from support.backend_update_checks import check_derivatives
from support.helpers import make_variables, to_tensors

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


def check_variables_together_are_updated_as_one_by_one():
    """What accelerators compute, which CPUs can as well."""
    if keras.backend.backend() != "jax":
        return
    import jax

    from keras_lars._backends import jax_update

    random = np.random.default_rng(0)
    shapes = {f"{i}{kind}": (3, 5) for i in range(20) for kind in ("", "unadapted", "undecayed")}
    shapes |= {"alone": (2, 3, 4), "scalar": (), "vector": (7,), "zero": (7,)}
    weights, *rows = (
        {path: random.normal(size=shape) for path, shape in shapes.items()} for _ in range(3)
    )
    weights["zero"] *= 0
    rows[0]["vector"] *= 0
    rows[1]["3"][1, 2] = np.inf
    rows[1]["5unadapted"][0, 0] = np.nan
    rules = {
        "exclude_from_layer_adaptation": "unadapted",
        "exclude_from_weight_decay": "undecayed",
        "unadapted_learning_rate_multiplier": 0.6,
    }
    switches = itertools.product(MOMENTUM_FORMS, (0.0, 0.9), *[(False, True)] * 3)
    dtypes = itertools.cycle(["float32", "float16", "bfloat16"])
    for (form, momentum, nesterov, trust_clip, record), dtype in zip(switches, dtypes):
        ends = []
        for is_together in (True, False):
            variables = make_variables(weights, dtype)
            lars = keras_lars.LARS(
                0.3,
                momentum,
                0.07,
                0.3,
                momentum_form=form,
                decay_in_norm=form == "ratio_of_update",
                nesterov=nesterov,
                trust_clip=trust_clip,
                record_trust_ratios=record,
                **rules,
            )
            lars.build(variables)
            state, values = ([v.value for v in each] for each in (lars.variables, variables))
            with mock.patch.object(jax_update, "together", return_value=is_together):
                update = jax.jit(lars.stateless_apply)
                for row in rows:
                    gradients = to_tensors(row.values(), variables)
                    values, state = update(state, gradients, values)
            ends.append([np.asarray(each, "float32") for each in (*values, *state)])
        told = f"{form}, {momentum}, {nesterov}, {trust_clip}, {record}, {dtype}"
        tolerance = 1e-6 if dtype == "float32" else 1e-2
        for one, other in zip(*ends, strict=True):
            np.testing.assert_allclose(one, other, tolerance, tolerance, err_msg=told)
        assert np.isnan(ends[0][list(shapes).index("3")]).all(), told
        assert np.isnan(ends[0][list(shapes).index("5unadapted")]).all(), told


def check_derivatives_of_variables_together():
    if keras.backend.backend() != "jax":
        return
    from keras_lars._backends import jax_update

    with mock.patch.object(jax_update, "together", return_value=True):
        check_derivatives()
