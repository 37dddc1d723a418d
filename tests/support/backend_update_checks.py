"""Checks of gradients and of refused input; `backend_script.py` runs them on each backend."""

import functools
import itertools
import math
import warnings

import keras
import numpy as np

import keras_lars
from keras_lars._update_rule import (
    MOMENTUM_FORMS,
    VariableConfig,
    differentiable_norms,
    lars_update,
    plain_norms,
)
from keras_lars.schedules import for_fit
from support.helpers import at_least, make_variables, to_numpy, to_tensors


def raised(call):
    try:
        call()
    except ValueError as error:
        return str(error)
    raise AssertionError("nothing was raised")


def check_a_model_without_trainable_variables():
    """A rule that matches nothing raises no error, as on TensorFlow, which skips the optimizer."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="only")])
    model.layers[0].trainable = False
    before = model.get_weights()
    for wrap in (lambda optimizer: optimizer, keras_lars.LossScaleOptimizer):
        lars = keras_lars.LARS(exclude_from_weight_decay="kernel", use_ema=True)
        model.compile(wrap(lars), "mse")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            history = model.fit(np.ones((4, 3)), np.ones((4, 2)), epochs=2, verbose=0).history
        assert np.isfinite(history["loss"]).all()
        assert not lars.built
        assert int(lars.iterations) == 0
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def check_a_fit_without_epochs():
    """It builds the optimizer, and trains nothing, so there is nothing to warn of."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    for options in ({"gradient_accumulation_steps": 4}, {"weight_decay": 0.05}):
        model.compile(keras_lars.LARS(**options), "mse")
        for first in (2, 3):
            model.fit(np.ones((4, 3)), np.ones((4, 2)), initial_epoch=first, epochs=2, verbose=0)


def check_rules_for_names():
    """With a variable, they would never end on JAX, and be False on torch."""
    for rule in (lambda name: "bias" in name, lambda name: name in ("bias", "gamma")):
        optimizer = keras_lars.LARS(exclude_from_weight_decay=rule)
        (variable,) = make_variables({"kernel": np.ones((2, 3))})
        message = raised(lambda: optimizer.build([variable]))  # noqa: B023
        assert "must hold callables that take a variable, not its name" in message


def check_refused_variables_and_gradients():
    # torch itself does not train integers.
    integer = [("int32", 3)] if keras.backend.backend() == "jax" else []
    for dtype, value in [("complex64", 1 + 2j), *integer]:
        variable = keras.Variable(np.full(2, value), dtype=dtype, name="kernel")
        message = raised(lambda: keras_lars.LARS().build([variable]))  # noqa: B023
        assert f"'kernel' of {dtype}" in message
    (variable,) = make_variables({"kernel": np.full((2, 3), 1234.5)})
    lars = keras_lars.LARS()
    lars.build([variable])
    for gradient in (np.ones(3), np.ones((3, 2)), np.ones((2, 3)) * 1j):
        message = raised(lambda: lars.apply([gradient], [variable]))  # noqa: B023
        assert "'kernel'" in message
        assert "1234" not in message
    (stranger,) = make_variables({"stranger": [1234.5]})
    message = raised(lambda: lars.apply([np.ones(1)], [stranger]))
    assert "stranger" in message
    assert "1234" not in message
    if keras.backend.backend() == "jax":
        state = [v.value for v in lars.variables]
        assert "0 gradients" in raised(lambda: lars.stateless_apply(state, [], [variable.value]))


def two_layers():
    layers = [keras.layers.Dense(2, name=name) for name in ("first", "second")]
    return keras.Sequential([keras.Input((2,)), *layers])


def compile_and_fit(model, optimizer):
    model.compile(optimizer, "mse")
    model.fit(np.ones((4, 2)), np.ones((4, 2)), verbose=0)


def check_an_optimizer_of_other_variables():
    """It is refused: on JAX, its velocities would be used for variables of the same shapes."""
    for wrap in (lambda optimizer: optimizer, keras_lars.LossScaleOptimizer):
        optimizer = wrap(keras_lars.LARS())
        compile_and_fit(two_layers(), optimizer)
        message = raised(lambda: compile_and_fit(two_layers(), optimizer))  # noqa: B023
        assert "Unknown variable" in message, message
        assert "first/kernel" in message, message

    first, second = (model := two_layers()).layers
    optimizer = keras_lars.LARS()
    for first.trainable, second.trainable in [(True, False), (False, True)]:
        call = functools.partial(compile_and_fit, model, optimizer)
        message = call() if first.trainable else raised(call)
    assert "Unknown variable" in message, message

    optimizer = keras_lars.LARS()
    compile_and_fit(model := two_layers(), optimizer)
    model.layers[0].trainable = False
    if keras.backend.backend() == "jax":
        message = raised(lambda: compile_and_fit(model, optimizer))
        assert "freeze layers" in message, message
    else:
        compile_and_fit(model, optimizer)


def check_fault_22_of_keras():
    """Fails once Keras is fixed: SGD continues with the velocities of another model."""
    if keras.backend.backend() == "jax":
        optimizer = keras.optimizers.SGD(momentum=0.9)
        compile_and_fit(two_layers(), optimizer)
        compile_and_fit(two_layers(), optimizer)


class Failing(keras.Sequential):
    def train_step(self, *args):
        raise NotImplementedError("the error of a user's layer")


def error_of_a_failing_fit(optimizer):
    model = Failing([keras.Input((2,)), keras.layers.Dense(2)])
    model.compile(optimizer, "mse")
    try:
        model.fit(np.ones((4, 2)), np.ones((4, 2)), epochs=2, verbose=0)
    except (NotImplementedError, TypeError) as error:
        return str(error)
    raise AssertionError("nothing was raised")


def check_an_error_in_fit_is_not_hidden():
    """On JAX a `fit` that fails finalizes variables, which may have no values by then."""
    schedule = for_fit(samples=4, epochs=100, global_batch_size=4)
    for options in (
        {},
        {"gradient_accumulation_steps": 2},
        {"learning_rate": schedule},
        {"use_ema": True},
    ):
        for wrap in (lambda optimizer: optimizer, keras.optimizers.LossScaleOptimizer):
            message = error_of_a_failing_fit(wrap(keras_lars.LARS(**options)))
            assert message == "the error of a user's layer", (options, message)


def check_fault_23_of_keras():
    """Fails once Keras is fixed: with averages, another error replaces that of a step."""
    if keras.backend.backend() == "jax":
        message = error_of_a_failing_fit(keras.optimizers.SGD(use_ema=True))
        assert message == "'NoneType' object is not callable"


def sparse_gradients(dense):
    """The same gradient in this backend's sparse formats, with one element given twice."""
    rows, columns, values = [0, 2, 2], [1, 0, 0], [1.0, 0.5, 0.25]
    if keras.backend.backend() == "torch":
        import torch

        tensor = torch.sparse_coo_tensor([rows, columns], values, dense.shape)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the warning that this format is in beta
            return [tensor, tensor.coalesce(), tensor.to_sparse_csr()]
    from jax.experimental import sparse

    indices = np.stack([rows, columns], axis=1)
    return [sparse.BCOO((np.array(values, "float32"), indices), shape=dense.shape)]


def check_a_gradient_that_is_missing_in_one_micro_batch():
    ends = []
    for missing in (None, keras.ops.zeros(2)):
        variables = make_variables({"kept": np.ones(2), "at_times": np.ones(2)})
        lars = keras_lars.LARS(0.5, gradient_accumulation_steps=2)
        ones = keras.ops.ones(2)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Gradients do not exist")
            for gradient in (ones, missing):
                lars.apply([ones, gradient], variables)
        ends.append([to_numpy(each) for each in variables + lars.variables])
    for found, expected in zip(*ends, strict=True):
        np.testing.assert_array_equal(found, expected)


def check_sparse_gradients():
    dense = np.zeros((3, 2), "float32")
    dense[0, 1], dense[2, 0] = 1.0, 0.75
    options = {"global_clipnorm": 0.5, "gradient_accumulation_steps": 2, "loss_scale_factor": 2.0}
    for gradient in sparse_gradients(dense):
        ends = []
        for each in (gradient, keras.ops.convert_to_tensor(dense)):
            (variable,) = make_variables({"table": np.arange(1.0, 7.0).reshape(3, 2)})
            lars = keras_lars.LARS(**options)
            for _ in range(2):
                lars.apply([each], [variable])
            ends.append(to_numpy(variable))
        np.testing.assert_allclose(*ends, rtol=1e-6, err_msg=str(type(gradient)))
        assert (ends[0] != np.arange(1.0, 7.0).reshape(3, 2)).all()


def check_a_sparse_embedding():
    """An embedding of torch, trained through Keras's wrapper."""
    if keras.backend.backend() != "torch":
        return
    import torch

    @keras.saving.register_keras_serializable(package="keras_lars_tests")
    class Table(keras.Model):
        def __init__(self, sparse):
            super().__init__()
            torch.manual_seed(0)
            table = torch.nn.Embedding(6, 2, sparse=sparse)
            self.table = keras.layers.TorchModuleWrapper(table)

        def call(self, inputs):
            return self.table(inputs)

    tokens, targets = np.array([0, 0, 5, 1]), np.ones((4, 2), "float32")
    for wrap in (lambda optimizer: optimizer, keras_lars.LossScaleOptimizer):
        ends = []
        for sparse in (False, True):
            model = Table(sparse)
            model.compile(wrap(keras_lars.LARS(clipnorm=0.5)), "mse")
            model.fit(tokens, targets, epochs=3, verbose=0)
            ends.append(model.get_weights()[0])
            assert sparse == (model.trainable_variables[0].value.grad.layout != torch.strided)
        np.testing.assert_allclose(*ends, rtol=1e-6)


def check_a_compiled_step():
    """torch compiles a custom step as one graph, with the same results.

    Together, earlier versions of torch and Keras cannot trace Keras's own name scopes.
    """
    if keras.backend.backend() != "torch":
        return
    import torch

    if not (at_least(keras, "3.15") and at_least(torch, "2.11")):
        return

    random = np.random.default_rng(0)
    weights = {"kernel": random.normal(size=(150, 150)), "bias": random.normal(size=5)}
    gradients = [[random.normal(size=w.shape) for w in weights.values()] for _ in range(2)]
    ends = []
    for compiled in (False, True):
        variables = make_variables(weights)
        lars = keras_lars.LARS(0.5, trust_coefficient=0.1, record_trust_ratios=True, use_ema=True)
        lars.build(variables)

        def step(row, lars=lars):
            lars.apply(row)

        if compiled:
            step = torch.compile(step, backend="eager", fullgraph=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # torch warns of `functools.cache`
            for row in gradients:
                step(to_tensors(row, variables))
        ends.append([to_numpy(each) for each in variables + lars.variables])
    for eager, traced in zip(*ends, strict=True):
        np.testing.assert_allclose(traced, eager, rtol=1e-5, atol=1e-6)


def position(variable, lars):
    """The index in the optimizer's variables. `list.index` would need their truth values."""
    return next(i for i, each in enumerate(lars.variables) if each is variable)


def loss_of_update(dtype="float64", iterations=0, **options):
    """A loss of one variable's new weights and velocity, as a function of 13 numbers."""
    variable = keras.Variable(np.zeros((2, 2)), dtype=dtype, name="w")
    options = {"exclude_from_weight_decay": [], **options}
    lars = keras_lars.LARS(0.3, weight_decay=0.05, trust_coefficient=0.2, **options)
    lars.build([variable])
    learning_rate, velocity = position(lars._learning_rate, lars), position(lars.momentums[0], lars)
    lars._iterations.assign(iterations)
    factors = np.random.default_rng(1).normal(size=(2, 2, 2)).astype(dtype)

    def loss(x):
        w, g, v = x[:12].reshape(3, 2, 2)
        state = [each.value for each in lars.variables]
        state[velocity], state[learning_rate] = v, x[12]
        (w,), state = lars.stateless_apply(state, [g], [w])
        return (factors[0] * w + factors[1] * state[velocity]).sum()

    return loss


def differentiable_options():
    for form, in_norm, clip in itertools.product(MOMENTUM_FORMS, (False, True), (False, True)):
        if in_norm or form != "ratio_of_update":
            yield {"momentum_form": form, "decay_in_norm": in_norm, "trust_clip": clip}
    yield {"nesterov": True}
    yield {"weight_norm_floor": 0.0}
    yield {"zero_weight_ratio": 1.0, "zero_gradient_ratio": None}
    yield {"exclude_from_layer_adaptation": "w"}
    yield {"record_trust_ratios": True, "use_ema": True}
    yield from ({kind: 0.5} for kind in ("clipnorm", "global_clipnorm", "clipvalue"))


def check_derivatives():
    """They match finite differences, and are finite where a norm is 0 and none exist."""
    if keras.backend.backend() != "jax":
        return
    import jax

    jax.config.update("jax_enable_x64", True)
    try:
        options = list(differentiable_options())
        losses = [loss_of_update(**each) for each in options]
        all_losses = jax.jit(lambda x: jax.numpy.stack([loss(x) for loss in losses]))
        jacobians = [jax.jit(mode(all_losses)) for mode in (jax.jacrev, jax.jacfwd)]

        x = np.append(np.random.default_rng(0).normal(size=12), 0.25)
        # The learning rate is stored in float32: its step is larger, but exact in that type.
        sizes = np.append(np.full(12, 1e-6), 2**-13)
        steps = zip(sizes, np.diag(sizes), strict=True)
        expected = [(all_losses(x + s) - all_losses(x - s)) / (2 * size) for size, s in steps]
        assert np.abs(expected).max(axis=1).min() > 0  # each number affects some loss
        for jacobian in jacobians:
            np.testing.assert_allclose(jacobian(x), np.transpose(expected), rtol=1e-6, atol=1e-7)

        w, g, v, rate = x[:4], x[4:8], x[8:12], x[12:]
        zero = np.zeros(4)
        at = [(zero, g, v), (w, zero, v), (w, g, zero), (w, -0.05 * w, zero), (zero,) * 3]
        for tensors, rates in itertools.product(at, (rate, 0 * rate)):
            for jacobian in jacobians:
                finite = np.isfinite(jacobian(np.concatenate([*tensors, rates]))).all(axis=1)
                assert finite.all(), [each for each, so in zip(options, finite) if not so]
    finally:
        jax.config.update("jax_enable_x64", False)


def check_derivatives_under_accumulation():
    """From empty accumulators, an update uses half the gradient. The step before it only adds."""
    if keras.backend.backend() != "jax":
        return
    import jax

    plain = loss_of_update("float32")
    halved = loss_of_update("float32", gradient_accumulation_steps=2, iterations=1)
    untouched = loss_of_update("float32", gradient_accumulation_steps=2, iterations=0)
    x = np.append(np.random.default_rng(0).normal(size=12), 0.25).astype("float32")
    half = np.ones(13, "float32")
    half[4:8] = 0.5
    for mode in (jax.jacrev, jax.jacfwd):
        expected = half * jax.jit(mode(plain))(half * x)
        np.testing.assert_allclose(jax.jit(mode(halved))(x), expected, rtol=1e-5)
        found = jax.jit(mode(untouched))(x)
        assert not found[4:8].any()
        assert not found[12].any()
        assert found[:4].all()


def check_squares_of_parts():
    """For each variable: the mean square of the parts, and the square of their mean.

    Recording them changes no bit of the training.
    """
    random = np.random.default_rng(3)
    weights = {"a": random.normal(size=(3, 4)), "b": random.normal(size=(3, 4)), "c": np.ones(5)}
    rows = [[random.normal(size=w.shape) for w in weights.values()] for _ in range(6)]
    ends = []
    for record in (False, True):
        variables = make_variables(weights)
        lars = keras_lars.LARS(gradient_accumulation_steps=3, record_noise_scale=record)
        for row in rows:
            lars.apply(to_tensors(row, variables), variables)
        ends.append([to_numpy(v) for v in [*variables, *lars.momentums]])
    for left, right in zip(*ends, strict=True):
        np.testing.assert_array_equal(left, right)
    found = lars._recorded_squares()
    for i, name in enumerate(weights):
        parts = np.array([row[i] for row in rows[3:]])
        expected = np.sum(parts**2) / 3, np.sum(parts.mean(0) ** 2)
        np.testing.assert_allclose(found[name], expected, rtol=1e-5)
    alone = keras_lars.LARS(record_noise_scale=True)
    message = raised(lambda: alone.apply(to_tensors(rows[0], variables), variables))
    assert "`gradient_accumulation_steps`" in message, message


def check_fault_17_of_keras():
    """Fails once Keras is fixed: global clipping of zero gradients has NaN derivatives."""
    if keras.backend.backend() != "jax":
        return
    import jax

    sgd = keras.optimizers.SGD(global_clipnorm=1.0)
    clipped = jax.jacrev(lambda g: sgd._clip_gradients([g])[0])
    assert np.isnan(clipped(jax.numpy.zeros(2))).any()
    np.testing.assert_array_equal(clipped(jax.numpy.array([0.25, 0.0])), np.eye(2))


def check_derivative_by_the_learning_rate():
    """It has a closed form: from w = 0 the step is rate * coefficient * floor along g."""
    if keras.backend.backend() != "jax":
        return
    import jax

    variable = keras.Variable([0.0, 0.0], name="w")
    lars = keras_lars.LARS(1.0, momentum=0, trust_coefficient=0.1, weight_norm_floor=0.5)
    lars.build([variable])
    learning_rate = position(lars._learning_rate, lars)

    def new_sum(rate):
        state = [each.value for each in lars.variables]
        state[learning_rate] = rate
        (w,), _ = lars.stateless_apply(state, [jax.numpy.array([3.0, 4.0])], [variable.value])
        return w.sum()

    found = jax.grad(new_sum)(jax.numpy.array(2.0))
    np.testing.assert_allclose(found, -0.1 * 0.5 * 2**0.5 * (3 + 4) / 5, rtol=1e-6)


def check_differentiable_norms_change_no_bits():
    if keras.backend.backend() != "jax":
        return
    import jax

    config = keras_lars.LARS()._update_config()
    random = np.random.default_rng(0)
    for shape, scale in itertools.product([(301, 403), ()], (0.0, 1.0)):
        w, g, v = (np.float32(scale * random.normal(size=shape)) for _ in range(3))
        ends = [
            jax.jit(lars_update, static_argnums=(4, 5, 6))(
                w, g, v, 0.3, variable_config, config, norms
            )
            for variable_config in (VariableConfig(True, 0.1, 0.5), VariableConfig(False, 0.1, 0.5))
            for norms in (plain_norms, differentiable_norms)
        ]
        for plain, other in (ends[:2], ends[2:]):
            for a, b in zip(plain[:2], other[:2], strict=True):
                assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def load_model_from_hdf5(model):
    """What Keras's function of this name does last. Itself, it would import TensorFlow."""
    model.optimizer.build([])


def check_a_model_from_an_h5_file_with_the_loss_scaling_of_keras():
    """On JAX it cannot train before another `compile`, as the warning says (fault 16)."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    x, y = np.ones((4, 3)), np.ones((4, 2))
    model.compile(keras.optimizers.LossScaleOptimizer(keras_lars.LARS()), "mse")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_model_from_hdf5(model)
    (message,) = (str(each.message) for each in caught if "was not loaded" in str(each.message))
    is_jax = keras.backend.backend() == "jax"
    assert message.endswith("with a new wrapper before you train it.") == is_jax, message
    if is_jax and at_least(keras, "3.12"):
        assert "0 gradients for 2 variables" in raised(lambda: model.train_on_batch(x, y))
    before = model.get_weights()
    model.compile(keras.optimizers.LossScaleOptimizer(model.optimizer.inner_optimizer), "mse")
    model.train_on_batch(x, y)
    assert np.any(before[0] != model.get_weights()[0])


def check_a_single_variable():
    """On JAX, a list of it would never end."""
    variable, gradients = keras.Variable([1.0, 2.0], name="w"), keras.ops.ones(2)
    message = raised(lambda: keras_lars.LARS().apply(gradients, variable))
    assert message.startswith("`trainable_variables` must be a list of Keras variables. Received: ")


def check_a_callable_whose_rate_is_compiled_into_the_step():
    """On JAX, also the value of a variable; torch calls it at each update."""
    rate = keras.Variable(4.0)
    for function in (lambda: 4.0, lambda: rate):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        model.compile(keras_lars.LARS(function), "mse")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(2):
                model.train_on_batch(np.ones((4, 3)), np.ones((4, 2)))
        found = [str(each.message) for each in caught if "is called once" in str(each.message)]
        assert len(found) == (keras.backend.backend() == "jax"), found


def check_rates_that_a_function_returns():
    class Constant(keras.optimizers.schedules.LearningRateSchedule):
        def __init__(self, value):
            self.value = value

        def __call__(self, step):
            return self.value

    for value in (None, -4.0, math.nan, keras.ops.ones(1), [4.0]):
        for rate in (lambda: value, Constant(value)):  # noqa: B023
            lars = keras_lars.LARS(rate)
            message = raised(lambda: lars.apply([keras.ops.ones(2)], [keras.Variable([1.0, 2.0])]))  # noqa: B023
            assert "which returns" in message, message
    negative = keras_lars.LARS(Constant(keras.ops.array(-4.0)))
    assert "returns array(-4." in raised(lambda: negative.build([keras.Variable([1.0, 2.0])]))
