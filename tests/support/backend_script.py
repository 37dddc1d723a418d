"""Checks that run in a separate process, on a backend other than TensorFlow.

`KERAS_BACKEND=jax PYTHONPATH=tests python -m support.backend_script result.json` writes a JSON
object that maps each check to "ok" or the traceback. One process runs all checks of a backend,
since starting it takes longer than the checks.
"""

import itertools
import os
import pathlib
import sys
import tempfile
import unittest.mock
import warnings

import keras
import numpy as np
import pytest

import keras_lars
from keras_lars import _batch_statistics
from keras_lars._fit_checks import FitChecks
from keras_lars._update_rule import MOMENTUM_FORMS
from keras_lars.schedules import FitSchedule, WarmUp
from support.backend_page_checks import *  # noqa: F403
from support.backend_program_checks import *  # noqa: F403
from support.backend_range_checks import *  # noqa: F403
from support.backend_update_checks import *  # noqa: F403
from support.helpers import make_variables, one_step, report_checks, run_steps, to_numpy, to_tensors
from support.reference import ReferenceLARS

RATES = [0.125, 0.25, 0.5, 2.0, 0.0, 1.0, 0.75, 0.0625, 1.5, 0.5]
ARRAYS = {"a": (3, 2), "b": (3, 2), "c": (4,)}


def make_data(steps=10):
    random = np.random.default_rng(0)
    weights = {path: random.normal(size=shape) for path, shape in ARRAYS.items()}
    rows = [[random.normal(size=shape) for shape in ARRAYS.values()] for _ in range(steps)]
    return weights, rows


def make_model(optimizer):
    """A model with the same weights each time.

    `keras.utils.set_random_seed` would import TensorFlow.
    """
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3), keras.layers.Dense(1)])
    random = np.random.default_rng(1)
    model.set_weights([random.normal(size=v.shape) for v in model.weights])
    model.compile(optimizer, "mse")
    return model


def batch(size=12):
    x = np.random.default_rng(2).normal(size=(size, 3)).astype("float32")
    return x, x.sum(axis=-1, keepdims=True)


def same(left, right, **tolerance):
    for a, b in zip(left, right, strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), **(tolerance or {"rtol": 0}))


def check_ten_steps():
    compare_ten_steps("float32", 1e-5)


def check_ten_steps_in_float64():
    if keras.backend.backend() != "torch":
        return  # JAX has no float64 by default
    compare_ten_steps("float64", 1e-13)


def compare_ten_steps(dtype, tolerance):
    weights, rows = make_data()
    for form in MOMENTUM_FORMS:
        in_norm = {"decay_in_norm": form == "ratio_of_update"}
        variants = (in_norm, {"nesterov": True, "decay_in_norm": True})
        for variant in (*variants, {"trust_clip": True, **in_norm}):
            variables = make_variables(weights, dtype)
            optimizer = keras_lars.LARS(
                weight_decay=0.07,
                trust_coefficient=0.3,
                exclude_from_layer_adaptation="b",
                exclude_from_weight_decay="c",
                momentum_form=form,
                **variant,
            )
            tensors = [
                ReferenceLARS(
                    w, η=0.3, β=0.07 * (path != "c"), adapted=path != "b", form=form, **variant
                )
                for path, w in weights.items()
            ]
            steps = run_steps(optimizer, variables, rows, RATES)
            for row, rate, (w, v) in zip(rows, RATES, steps, strict=True):
                for i, (tensor, g) in enumerate(zip(tensors, row, strict=True)):
                    tensor.step(g, rate)
                    np.testing.assert_allclose(w[i], tensor.w, rtol=tolerance, atol=tolerance)
                    np.testing.assert_allclose(v[i], tensor.v, rtol=tolerance, atol=tolerance)


def check_fit():
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 100, power=2)
    model = make_model(keras_lars.LARS(schedule, trust_coefficient=0.05))
    history = model.fit(*batch(), batch_size=4, epochs=20, verbose=0).history["loss"]
    assert history[-1] < 0.1 * history[0], history


def check_stateless_apply():
    """JAX trains with `stateless_apply`, so it must work under jax.jit."""
    if keras.backend.backend() != "jax":
        return
    import jax

    weights, rows = make_data()
    variables = make_variables(weights)
    optimizer = keras_lars.LARS(0.5, exclude_from_weight_decay=[])
    optimizer.build(variables)
    tensors = [ReferenceLARS(w, β=5e-4) for w in weights.values()]
    step = jax.jit(optimizer.stateless_apply)
    state = [v.value for v in optimizer.variables], [v.value for v in variables]
    for row in rows:
        new_weights, new_state = step(state[0], to_tensors(row, variables), state[1])
        state = new_state, new_weights
        for tensor, g in zip(tensors, row, strict=True):
            tensor.step(g, 0.5)
    for variable, value, tensor in zip(variables, state[1], tensors, strict=True):
        np.testing.assert_allclose(np.asarray(value), tensor.w, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(to_numpy(variable), weights[variable.path], rtol=1e-6)
    # One compilation: neither the iteration nor the velocity is a constant in the trace.
    assert step._cache_size() == 1


def check_averages_overwrite_weights_only_when_due():
    """Non-finite values in an average do not reach the weights earlier."""
    for steps, of_updates in ((None, [1, 1, 1]), (2, [2, 2, 2]), ({0: 1, 1: 3}, [1, 3, 3])):
        (variable,) = make_variables({"kernel": np.ones((2, 2))})
        lars = keras_lars.LARS(
            0.1,
            use_ema=True,
            ema_momentum=0.5,
            ema_overwrite_frequency=3,
            gradient_accumulation_steps=steps,
        )
        lars.build([variable])
        (average,) = lars._slots.averages
        gradients = to_tensors([np.ones((2, 2))], [variable])
        for update, micro_batches in enumerate(of_updates, 1):
            for _ in range(micro_batches):
                assert np.isfinite(to_numpy(variable)).all(), (steps, update)
                lars.apply(gradients, [variable])
            if update == 1:
                average.assign(np.full((2, 2), np.nan))
        same([variable], [average])


def check_gradient_accumulation():
    """Three micro-batches equal one batch, and a schedule counts updates."""
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 4)
    whole = make_model(keras_lars.LARS(schedule, clipnorm=0.5))
    parts = make_model(keras_lars.LARS(schedule, clipnorm=0.5, gradient_accumulation_steps=3))
    start = [to_numpy(v) for v in whole.trainable_variables]
    whole.fit(*batch(), batch_size=12, epochs=3, shuffle=False, verbose=0)
    parts.fit(*batch(), batch_size=4, epochs=3, shuffle=False, verbose=0)
    same(parts.trainable_variables, whole.trainable_variables, rtol=1e-4, atol=1e-6)
    for a, b in zip(start, whole.trainable_variables, strict=True):
        assert not np.array_equal(a, to_numpy(b))


def check_growing_accumulation():
    """It equals, bit for bit, one fit per number of micro-batches, each continuing the last.

    On JAX, XLA compiles a program for each fit.
    """
    options = {"record_trust_ratios": True}  # the norms show what gradients were divided by
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 8, 0.0)
    table = {0: 1, 3: 3, 5: 2}
    data = [each[np.newaxis, :4] + np.arange(13)[:, None, None] for each in batch()]

    def fit(steps, first, last, before=None):
        model = make_model(keras_lars.LARS(schedule, gradient_accumulation_steps=steps, **options))
        lars = model.optimizer
        lars.build(model.trainable_variables)
        if before is not None:
            for kind in ("variables", "velocities"):
                slots, old = (getattr(each._slots, kind) for each in (lars, before))
                for new_slot, old_slot in zip(slots, old, strict=True):
                    new_slot.assign(to_numpy(old_slot))
            lars._micro_batches.assign(int(before.iterations) * (steps or 1))
        x, y = (each[first:last].reshape(-1, each.shape[-1]) for each in data)
        model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
        return lars

    growing = fit(table, 0, 13)
    phase = fit(2, 9, 13, fit(3, 3, 9, fit(None, 0, 3)))
    assert int(growing.iterations) == int(phase.iterations) == 7
    assert float(growing.learning_rate) == float(phase.learning_rate) == 0.125
    for kind in ("variables", "velocities", "accumulators"):
        same(getattr(growing._slots, kind), getattr(phase._slots, kind))
    ratios = ([*each.trust_ratios.values()] for each in (growing, phase))
    assert next(ratios) == next(ratios)


def check_assigned_micro_batches():
    """torch caches the number, since reading it means waiting. Loading assigns another one."""
    (variable,) = make_variables({"w": [3.0]})
    lars = keras_lars.LARS(1.0, gradient_accumulation_steps=3)
    lars.build([variable])
    for assigned, moves in ((None, False), (2, True), (None, False), (3, False), (5, True)):
        if assigned is not None:
            lars._micro_batches.assign(assigned)
        before = to_numpy(variable)
        lars.apply(to_tensors([[1.0]], [variable]), [variable])
        assert (to_numpy(variable) != before) == moves, assigned


def check_schedule_for_fit():
    """The schedule counts the updates of a real fit, and finds the model that is fitted."""
    asked = []
    stub = _batch_statistics.warn_if_stale
    _batch_statistics.warn_if_stale = lambda model, batches: asked.append((model, batches))
    try:
        for steps, size, batches, updates in ((None, 8, 6, 6), (2, 4, 9, 4)):
            schedule = FitSchedule(10, 3, 8, 1.0)
            model = make_model(keras_lars.LARS(schedule, gradient_accumulation_steps=steps))
            model.fit(*batch(10), batch_size=size, epochs=3, verbose=0)
            lars = model.optimizer
            assert int(lars.iterations) == lars._schedule.updates == updates
            assert float(lars.learning_rate) == 0
            assert lars._last_learning_rate() > 0
            assert asked.pop() == (model, batches)
            assert not asked
            for callbacks, message in (([], "After the end of its"), ([FitChecks()], "is used up")):
                lars.learning_rate = FitSchedule(10, 3, 8, 1.0)  # each gives one warning
                with pytest.warns(UserWarning, match=message) as caught:
                    model.fit(*batch(10), batch_size=size, verbose=0, callbacks=callbacks)
                assert sum("schedule" in str(each.message) for each in caught) == 1
            asked.clear()
    finally:
        _batch_statistics.warn_if_stale = stub


def check_warm_up():
    decay = keras.optimizers.schedules.PolynomialDecay(8.0, 4, end_learning_rate=0.0, power=2)
    schedule = WarmUp(decay, 2)
    if keras.backend.backend() == "jax":
        import jax

        schedule = jax.jit(schedule)
    steps = keras.ops.arange(7, dtype="int32")
    assert [float(schedule(step)) for step in steps] == [0.0, 4.0, 8.0, 4.5, 2.0, 0.5, 0.0]
    large = keras.ops.convert_to_tensor(2**24 + 2, dtype="int32")
    assert float(WarmUp(decay, 2**24 + 1)(large)) == 4.5


def check_absolute_rate():
    """A rate that a callback sets is compared with the initial rate and the current one."""
    for rates, warned in (([1e-3] * 3, 1), ([0.4, 0.04, 0.004], 0)):
        model = make_model(keras_lars.LARS(4.0))
        callback = keras.callbacks.LearningRateScheduler(lambda epoch, rates=rates: rates[epoch])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(*batch(), epochs=3, verbose=0, callbacks=[callback])
        assert sum("hundredth" in str(w.message) for w in caught) == warned
        assert float(model.optimizer.learning_rate) == np.float32(rates[-1])


def check_ema():
    """The average starts at the weights after the first step, then moves halfway to new weights."""
    weights, rows = make_data()
    variables = make_variables(weights)
    optimizer = keras_lars.LARS(0.5, trust_coefficient=0.1, use_ema=True, ema_momentum=0.5)
    averages = None
    for new_weights, _ in run_steps(optimizer, variables, rows):
        pairs = zip(averages or new_weights, new_weights, strict=True)
        averages = [0.5 * a + 0.5 * w for a, w in pairs]
    optimizer.finalize_variable_values(variables)
    for variable, average in zip(variables, averages, strict=True):
        np.testing.assert_allclose(to_numpy(variable), average, rtol=1e-5, atol=1e-6)


def check_norms():
    skewed = np.random.default_rng(0).exponential(size=10**6 + 3) ** 4
    normal = np.random.default_rng(1).normal(size=10**6)
    for values in (np.full(3 * 10**7, 0.1, "float32"), skewed, normal):
        values = values.astype("float32")
        norm = np.linalg.norm(values.astype("float64"))
        optimizer, _ = one_step(values, values, momentum=0, record_trust_ratios=True)
        record = optimizer.trust_ratios["w"]
        np.testing.assert_allclose(float(record.weight_norm), norm, rtol=1e-6)
        np.testing.assert_allclose(float(record.gradient_norm), norm, rtol=1e-6)


def check_norms_beyond_the_range_of_float32_squares():
    """Only on torch, whose norms on CPUs have this range."""
    if keras.backend.backend() != "torch":
        return
    for size, magnitude in itertools.product((100, 5003), (1e-30, 1e-22, 1e-12, 1e12, 1e22, 1e30)):
        weights = np.random.default_rng(0).normal(size=size) * magnitude
        weights = weights.astype("float32")
        optimizer, _ = one_step(weights, -weights, record_trust_ratios=True)
        record = optimizer.trust_ratios["w"]
        norm = np.linalg.norm(weights.astype("float64"))
        np.testing.assert_allclose(float(record.weight_norm), norm, rtol=1e-6)
        np.testing.assert_allclose(float(record.gradient_norm), norm, rtol=1e-6)


def check_norms_of_many_variables_of_one_shape():
    """torch adds up several of them in one call, and each keeps its own norm."""
    wide = keras.backend.backend() == "torch"
    magnitudes = (0.0, 1e-30, 1.0, 1e22) if wide else (0.0, 1e-9, 1.0, 1e9)
    random = np.random.default_rng(0)
    weights = {
        f"w{number}": np.asarray(random.normal(size=shape) * magnitude, "float32")
        for number, (shape, magnitude) in enumerate(
            itertools.product([(), (0,), (511,), (512,), (5, 101, 7), (40_000,)] * 3, magnitudes)
        )
    }
    variables = make_variables(weights, "float32")
    optimizer = keras_lars.LARS(record_trust_ratios=True, exclude_from_layer_adaptation=[])
    optimizer.apply(to_tensors([2 * w for w in weights.values()], variables), variables)
    for path, record in optimizer.trust_ratios.items():
        norm = np.linalg.norm(weights[path].astype("float64"))
        np.testing.assert_allclose(float(record.weight_norm), norm, rtol=1e-6, err_msg=path)
        np.testing.assert_allclose(float(record.gradient_norm), 2 * norm, rtol=1e-6, err_msg=path)


def check_magnitudes():
    """Norms and updates are exact from 1e-18 to 1e18, and on torch's CPUs from 1e-30 to 1e37."""
    wide = keras.backend.backend() == "torch"
    magnitudes = (1e-30, 1e-18, 1.0, 1e18, 1e37) if wide else (1e-18, 1e-9, 1.0, 1e9, 1e18)
    random = np.random.default_rng(0)
    for form, size, magnitude in itertools.product(MOMENTUM_FORMS, (7, 5003), magnitudes):
        if magnitude * size**0.5 > 1e38 or (magnitude * size**0.5 > 1e19 and not wide):
            continue  # the norm is infinite
        signs = random.choice([-1, 1], size=(2, size))
        w, g = (signs * random.uniform(0.5, 2, size=(2, size)) * magnitude).astype("float32")
        in_norm = form == "ratio_of_update"
        optimizer, new = one_step(
            w,
            g,
            0.5,
            trust_coefficient=0.25,
            momentum_form=form,
            decay_in_norm=in_norm,
            record_trust_ratios=True,
        )
        reference = ReferenceLARS(w, η=0.25, β=5e-4, form=form, decay_in_norm=in_norm)
        w, g = w.astype("float64"), g.astype("float64")
        norms = [np.linalg.norm(w), np.linalg.norm(g + 5e-4 * w if in_norm else g)]
        reference.step(g, 0.5)
        case = f"{form}, {size} numbers about {magnitude}"
        recorded = optimizer.trust_ratios["w"]
        np.testing.assert_allclose(recorded[:2], norms, rtol=1e-6, err_msg=case)
        tolerance = {"rtol": 1e-5, "atol": 1e-6 * magnitude}
        np.testing.assert_allclose(new, reference.w, **tolerance, err_msg=case)


def updates(optimizer, variables, gradients):
    """The weights and state after a stateless update, and after the same update in place."""
    state = [v.value for v in optimizer.variables], [v.value for v in variables]
    before = [to_numpy(value) for value in state[0] + state[1]]
    weights, slots = optimizer.stateless_apply(state[0], gradients, state[1])
    same(state[0] + state[1], before)  # the caller's arrays are unchanged
    optimizer.apply(gradients, variables)
    return weights + slots, variables + optimizer.variables


def check_update_in_place():
    """torch's update in place equals its stateless update, which calls `lars_update` itself."""
    if keras.backend.backend() != "torch":
        return
    import torch

    from keras_lars._backends import torch_fused, torch_update

    update = torch._fused_sgd_
    with (
        unittest.mock.patch.object(torch_update, "_ON_CPU", 64),
        unittest.mock.patch.object(torch, "_fused_sgd_", side_effect=update) as kernel,
    ):
        for more in ({}, {"huge_gradient": (9, 5)}, {"transposed": (20, 9)}):
            compare_updates_in_place(more)
        variables_of_a_call = {len(call.args[0]) for call in kernel.call_args_list}
        assert 1 in variables_of_a_call
        assert max(variables_of_a_call) > 1
        kernel.reset_mock()
        with unittest.mock.patch.object(torch_fused, "_EXISTS", False):  # as in old versions
            compare_updates_in_place({"huge_gradient": (9, 5), "transposed": (20, 9)})
        assert not kernel.called


def compare_updates_in_place(more_shapes):
    random = np.random.default_rng(0)
    shapes = {
        "plain": (50, 7),
        "unadapted": (11, 9),
        "undecayed": (31,),
        "neither_unadapted_undecayed": (3, 5),
        "zero_weight": (70,),
        "zero_gradient": (8,),
        "infinite": (10, 10),
        "nan_unadapted": (3,),
        "small": (4, 5),
        "as_small": (6,),
        **more_shapes,
    }
    weights = {path: random.normal(size=shape) for path, shape in shapes.items()}
    weights["zero_weight"][:] = 0
    switches = itertools.product(MOMENTUM_FORMS, (0.0, 0.9), *[(False, True)] * 4)
    # With 3 types and an even number of values per switch, each type meets every value.
    dtypes = itertools.cycle(["float32", "float64", "bfloat16"])
    for switch, dtype in zip(switches, dtypes):
        form, momentum, nesterov, decay_in_norm, trust_clip, record = switch
        if form == "ratio_of_update" and not decay_in_norm:
            continue
        variables = make_variables(weights, dtype)
        optimizer = keras_lars.LARS(
            0.3,
            momentum,
            0.07,
            0.3,
            momentum_form=form,
            nesterov=nesterov,
            decay_in_norm=decay_in_norm,
            trust_clip=trust_clip,
            record_trust_ratios=record,
            unadapted_learning_rate_multiplier=0.6,
            exclude_from_layer_adaptation="unadapted",
            exclude_from_weight_decay="undecayed",
        )
        optimizer.build(variables)
        places = [v.value.data_ptr() for v in variables + optimizer.momentums]
        for _ in range(2):
            row = {path: random.normal(size=shape) for path, shape in shapes.items()}
            row["zero_gradient"][:] = 0
            row["infinite"][3, 3] = np.inf
            row["nan_unadapted"][1] = np.nan
            if "huge_gradient" in row:
                row["huge_gradient"] *= 1e11
            gradients = to_tensors(row.values(), variables)
            if "transposed" in row:
                columns = np.ascontiguousarray(row["transposed"].T)
                gradients[-1] = to_tensors([columns], variables[-1:])[0].T
                assert not gradients[-1].is_contiguous()
            kept = [to_numpy(g) for g in gradients]
            pure, in_place = updates(optimizer, variables, gradients)
            same(gradients, kept)
            tolerance = {"float32": 2e-6, "float64": 1e-14, "bfloat16": 2e-2}[dtype]
            same(in_place, pure, rtol=tolerance, atol=tolerance)
            for v in variables[6:8]:
                assert np.isnan(to_numpy(v)).all()
            assert all(np.isfinite(to_numpy(v)).all() for v in variables[:6] + variables[8:])
        assert places == [v.value.data_ptr() for v in variables + optimizer.momentums]


def check_half_precision():
    for value in (30.0, 1e-4):
        ones = np.ones(10**5)
        _, w = one_step(
            ones, value * ones, dtype="float16", momentum=0, weight_decay=0, trust_coefficient=0.25
        )
        np.testing.assert_allclose(w, 0.75, rtol=1e-2)


def check_trust_ratios_after_fit():
    model = make_model(keras_lars.LARS(record_trust_ratios=True, momentum=0, weight_decay=0))
    model.fit(*batch(), batch_size=12, epochs=1, verbose=0)
    before = [np.linalg.norm(to_numpy(v)) for v in model.trainable_variables]
    model.fit(*batch(), batch_size=12, epochs=1, verbose=0)
    records = list(model.optimizer.trust_ratios.values())
    assert len(records) == len(before)
    for record, norm in zip(records, before, strict=True):
        np.testing.assert_allclose(float(record.weight_norm), norm, rtol=1e-5)
        expected = 1e-3 * norm / float(record.gradient_norm)
        np.testing.assert_allclose(float(record.trust_ratio), expected, rtol=1e-5)


def check_monitor():
    """On JAX, the model does not hold the state of the training until it is asked for it."""
    lars = keras_lars.LARS(record_trust_ratios=True, gradient_accumulation_steps=2)
    model = make_model(lars)
    with tempfile.TemporaryDirectory() as folder:
        monitor = keras_lars.callbacks.TrustRatioMonitor(folder, 2, verbose=False)
        model.fit(*batch(), batch_size=2, epochs=2, verbose=0, callbacks=[monitor])
        lines = pathlib.Path(folder, "trust_ratios.csv").read_text().splitlines()[1:]
    rows = [line.split(",") for line in lines]
    assert [row[0] for row in rows] == [str(update) for update in (1, 3, 5) for _ in range(4)]
    last = [[float(x) for x in row[3:6]] for row in rows[-4:]]
    assert int(lars.iterations) == 6  # so the last rows are not those of the last update
    assert len({tuple(row[3:]) for row in rows}) == 12
    assert np.isfinite(last).all()


def check_noise_scale_monitor():
    lars = keras_lars.LARS(record_noise_scale=True, gradient_accumulation_steps=2)
    model = make_model(lars)
    with tempfile.TemporaryDirectory() as folder:
        monitor = keras_lars.callbacks.NoiseScaleMonitor(folder, 1, verbose=False)
        model.fit(*batch(), batch_size=2, epochs=2, verbose=0, callbacks=[monitor])
        lines = pathlib.Path(folder, "noise_scale.csv").read_text().splitlines()[1:]
    rows = [line.split(",") for line in lines]
    assert [row[0] for row in rows] == [str(update) for update in range(1, 7) for _ in range(5)]
    assert rows[4][2] == "(all)"
    of_parts, of_mean = np.sum(list(lars._recorded_squares().values()), axis=0)
    expected = [2 * of_mean - of_parts, of_parts - of_mean]
    np.testing.assert_allclose([float(x) for x in rows[-1][3:5]], expected, rtol=1e-5)


def make_normalized(**options):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(3),
            keras.layers.BatchNormalization(momentum=0.5),
            keras.layers.Dropout(0.5, seed=1),
            keras.layers.Dense(1),
        ]
    )
    random = np.random.default_rng(1)
    for dense in (model.layers[1], model.layers[4]):
        dense.set_weights([random.normal(size=v.shape) for v in dense.weights])
    lars = keras_lars.LARS(0.5, trust_coefficient=0.1, momentum=0.9)
    model.compile(lars, "mse", metrics=["mae"], **options)
    return model


def check_recalibrated_statistics():
    """The statistics match a closed form, and training is the same as without the callback."""
    x, y = batch(20)
    for run_eagerly in (False, True):
        model, ends, logs = make_normalized(run_eagerly=run_eagerly), [], []
        model.optimizer.build(model.trainable_variables)
        variables = [*model.variables, *model.optimizer.variables]
        beginning = [to_numpy(v) for v in variables]
        for with_callback in (False, True):
            for variable, value in zip(variables, beginning, strict=True):
                variable.assign(value)
            options = {"batch_size": 8, "epochs": 3, "shuffle": False, "verbose": 0}
            if with_callback:
                recalibrate = keras_lars.callbacks.RecalibrateStatistics(x, batch_size=8)
                options |= {"callbacks": [recalibrate], "validation_data": (x, y)}
            history = model.fit(x, y, **options).history
            moving = [v for v in variables if "moving" in v.path]
            others = [v for v in variables if "moving" not in v.path]
            ends.append([to_numpy(v) for v in others])
            logs.append([history["loss"], history["mae"]])
        assert sum("seed" in v.path for v in others) == 1
        same(*ends)
        assert logs[0] == logs[1]
        assert [model.layers[0].momentum, model.layers[2].momentum] == [0.99, 0.5]
        gamma, beta, kernel, bias = (to_numpy(v) for v in model.trainable_variables[:4])
        rows = []
        for part in (x[:8], x[8:16], x[16:]):
            part = part.astype("float64")
            hidden = (part - part.mean(0)) / np.sqrt(part.var(0) + 1e-3) * gamma + beta
            hidden = hidden @ kernel + bias
            rows.append([part.mean(0), part.var(0), hidden.mean(0), hidden.var(0)])
        expected = [np.average(each, axis=0, weights=[8, 8, 4]) for each in zip(*rows)]
        same(moving, expected, rtol=1e-4, atol=1e-5)
        found = model.evaluate(x, y, batch_size=8, verbose=0, return_dict=True)
        np.testing.assert_allclose(found["loss"], history["val_loss"][-1], rtol=1e-5)


def check_non_finite():
    weights, (row,) = make_data(steps=1)
    row[0][1, 1] = np.inf
    for options in ({}, {"clipvalue": 0.1}, {"trust_clip": True}):
        variables = make_variables(weights)
        optimizer = keras_lars.LARS(**options)
        optimizer.apply(to_tensors(row, variables), variables)
        ruined = [np.isnan(to_numpy(v)) for v in variables + list(optimizer.momentums)]
        assert ruined[0].all() & ruined[3].all(), options
        assert not any(r.any() for r in ruined[1:3] + ruined[4:]), options


def check_nan_debuggers():
    """The debuggers of JAX and torch find a real NaN, and no false one in our update."""
    options = {"record_trust_ratios": True, "clipvalue": 1.0, "use_ema": True}
    variables = make_variables({"w": [[3.0, 4.0]], "zero": np.zeros(2), "excluded": np.ones(2)})
    optimizer = keras_lars.LARS(1.0, exclude_from_layer_adaptation="excluded", **options)
    finite = to_tensors([[[0.0, 0.5]], np.zeros(2), np.ones(2)], variables)
    infinite = [finite[0] / 0.0, *finite[1:]]
    if keras.backend.backend() == "jax":
        import jax

        with jax.debug_nans(True), jax.debug_infs(True):
            optimizer.apply(finite, variables)
            with pytest.raises(FloatingPointError):
                optimizer.apply(infinite, variables)
        return
    import torch

    with torch.autograd.set_detect_anomaly(True):
        model = make_model(keras_lars.LARS(1.0, **options))
        model.fit(*batch(), epochs=1, verbose=0)
        # The value of this loss is 0, and its derivative is 0 times infinity.
        model.compile(model.optimizer, lambda y, p: keras.ops.sum(keras.ops.sqrt(0.0 * p) * 0.0))
        with pytest.raises(RuntimeError, match="returned nan"):
            model.fit(*batch(), epochs=1, verbose=0)


def check_jit_compile_setting():
    """The argument is for TensorFlow: "auto" and False are accepted here and have no effect."""
    ends = [one_step([2.0], [1.0], jit_compile=value)[1] for value in ("auto", False)]
    np.testing.assert_array_equal(*ends)


def check_tensorflow_is_not_imported():
    """Runs before the check of saving, where Keras itself imports TensorFlow if it is installed."""
    assert "tensorflow" not in sys.modules


def check_save_and_load():
    sys.modules["tensorflow"] = None  # as if it were not installed
    model = make_model(keras_lars.LARS(0.5, momentum_form="ratio_outside", trust_clip=True))
    model.fit(*batch(), epochs=2, shuffle=False, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
    assert isinstance(loaded.optimizer, keras_lars.LARS)
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    same(loaded.optimizer.momentums, model.optimizer.momentums)
    assert any(to_numpy(m).any() for m in loaded.optimizer.momentums)
    for each in (model, loaded):
        each.fit(*batch(), epochs=2, shuffle=False, verbose=0)
    same(loaded.trainable_variables, model.trainable_variables)
    lars = keras_lars.LARS(FitSchedule(10, 3, 8, 1.0), gradient_accumulation_steps=2)
    again = keras_lars.LARS.from_config(lars.get_config())
    assert again._schedule.get_config() == lars._schedule.get_config()
    assert int(loaded.optimizer.iterations) == int(model.optimizer.iterations) == 4


CHECKS = [name for name in globals() if name.startswith("check_")]


def main():
    assert keras.backend.backend() == os.environ["KERAS_BACKEND"]
    report_checks({name: globals()[name] for name in CHECKS}, sys.argv[1])


if __name__ == "__main__":
    main()
