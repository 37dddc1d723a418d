"""Checks of `keras.distribution` on JAX, in a separate process with four virtual CPU devices.

`test_jax_distribution.py` starts it as `test_backends.py` starts `backend_script.py`. It writes the
same JSON: "ok" or the traceback for each check. Models are trained with `fit`, which tells XLA how
to lay out everything that a step returns.
"""

import functools
import re
import sys
from unittest import mock

import keras
import numpy as np

import keras_lars
from support import models
from support.helpers import report_checks
from support.models import assert_equal, numbers

DEVICES = 4
STEPS = 21  # odd, so that accumulators of two micro-batches end with one in them
TOLERANCE = 1e-6

AVERAGE = {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 3}
OPTIONS = {
    "plain": {},
    "clipnorm": {"clipnorm": 0.25},
    "global_clipnorm": {"global_clipnorm": 0.25, **AVERAGE},
    "accumulation": {"gradient_accumulation_steps": 2},
}
# Kernels are sharded along either axis. Variables not named here are whole on every device.
LAYOUTS = {".*/a/kernel": (None, "model"), ".*/a/bias": ("model",), ".*/b/kernel": ("model", None)}


def data_parallel(devices=DEVICES):
    return keras.distribution.DataParallel(devices=keras.distribution.list_devices("cpu")[:devices])


def model_parallel(replicas=2):
    """Each replica sees its share of the batch, and is spread over its share of the devices."""
    devices = keras.distribution.list_devices("cpu")
    mesh = keras.distribution.DeviceMesh(
        (replicas, DEVICES // replicas), ("batch", "model"), devices
    )
    layouts = keras.distribution.LayoutMap(mesh)
    for path, axes in LAYOUTS.items():
        layouts[path] = axes
    return keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")


def make_optimizer(**options):
    """Biases are not adapted, since clipping hardly affects adapted variables."""
    schedule = keras.optimizers.schedules.PolynomialDecay(0.002, STEPS)
    options = {
        "weight_decay": 0.05,
        "trust_coefficient": 5.0,
        "exclude_from_layer_adaptation": keras_lars.rank_at_most(1),
        "record_trust_ratios": True,
        **options,
    }
    return keras_lars.LARS(schedule, **options)


def make_model(optimizer, seed=0):
    return models.compiled(models.sequential, optimizer, seed, jit_compile=True)


def batch(step):
    """Targets are far off, so that no sum over a batch cancels: devices add in another order."""
    x, y = models.batch(step)
    return x / 2, y + 10


def fit(model, first=0, last=STEPS, infinite_row=None):
    """Steps `first` to `last - 1`, each on the batch of its own number."""
    x, y = (np.concatenate(rows) for rows in zip(*map(batch, range(first, last)), strict=True))
    if infinite_row is not None:
        x[infinite_row] = np.inf
    model.fit(x, y, batch_size=len(x) // (last - first), shuffle=False, verbose=0)
    return model


def fit_on(distribution, **options):
    with distribution.scope():
        return fit(make_model(make_optimizer(**options)))


@functools.cache
def on_one_device(name):
    return fit(make_model(make_optimizer(**OPTIONS[name])))


def state_of(model):
    """The weights, then the optimizer's state: slots, counters and records."""
    return numbers([*model.trainable_variables, *model.optimizer.variables])


def difference(actual, expected):
    """The largest difference, relative to the largest element."""
    largest = np.max(np.abs(expected), initial=np.finfo("float32").tiny)
    return np.max(np.abs(actual - expected)) / largest


def assert_same(actual, expected):
    for left, right in zip(actual, expected, strict=True):
        assert difference(left, right) <= TOLERANCE, (left, right)


def assert_same_training(model, expected):
    assert_same(state_of(model), state_of(expected))
    rows = [list(m.optimizer.trust_ratios.values()) for m in (model, expected)]
    np.testing.assert_allclose(*rows, rtol=TOLERANCE)


def assert_laid_out(model):
    """The variables that `LAYOUTS` names are sharded, and each slot like its variable."""
    variables = model.trainable_variables
    cut = [v for v in variables if any(re.fullmatch(path, v.path) for path in LAYOUTS)]
    assert len(cut) == len(LAYOUTS)
    for variable in cut:
        for shard in variable.value.addressable_shards:
            assert shard.data.size < variable.value.size, variable.path
    for slots in model.optimizer._slots:
        for variable, slot in zip(variables, slots, strict=True):
            if slot is not None:
                expected = variable.value.sharding
                assert slot.value.sharding.is_equivalent_to(expected, slot.ndim), slot.path


def check_data_parallel(devices, name):
    model = fit_on(data_parallel(devices), **OPTIONS[name])
    for variable in [*model.trainable_variables, *model.optimizer.variables]:
        assert len(variable.value.sharding.device_set) == devices, variable.path
    assert_same_training(model, on_one_device(name))


def check_model_parallel(replicas, name):
    model = fit_on(model_parallel(replicas), **OPTIONS[name])
    assert_laid_out(model)
    assert_same_training(model, on_one_device(name))


def check_options_matter():
    """Otherwise comparisons with these options would show no more than the plain one."""
    plain = on_one_device("plain").get_weights()
    for name in set(OPTIONS) - {"plain"}:
        for left, right in zip(on_one_device(name).get_weights(), plain, strict=True):
            assert difference(left, right) > 1000 * TOLERANCE, name


def check_whole_norms(replicas):
    """One step equals a step in NumPy, which gathers the arrays from all devices."""
    with model_parallel(replicas).scope():
        optimizer = make_optimizer(
            exclude_from_layer_adaptation=[],
            # With these two options, the first velocity is the gradient.
            momentum_form="ratio_outside",
            weight_decay=0.0,
            weight_norm_floor=0.0,
        )
        model = make_model(optimizer)
        weights = numbers(model.trainable_variables)
        fit(model, 0, 1)
    new_weights, gradients = numbers(model.trainable_variables), numbers(optimizer.momentums)
    rows = optimizer.trust_ratios.values()
    for w, g, new, row in zip(weights, gradients, new_weights, rows, strict=True):
        weight_norm, gradient_norm = (np.linalg.norm(x.astype("float64")) for x in (w, g))
        ratio = 5.0 * weight_norm / gradient_norm
        np.testing.assert_allclose(row, [weight_norm, gradient_norm, ratio], rtol=TOLERANCE)
        assert_same([new], [w - 0.002 * ratio * g])


def check_norms_gather_nothing():
    """Norms add the sums of the shards, for variables of one shape with different layouts."""
    import jax

    from keras_lars._backends import jax_update

    as_on_a_gpu = mock.patch.object(jax_update, "together", return_value=True)
    with model_parallel(1).scope(), as_on_a_gpu:
        variables = []
        for layer in ("a", "b", "c"):
            with keras.name_scope("model"), keras.name_scope(layer):
                variables.append(keras.Variable(np.ones((8, 8)), name="kernel"))
        optimizer = make_optimizer()
        optimizer.build(variables)
        weights, state = ([v.value for v in each] for each in (variables, optimizer.variables))
        update = jax.jit(lambda w, s, g: optimizer.stateless_apply(s, g, w))
        program = update.lower(weights, state, weights).compile().as_text()
    assert " all-reduce(" in program
    for collective in ("all-gather", "all-to-all", "collective-permute"):
        assert collective not in program


def check_loss_scale_optimizer():
    """After an infinity on one device, all devices skip the step."""
    with data_parallel().scope():
        optimizer = keras_lars.LossScaleOptimizer(make_optimizer(), initial_scale=8.0)
        model = fit(make_model(optimizer), 0, 10)
        kept = [*model.trainable_variables, *optimizer.inner_optimizer.variables]
        before = numbers(kept)
        fit(model, 10, 11, infinite_row=5)
        assert_equal(numbers(kept), before)
        assert float(optimizer.dynamic_scale) == 4.0
        fit(model, 10)
    # Scales are powers of two, which cancel exactly, so training is the same as without a scale.
    assert float(optimizer.dynamic_scale) == 4.0
    assert_same(numbers(kept), state_of(on_one_device("plain")))


@functools.cache
def interrupted():
    """A finished training, and the weights and optimizer state saved after 9 steps."""
    with data_parallel().scope():
        model = make_model(make_optimizer(**AVERAGE, **OPTIONS["accumulation"]))
        fit(model, 0, 9)
        weights, state = model.get_weights(), {}
        model.optimizer.save_own_variables(state)
        return fit(model, 9), weights, state


def check_restoring(distribution, built):
    """Restores into a model with other weights, whose optimizer is built or not yet built."""
    model, weights, state = interrupted()
    with globals()[distribution]().scope():
        other = make_model(make_optimizer(**AVERAGE, **OPTIONS["accumulation"]), seed=1)
        other.set_weights(weights)
        if built:
            other.optimizer.build(other.trainable_variables)
        other.optimizer.load_own_variables(state)
        fit(other, 9)
    assert_same(state_of(other), state_of(model))
    if distribution == "model_parallel":
        assert_laid_out(other)


def check_15_keras_fails_in_a_second_fit_with_averages():
    """Runs without a distribution, since the process may crash under one."""
    model = make_model(keras.optimizers.SGD(0.01, use_ema=True))
    fit(model, 0, 2)
    try:
        fit(model, 2, 4)
    except (TypeError, ValueError, RuntimeError):
        return
    raise AssertionError("Keras is repaired: `finalize_variable_values` may go")


def check_tensorflow_is_not_imported():
    """The last check: nothing above needs TensorFlow."""
    assert "tensorflow" not in sys.modules


def named(check, *arguments):
    return "-".join(map(str, [check.__name__, *arguments])), functools.partial(check, *arguments)


CHECKS = dict(
    [
        *(named(check_data_parallel, 4, name) for name in OPTIONS),
        named(check_data_parallel, 2, "plain"),
        *(named(check_model_parallel, 2, name) for name in OPTIONS),
        named(check_model_parallel, 1, "plain"),
        *(named(check_whole_norms, replicas) for replicas in (1, 2)),
        named(check_norms_gather_nothing),
        named(check_options_matter),
        named(check_loss_scale_optimizer),
        named(check_restoring, "data_parallel", True),
        named(check_restoring, "data_parallel", False),
        named(check_restoring, "model_parallel", False),
        named(check_15_keras_fails_in_a_second_fit_with_averages),
        named(check_tensorflow_is_not_imported),
    ]
)


def main():
    assert keras.backend.backend() == "jax"
    assert len(keras.distribution.list_devices("cpu")) == DEVICES
    report_checks(CHECKS, sys.argv[1])


if __name__ == "__main__":
    main()
