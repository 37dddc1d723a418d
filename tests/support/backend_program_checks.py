"""Checks of the programs that XLA compiles for updates on JAX; `backend_script.py` runs them."""

import math
from unittest import mock

import keras
import numpy as np

import keras_lars
from benchmarks.speed import h100
from support.backend_update_checks import loss_of_update
from support.helpers import at_least, make_variables, to_tensors

SHAPES = [(128, 64), (64,), (32, 4, 16)] * 4
GRADIENTS = 4 * sum(map(math.prod, SHAPES))  # bytes


def compiled_update(**options):
    """The compiled update of some variables; weights and state are donated."""
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
    import jaxlib

    for options in (
        {},
        {"use_ema": True, "ema_overwrite_frequency": 5},
        {"record_trust_ratios": True, "global_clipnorm": 1.0, "momentum": 0},
        {"record_noise_scale": True},
    ):
        records = options.get("record_noise_scale", False)
        plain = compiled_update(**{**options, "record_noise_scale": False})
        compiled = compiled_update(gradient_accumulation_steps=3, **options)
        (update,), (accumulating, updating) = (
            h100.paths(h100.program(each.as_text())) for each in (plain, compiled)
        )
        assert accumulating["copies"] == 0, options
        assert updating["copies"] == update["copies"], options
        # Accumulators are read and written, and gradients are read: once, and again for norms, for
        # which jaxlib before 0.10.2 needs more passes.
        for_norms = 1.01 if at_least(jaxlib, "0.10.2") else 3.4
        most = (3.01 + for_norms * records) * GRADIENTS
        assert accumulating["bytes"] < most < updating["bytes"], options
        temporary = [each.memory_analysis().temp_size_in_bytes for each in (plain, compiled)]
        assert temporary[1] < temporary[0] + 1.01 * GRADIENTS, options


def check_growing_accumulation_costs_as_much_as_constant_accumulation():
    """Each step runs one of the two updates, or only accumulates."""
    if keras.backend.backend() != "jax":
        return
    (accumulating, updating), (growing, *updates) = (
        h100.paths(h100.program(compiled_update(gradient_accumulation_steps=steps).as_text()))
        for steps in (3, {0: 1, 9: 3})
    )
    assert len(updates) == 2
    for found, expected in ((growing, accumulating), *((each, updating) for each in updates)):
        assert found["copies"] == expected["copies"]
        assert found["bytes"] < 1.01 * expected["bytes"]


def check_an_update_copies_nothing():
    if keras.backend.backend() != "jax":
        return
    compiled = compiled_update()
    (update,) = h100.paths(h100.program(compiled.as_text()))
    assert update["copies"] == 0


def check_grouped_updates_equal_separate_updates():
    """Accelerators group variables; this check makes the CPU do so too."""
    if keras.backend.backend() != "jax":
        return
    import jax

    from keras_lars._backends import jax_update

    random = np.random.default_rng(0)
    shapes = {str(i): (3, 5) for i in range(5)}
    shapes |= {f"{i}unadapted": (3, 5) for i in range(2)}
    shapes |= {"undecayed": (3, 5), "alone": (), "zero": (7,), "zero_gradient": (7,)}
    weights, *rows = (
        {path: random.normal(size=shape) for path, shape in shapes.items()} for _ in range(3)
    )
    weights["zero"] *= 0
    rows[0]["zero_gradient"] *= 0
    rows[1]["3"][1, 2] = np.inf
    rows[1]["1unadapted"][0, 0] = np.nan
    rules = {
        "exclude_from_layer_adaptation": "unadapted",
        "exclude_from_weight_decay": "undecayed",
        "unadapted_learning_rate_multiplier": 0.6,
    }
    cases = [
        ("classic", 0.9, False, False, True, "float32"),
        ("learning_rate_outside", 0.0, False, True, False, "bfloat16"),
        ("ratio_outside", 0.9, True, True, True, "float32"),
        ("ratio_of_update", 0.9, False, False, False, "float32"),
    ]
    for form, momentum, nesterov, trust_clip, record, dtype in cases:
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
            with (
                mock.patch.object(jax_update, "together", return_value=is_together),
                mock.patch.object(jax_update, "_LARGEST_GROUP", 3),
            ):
                update = jax.jit(lars.stateless_apply)
                for row in rows:
                    gradients = to_tensors(row.values(), variables)
                    values, state = update(state, gradients, values)
            ends.append([np.asarray(each, "float32") for each in (*values, *state)])
        case = f"{form}, {momentum}, {nesterov}, {trust_clip}, {record}, {dtype}"
        tolerance = 1e-6 if dtype == "float32" else 1e-2
        for one, other in zip(*ends, strict=True):
            np.testing.assert_allclose(one, other, tolerance, tolerance, err_msg=case)
        assert np.isnan(ends[0][list(shapes).index("3")]).all(), case
        assert np.isnan(ends[0][list(shapes).index("1unadapted")]).all(), case


def check_derivatives_of_grouped_updates():
    if keras.backend.backend() != "jax":
        return
    import jax

    from keras_lars._backends import jax_update

    x = np.append(np.random.default_rng(0).normal(size=12), 0.25).astype("float32")
    for options in ({}, {"exclude_from_layer_adaptation": "w"}):
        loss = loss_of_update("float32", **options)
        expected = jax.jit(jax.jacrev(loss))(x)
        with mock.patch.object(jax_update, "together", return_value=True):
            for mode in (jax.jacrev, jax.jacfwd):
                found = jax.jit(mode(lambda x: loss(x)))(x)  # noqa: B023, traced again
                np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
            at_zero = jax.jit(jax.jacrev(lambda x: loss(x)))(0 * x)  # noqa: B023
            assert np.isfinite(at_zero).all()
