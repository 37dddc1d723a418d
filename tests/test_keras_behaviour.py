"""Whatever a Keras optimizer does, LARS does, and does it right.

Unless a test says otherwise its numbers come from the NumPy reference, fed by hand with what Keras
is asked to do: the rate of that step, the clipped gradient, the average.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from models import (
    FEATURES,
    assert_close,
    assert_equal,
    batch,
    compiled,
    functional,
    make_variable,
    normal,
    numbers,
    sequential,
    subclassed,
    train,
)
from reference import ReferenceLARS

import keras_lars

RATE, MOMENTUM, DECAY, TRUST = 0.5, 0.75, 0.125, 0.25  # exact in every floating-point type
# Two kernels of one shape: a mixed-up slot must not go unnoticed.
SHAPES = {"a/kernel": (2, 3), "b/kernel": (2, 3), "b/bias": (3,), "c/temperature": ()}


def make_lars(learning_rate=RATE, **options):
    options = {
        "momentum": MOMENTUM,
        "weight_decay": DECAY,
        "trust_coefficient": TRUST,
        "exclude_from_weight_decay": [],
        "jit_compile": False,
        **options,
    }
    return keras_lars.LARS(learning_rate, **options)


def make_variables(dtype="float32", **attributes):
    return [
        make_variable(path, normal([3, i], shape), dtype, **attributes)
        for i, (path, shape) in enumerate(SHAPES.items())
    ]


def make_references():
    return [
        ReferenceLARS(normal([3, i], shape), η=TRUST, m=MOMENTUM, β=DECAY)
        for i, shape in enumerate(SHAPES.values())
    ]


def gradients_of(step):
    return [normal([4, step, i], shape) for i, shape in enumerate(SHAPES.values())]


def tensors(gradients):
    return [g if g is None or tf.is_tensor(g) else tf.constant(g) for g in gradients]


def assert_follows(variables, optimizer, references, tolerance=1e-6):
    assert_close(numbers(variables), [r.w for r in references], tolerance)
    assert_close(numbers(optimizer.momentums), [r.v for r in references], tolerance)


def steps_of(optimizer, variables, graph=False):
    """A function that takes one step with a list of arrays, eagerly or in a tf.function."""
    optimizer.build(variables)

    def apply(gradients):
        optimizer.apply(gradients, variables)

    run = tf.function(apply) if graph else apply
    return lambda gradients: run(tensors(gradients))


eagerly_and_in_a_graph = pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
jit_choices = pytest.mark.parametrize("jit_compile", ["auto", False])


# Learning rates ---------------------------------------------------------------------------------

SCHEDULES = {
    "polynomial": keras.optimizers.schedules.PolynomialDecay(0.5, 4, 0.125, power=2.0),
    "exponential": keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5),
    "warm-up": keras_lars.schedules.WarmUp(
        keras.optimizers.schedules.ExponentialDecay(0.5, 3, 0.5), warmup_steps=2
    ),
}


@eagerly_and_in_a_graph
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())
def test_schedules(schedule, graph):
    variables, references = make_variables(), make_references()
    optimizer = make_lars(schedule)
    step = steps_of(optimizer, variables, graph)
    rates = [float(schedule(i)) for i in range(5)]
    assert len(set(rates)) == 5
    for i, rate in enumerate(rates):
        assert float(optimizer.learning_rate) == pytest.approx(rate, rel=1e-6)
        step(gradients_of(i))
        for reference, gradient in zip(references, gradients_of(i), strict=True):
            reference.step(gradient, rate)
    assert_follows(variables, optimizer, references)
    assert int(optimizer.iterations) == 5


@eagerly_and_in_a_graph
def test_a_callable_is_asked_for_the_rate_at_every_step(graph):
    variables, references = make_variables(), make_references()
    rate = tf.Variable(0.0)
    optimizer = make_lars(lambda: rate)
    step = steps_of(optimizer, variables, graph)
    for i, value in enumerate([0.5, 0.125, 1.0]):
        rate.assign(value)
        step(gradients_of(i))
        for reference, gradient in zip(references, gradients_of(i), strict=True):
            reference.step(gradient, value)
    assert_follows(variables, optimizer, references)


@jit_choices
def test_an_assigned_rate_counts_at_once_and_without_retracing(jit_compile):
    variables, references = make_variables(), make_references()
    optimizer = make_lars(jit_compile=jit_compile)
    optimizer.build(variables)
    traced = []

    @tf.function
    def step(gradients):
        traced.append(None)
        optimizer.apply(gradients, variables)

    for i, rate in enumerate([0.5, 0.25, 2, 0.0]):
        optimizer.learning_rate = rate
        step(tensors(gradients_of(i)))
        for reference, gradient in zip(references, gradients_of(i), strict=True):
            reference.step(gradient, rate)
    assert_follows(variables, optimizer, references)
    assert len(traced) == 1


def test_a_fixed_rate_cannot_replace_a_schedule():
    optimizer = make_lars(SCHEDULES["polynomial"])
    with pytest.raises(TypeError, match="LearningRateSchedule"):
        optimizer.learning_rate = 0.5


def fit(model, epochs=4, **options):
    inputs, targets = batch(0, size=16)
    return model.fit(inputs, targets, 8, epochs, verbose=0, shuffle=False, **options)


@pytest.mark.parametrize(
    "callback",
    [
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / (epoch + 1)),
        # No improvement is ever enough: the rate halves again and again.
        keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e9),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_callbacks_that_set_the_rate(callback):
    model, by_hand, constant = (compiled(sequential, make_lars()) for _ in range(3))
    rates = []
    record = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: rates.append(float(model.optimizer.learning_rate))
    )
    fit(model, callbacks=[callback, record])
    assert rates[-1] < rates[0] / 2
    for rate in rates:
        by_hand.optimizer.learning_rate = rate
        fit(by_hand, epochs=1)
    fit(constant)
    assert_equal(model.get_weights(), by_hand.get_weights())
    assert not np.array_equal(model.get_weights()[0], constant.get_weights()[0])


# Clipping ---------------------------------------------------------------------------------------


def norm(array):
    return np.sqrt(np.sum(np.square(np.asarray(array, "float64"))))


def clip_each(gradients, limit):
    return [g * min(1.0, limit / norm(g)) for g in gradients]


def clip_together(gradients, limit):
    together = norm([norm(g) for g in gradients])
    return [g * min(1.0, limit / together) for g in gradients]


def clip_values(gradients, limit):
    return [np.clip(g, -limit, limit) for g in gradients]


CLIPPING = {"clipnorm": clip_each, "global_clipnorm": clip_together, "clipvalue": clip_values}


@jit_choices
@pytest.mark.parametrize("limit", [0.75, 1, 100.0])
@pytest.mark.parametrize("kind", CLIPPING)
def test_clipping(kind, limit, jit_compile):
    variables, references = make_variables(), make_references()
    optimizer = make_lars(jit_compile=jit_compile, **{kind: limit})
    for i in range(3):
        gradients = gradients_of(i)
        optimizer.apply(tensors(gradients), variables)
        clipped = CLIPPING[kind](gradients, limit)
        # The limits are in reach of some of the gradients, the last one of none.
        assert any(norm(c) < 0.999 * norm(g) for c, g in zip(clipped, gradients)) == (limit <= 1)
        for reference, gradient in zip(references, clipped, strict=True):
            reference.step(gradient, RATE)
    assert_follows(variables, optimizer, references)


# Averages of the weights ------------------------------------------------------------------------


def averages_of(optimizer):
    return [v for v in optimizer.variables if "average" in v.path]


@eagerly_and_in_a_graph
@pytest.mark.parametrize("frequency", [None, 1, 2, 3])
def test_averages(frequency, graph):
    variables, references = make_variables(), make_references()
    optimizer = make_lars(use_ema=True, ema_momentum=0.75, ema_overwrite_frequency=frequency)
    step = steps_of(optimizer, variables, graph)
    averages = None
    for i in range(5):
        step(gradients_of(i))
        for reference, gradient in zip(references, gradients_of(i), strict=True):
            reference.step(gradient, RATE)
        weights = [r.w for r in references]
        # The average starts as the weights of the first update.
        averages = (
            weights
            if averages is None
            else [0.75 * a + 0.25 * w for a, w in zip(averages, weights, strict=True)]
        )
        if frequency and (i + 1) % frequency == 0:
            for reference, average in zip(references, averages, strict=True):
                reference.w = average
        assert_follows(variables, optimizer, references)
        assert_close(numbers(averages_of(optimizer)), averages)
    optimizer.finalize_variable_values(variables)
    assert_close(numbers(variables), averages)


def test_fit_ends_with_the_averages():
    model = compiled(sequential, make_lars(use_ema=True, ema_momentum=0.5))
    plain = compiled(sequential, make_lars())
    fit(model)
    fit(plain)
    assert_equal(model.get_weights(), numbers(averages_of(model.optimizer)))
    assert not np.array_equal(model.get_weights()[0], plain.get_weights()[0])


# Loss scaling and mixed precision ---------------------------------------------------------------


@eagerly_and_in_a_graph
def test_loss_scale_factor(graph):
    variables, references = make_variables(), make_references()
    optimizer = make_lars(loss_scale_factor=8.0, clipnorm=0.75)
    step = steps_of(optimizer, variables, graph)
    assert float(optimizer.scale_loss(tf.constant(2.0))) == 16.0
    for i in range(3):
        step([8.0 * g for g in gradients_of(i)])
        # Clipped after it was unscaled: the limit is one on the true gradient.
        for reference, gradient in zip(references, clip_each(gradients_of(i), 0.75), strict=True):
            reference.step(gradient, RATE)
    assert_follows(variables, optimizer, references)


def test_loss_scale_factor_in_fit():
    models = [compiled(sequential, make_lars(loss_scale_factor=s)) for s in (None, 1024.0)]
    for model in models:
        fit(model)
    assert_close(models[1].get_weights(), models[0].get_weights())


@eagerly_and_in_a_graph
@jit_choices
def test_loss_scale_optimizer(jit_compile, graph):
    variables, references = make_variables(), make_references()
    inner = make_lars(jit_compile=jit_compile, record_trust_ratios=True)
    optimizer = keras.optimizers.LossScaleOptimizer(
        inner, initial_scale=8.0, dynamic_growth_steps=3
    )
    step = steps_of(optimizer, variables, graph)
    for i, finite in enumerate([True, False, True]):
        scale = float(optimizer.dynamic_scale)
        gradients = [scale * g for g in gradients_of(i)]
        if not finite:
            gradients[1][0, 0] = np.inf
        before = numbers(variables) + numbers(inner.variables)
        step(gradients)
        if finite:
            for reference, gradient in zip(references, gradients_of(i), strict=True):
                reference.step(gradient, RATE)
            assert float(optimizer.dynamic_scale) == scale
        else:
            # The step is skipped, whole, and the scale is halved.
            assert_equal(numbers(variables) + numbers(inner.variables), before)
            assert float(optimizer.dynamic_scale) == scale / 2
        assert_follows(variables, inner, references)
    assert int(inner.iterations) == 2
    recorded = inner.trust_ratios["a/kernel"].gradient_norm
    assert float(recorded) == pytest.approx(norm(gradients_of(2)[0]), rel=1e-5)


@pytest.fixture
def dtype_policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


@jit_choices
@pytest.mark.parametrize("dtype_policy", ["mixed_float16", "mixed_bfloat16"], indirect=True)
def test_mixed_precision(dtype_policy, jit_compile):
    model = compiled(functional, make_lars(trust_coefficient=0.02, jit_compile=jit_compile))
    history = fit(model, epochs=10).history["loss"]
    optimizer = model.optimizer
    if dtype_policy == "mixed_float16":
        assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        optimizer = optimizer.inner_optimizer
    assert isinstance(optimizer, keras_lars.LARS)
    assert {str(keras.backend.standardize_dtype(v.dtype)) for v in optimizer.momentums} == {
        "float32"
    }
    assert 0 < int(optimizer.iterations) <= 20
    assert all(np.all(np.isfinite(weight)) for weight in model.get_weights())
    assert history[-1] < 0.75 * history[0]


# Gradient accumulation --------------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="keras_lars_tests")
class Shrink(keras.constraints.Constraint):
    """Twice is not the same as once, so a constraint applied too often shows."""

    def __call__(self, w):
        return 0.5 * w


ACCUMULATED = {
    "plain": {},
    "schedule": {"learning_rate": keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)},
    "clipnorm": {"clipnorm": 0.5},
    "global_clipnorm": {"global_clipnorm": 0.5},
    "clipvalue": {"clipvalue": 0.25},
    "average": {"use_ema": True, "ema_momentum": 0.5},
    "overwriting average": {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
    "loss scale": {"loss_scale_factor": 4.0},
    "ratio outside": {"momentum_form": "ratio_outside", "nesterov": True},
    "everything": {
        "learning_rate": SCHEDULES["polynomial"],
        "global_clipnorm": 0.5,
        "use_ema": True,
        "ema_overwrite_frequency": 3,
        "loss_scale_factor": 2.0,
        "momentum_form": "learning_rate_outside",
    },
}


def state_of_updates(optimizer):
    return [v for v in optimizer.variables if not v.path.endswith(("iteration", "accumulator"))]


@eagerly_and_in_a_graph
@pytest.mark.parametrize("micro_batches", [2, 3])
@pytest.mark.parametrize("constraint", [None, Shrink()], ids=["", "constraint"])
@pytest.mark.parametrize("options", ACCUMULATED.values(), ids=ACCUMULATED.keys())
def test_micro_batches_equal_one_batch(options, constraint, micro_batches, graph):
    attributes = {"constraint": constraint} if constraint else {}
    whole, parts = make_variables(**attributes), make_variables(**attributes)
    optimizer = make_lars(**options)
    accumulating = make_lars(**options, gradient_accumulation_steps=micro_batches)
    step_whole = steps_of(optimizer, whole, graph)
    step_part = steps_of(accumulating, parts, graph)
    scale = options.get("loss_scale_factor", 1.0)

    for update in range(4):
        micro = [gradients_of(update * micro_batches + i) for i in range(micro_batches)]
        step_whole([scale * np.mean(same, axis=0) for same in zip(*micro, strict=True)])
        for i, gradients in enumerate(micro):
            assert int(accumulating.iterations) == update
            before = numbers(parts) + numbers(state_of_updates(accumulating))
            step_part([scale * g for g in gradients])
            if i < micro_batches - 1:
                assert_equal(numbers(parts) + numbers(state_of_updates(accumulating)), before)
        assert_close(numbers(parts), numbers(whole))
        assert_close(numbers(state_of_updates(accumulating)), numbers(state_of_updates(optimizer)))
        assert float(accumulating.learning_rate) == float(optimizer.learning_rate)
        assert int(accumulating.iterations) == int(optimizer.iterations) == update + 1


def test_micro_batches_equal_one_batch_in_fit():
    # Without batch statistics, which are those of a micro-batch.
    options = {"learning_rate": SCHEDULES["polynomial"], "clipnorm": 0.25, "jit_compile": "auto"}
    whole = compiled(sequential, make_lars(**options))
    parts = compiled(sequential, make_lars(**options, gradient_accumulation_steps=4))
    inputs, targets = batch(0, size=32)
    for model, size in ((whole, 16), (parts, 4)):
        model.fit(inputs, targets, size, epochs=2, shuffle=False, verbose=0)
    assert_close(parts.get_weights(), whole.get_weights(), tolerance=1e-5)
    assert int(parts.optimizer.iterations) == int(whole.optimizer.iterations) == 4


def test_accumulation_with_a_missing_gradient():
    variables, references = make_variables(), make_references()
    optimizer = make_lars(gradient_accumulation_steps=2)
    for i in range(4):
        with pytest.warns(UserWarning, match="Gradients do not exist.*bias"):
            optimizer.apply(tensors(without(2, gradients_of(i))), variables)
    for update in range(2):
        for which in (0, 1, 3):
            gradients = [gradients_of(2 * update + i)[which] for i in range(2)]
            references[which].step(np.mean(gradients, axis=0), RATE)
    assert_follows(variables, optimizer, references)


# Gradients that are missing or sparse -----------------------------------------------------------


def without(position, gradients):
    return [None if i == position else g for i, g in enumerate(gradients)]


@eagerly_and_in_a_graph
@pytest.mark.parametrize("options", [{}, {"clipnorm": 0.5}, {"global_clipnorm": 0.5}], ids=str)
def test_a_missing_gradient_leaves_variable_and_slot_alone(options, graph):
    variables, references = make_variables(), make_references()
    optimizer = make_lars(**options)
    step = steps_of(optimizer, variables, graph)
    step(gradients_of(0))
    before = [numbers(variables)[1], numbers(optimizer.momentums)[1]]
    assert np.any(before[1])
    with pytest.warns(UserWarning, match="Gradients do not exist.*kernel"):
        step(without(1, gradients_of(1)))
    assert_equal([numbers(variables)[1], numbers(optimizer.momentums)[1]], before)
    assert int(optimizer.iterations) == 2

    clip = {"clipnorm": clip_each, "global_clipnorm": clip_together}
    for i, positions in enumerate([(0, 1, 2, 3), (0, 2, 3)]):
        gradients = [gradients_of(i)[p] for p in positions]
        for kind, limit in options.items():
            gradients = clip[kind](gradients, limit)
        for position, gradient in zip(positions, gradients, strict=True):
            references[position].step(gradient, RATE)
    assert_follows(variables, optimizer, references)


def test_no_gradient_at_all_raises():
    variables = make_variables()
    with pytest.raises(ValueError, match="No gradients"):
        make_lars().apply([None] * len(variables), variables)


@jit_choices
@eagerly_and_in_a_graph
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"clipnorm": 0.5},
        {"global_clipnorm": 0.5},
        {"clipvalue": 0.25},
        {"loss_scale_factor": 4.0},
        {"gradient_accumulation_steps": 2},
        {"gradient_accumulation_steps": 2, "loss_scale_factor": 4.0, "clipvalue": 0.25},
        {"momentum_form": "ratio_outside", "nesterov": True, "decay_in_norm": True},
    ],
    ids=str,
)
def test_indexed_slices_are_their_sum(options, graph, jit_compile):
    pairs = [
        [make_variable("table/embeddings", normal(5, (5, 2))), make_variable("b", normal(6, 3))]
        for _ in range(2)
    ]
    (sparse, dense) = [
        steps_of(make_lars(jit_compile=jit_compile, **options), pair, graph) for pair in pairs
    ]
    for i in range(4):
        # Row 3 comes three times, rows 0 and 2 never: momentum and decay move those all the same.
        values, indices = normal([7, i], (4, 2)), [3, 1, 3, 3]
        slices = tf.IndexedSlices(*map(tf.constant, (values, indices, (5, 2))))
        total = np.zeros((5, 2), "float32")
        np.add.at(total, indices, values)
        other = normal([8, i], 3)
        sparse([slices, other])
        dense([total, other])
    assert_close(numbers(pairs[0]), numbers(pairs[1]))


def test_a_model_with_an_embedding():
    def build():
        return keras.Sequential(
            [
                keras.Input((3,), dtype="int32"),
                keras.layers.Embedding(6, 2),
                keras.layers.Flatten(),
                keras.layers.Dense(1),
            ]
        )

    tokens = np.array([[0, 0, 5], [5, 5, 5], [1, 0, 3]])
    targets = normal(9, (3, 1))
    model, twin = build(), build()
    twin.set_weights(model.get_weights())
    model.compile(make_lars(jit_compile="auto"), "mse")
    for _ in range(3):
        model.train_on_batch(tokens, targets)

    # By hand, with the dense gradient that the slices stand for.
    references = [ReferenceLARS(w, η=TRUST, m=MOMENTUM, β=DECAY) for w in twin.get_weights()]
    sparse = []
    for _ in range(3):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((twin(tokens) - targets) ** 2)
        gradients = tape.gradient(loss, [v.value for v in twin.trainable_variables])
        sparse += [isinstance(g, tf.IndexedSlices) for g in gradients]
        for reference, gradient in zip(references, gradients, strict=True):
            reference.step(tf.convert_to_tensor(gradient).numpy(), RATE)
        twin.set_weights([r.w for r in references])
    assert any(sparse)
    assert_close(model.get_weights(), [r.w for r in references], tolerance=1e-5)


# Shapes and types -------------------------------------------------------------------------------


@jit_choices
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,), (1, 1, 1), (2, 3, 1, 2, 2)], ids=str)
@pytest.mark.parametrize("options", [{}, {"clipnorm": 0.5}, {"use_ema": True}], ids=str)
def test_shapes(shape, options, jit_compile):
    # Next to another variable, which an empty one must not disturb.
    shapes = [shape, (2, 3)]
    variables = [make_variable(f"v{i}", normal([10, i], s)) for i, s in enumerate(shapes)]
    references = [
        ReferenceLARS(normal([10, i], s), η=TRUST, m=MOMENTUM, β=DECAY)
        for i, s in enumerate(shapes)
    ]
    optimizer = make_lars(jit_compile=jit_compile, **options)
    for i in range(2):
        gradients = [normal([11, i, j], s) for j, s in enumerate(shapes)]
        optimizer.apply(tensors(gradients), variables)
        for reference, gradient in zip(references, gradients, strict=True):
            limit = options.get("clipnorm", np.inf) if gradient.size else np.inf
            reference.step(*clip_each([gradient], limit) if gradient.size else [gradient], RATE)
    assert [tuple(slot.shape) for slot in optimizer.momentums] == shapes
    assert_follows(variables, optimizer, references)


@jit_choices
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("float16", 2**-9), ("bfloat16", 2**-6), ("float32", 1e-6), ("float64", 1e-13)],
)
@pytest.mark.parametrize("options", [{}, {"global_clipnorm": 0.5}], ids=str)
def test_types(dtype, tolerance, options, jit_compile):
    variables = make_variables(dtype)
    # What the variable holds after rounding is where the reference starts.
    references = [
        ReferenceLARS(w.astype("float64"), η=TRUST, m=MOMENTUM, β=DECAY) for w in numbers(variables)
    ]
    optimizer = make_lars(jit_compile=jit_compile, **options)
    for i in range(3):
        gradients = [tf.cast(g, dtype) for g in gradients_of(i)]
        optimizer.apply(gradients, variables)
        rounded = [g.numpy().astype("float64") for g in gradients]
        for limit in options.values():
            rounded = clip_together(rounded, limit)
        for reference, gradient in zip(references, rounded, strict=True):
            reference.step(gradient, RATE)
    for variable in [*variables, *optimizer.momentums]:
        assert keras.backend.standardize_dtype(variable.dtype) == dtype
    weights = [w.astype("float64") for w in numbers(variables)]
    assert_close(weights, [r.w for r in references], tolerance)


# Constraints ------------------------------------------------------------------------------------


@eagerly_and_in_a_graph
def test_constraints(graph):
    variables, references = make_variables(), make_references()
    variables[1].constraint = Shrink()
    variables[2].constraint = keras.constraints.NonNeg()
    optimizer = make_lars()
    step = steps_of(optimizer, variables, graph)
    for i in range(3):
        step(gradients_of(i))
        for reference, gradient in zip(references, gradients_of(i), strict=True):
            reference.step(gradient, RATE)
        # The weights are constrained after the update, the slots never.
        references[1].w = 0.5 * references[1].w
        references[2].w = np.maximum(references[2].w, 0.0)
    assert_follows(variables, optimizer, references)


# Loops ------------------------------------------------------------------------------------------


@jit_choices
@eagerly_and_in_a_graph
@pytest.mark.parametrize(
    "call",
    [
        lambda optimizer, gradients, variables: optimizer.apply(gradients, variables),
        lambda optimizer, gradients, variables: optimizer.apply(gradients),
        lambda optimizer, gradients, variables: optimizer.apply_gradients(
            zip(gradients, variables, strict=True)
        ),
        lambda optimizer, gradients, variables: optimizer.apply(gradients[::-1], variables[::-1]),
    ],
    ids=["apply", "apply without variables", "apply_gradients", "other order"],
)
def test_custom_loops(call, graph, jit_compile):
    variables, references = make_variables(), make_references()
    optimizer = make_lars(jit_compile=jit_compile)
    optimizer.build(variables)

    def step(gradients):
        call(optimizer, gradients, variables)

    run = tf.function(step) if graph else step
    for i in range(3):
        run(tensors(gradients_of(i)))
        for reference, gradient in zip(references, gradients_of(i), strict=True):
            reference.step(gradient, RATE)
    assert_follows(variables, optimizer, references)
    assert int(optimizer.iterations) == 3


def test_the_first_apply_builds():
    variables, references = make_variables(), make_references()
    optimizer = make_lars()
    assert not optimizer.built
    optimizer.apply(tensors(gradients_of(0)), variables)
    assert optimizer.built
    for reference, gradient in zip(references, gradients_of(0), strict=True):
        reference.step(gradient, RATE)
    assert_follows(variables, optimizer, references)


def test_the_ways_of_running_a_model_agree():
    def trained(run, **options):
        model = compiled(subclassed, make_lars(jit_compile="auto"), **options)
        run(model)
        return model.get_weights()

    def one_by_one(model):
        for _ in range(2):
            for first in (0, 8):
                inputs, targets = batch(0, size=16)
                model.train_on_batch(inputs[first : first + 8], targets[first : first + 8])

    def run_fit(model):
        fit(model, epochs=2)

    expected = trained(run_fit)
    for actual in (
        trained(one_by_one),
        trained(run_fit, run_eagerly=True),
        trained(run_fit, jit_compile=True),
        trained(run_fit, steps_per_execution=2),
    ):
        assert_close(actual, expected, tolerance=1e-5)


def test_a_compiled_model_follows_the_reference():
    model = compiled(sequential, make_lars(SCHEDULES["exponential"], jit_compile="auto"))
    references = [
        ReferenceLARS(w, η=TRUST, m=MOMENTUM, β=DECAY) for w in numbers(model.trainable_variables)
    ]
    twin = compiled(sequential, make_lars())
    for step in range(3):
        model.train_on_batch(*batch(step))
        inputs, targets = batch(step)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((twin(inputs) - targets) ** 2)
        gradients = tape.gradient(loss, [v.value for v in twin.trainable_variables])
        for reference, gradient in zip(references, gradients, strict=True):
            reference.step(gradient.numpy(), 0.5 ** (step + 1))
        twin.set_weights([r.w for r in references])
    assert_close(model.get_weights(), [r.w for r in references], tolerance=1e-5)


# Variables that Keras overwrites with their gradient --------------------------------------------


@eagerly_and_in_a_graph
@jit_choices
@pytest.mark.parametrize("options", [{}, {"use_ema": True}, {"global_clipnorm": 0.5}], ids=str)
def test_overwritten_variables(options, graph, jit_compile):
    variables, references = make_variables(), make_references()
    variables[1].overwrite_with_gradient = True
    optimizer = make_lars(jit_compile=jit_compile, **options)
    step = steps_of(optimizer, variables, graph)
    assert optimizer.momentums[1] is None
    assert [slot is None for slot in optimizer.momentums] == [False, True, False, False]
    kept = (0, 2, 3)
    for i in range(2):
        step(gradients_of(i))
        assert_equal([numbers(variables)[1]], [gradients_of(i)[1]])
        gradients = [gradients_of(i)[k] for k in kept]
        if "global_clipnorm" in options:
            # A scale's "gradient" is no gradient: it has no share in the norm of all.
            gradients = clip_together(gradients, options["global_clipnorm"])
        for k, gradient in zip(kept, gradients, strict=True):
            references[k].step(gradient, RATE)
    assert_close([numbers(variables)[k] for k in kept], [references[k].w for k in kept])
    assert_close(numbers([optimizer.momentums[k] for k in kept]), [references[k].v for k in kept])


@eagerly_and_in_a_graph
def test_overwritten_variables_under_accumulation(graph):
    variables, references = make_variables(), make_references()
    variables[1].overwrite_with_gradient = True
    optimizer = make_lars(gradient_accumulation_steps=2)
    step = steps_of(optimizer, variables, graph)
    assert optimizer.momentums[1] is None
    for update in range(2):
        first, second = gradients_of(2 * update), gradients_of(2 * update + 1)
        before = numbers(variables)[1]
        step(first)
        assert_equal([numbers(variables)[1]], [before])
        step(second)
        # Keras keeps the largest of the micro-batches (the gradients here have both signs, and its
        # accumulator starts at 0).
        largest = np.maximum(np.maximum(first[1], second[1]), 0.0)
        assert_equal([numbers(variables)[1]], [largest])
        for k in (0, 2, 3):
            references[k].step(np.mean([first[k], second[k]], axis=0), RATE)
    kept = (0, 2, 3)
    assert_close([numbers(variables)[k] for k in kept], [references[k].w for k in kept])


def test_only_overwritten_variables():
    variable = make_variable("scale", [1.0, 2.0], overwrite_with_gradient=True)
    optimizer = make_lars()
    optimizer.apply([tf.constant([3.0, 4.0])], [variable])
    np.testing.assert_array_equal(variable.numpy(), [3.0, 4.0])
    assert optimizer.momentums == [None]
    assert int(optimizer.iterations) == 1


# The optimizer's own variables ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # Iteration and learning rate, then one slot per variable.
        ({}, 2 + 4),
        ({"learning_rate": SCHEDULES["polynomial"]}, 1 + 4),
        ({"momentum": 0}, 2),
        ({"use_ema": True}, 2 + 4 + 4),
        ({"gradient_accumulation_steps": 2}, 2 + 4 + 4),
        ({"momentum": 0, "use_ema": True, "gradient_accumulation_steps": 2}, 2 + 4 + 4),
        ({"exclude_from_layer_adaptation": "kernel", "trust_clip": True}, 2 + 4),
    ],
    ids=str,
)
@jit_choices
def test_how_many_variables_there_are(options, expected, jit_compile):
    variables = make_variables()
    created = []

    def count(next_creator, **kwargs):
        created.append(kwargs.get("name"))
        return next_creator(**kwargs)

    # Counted where TensorFlow makes them: a hidden variable would not be in the list.
    with tf.variable_creator_scope(count):
        optimizer = make_lars(jit_compile=jit_compile, **options)
        optimizer.apply(tensors(gradients_of(0)), variables)
    assert len(optimizer.variables) == len(created) == expected
    if "momentum" in options:
        assert optimizer.momentums == []
    else:
        assert [tuple(m.shape) for m in optimizer.momentums] == list(SHAPES.values())
        assert {id(m) for m in optimizer.momentums} <= {id(v) for v in optimizer.variables}


def test_without_momentum_the_reference_is_followed():
    variables = make_variables()
    references = [ReferenceLARS(w, η=TRUST, m=0.0, β=DECAY) for w in numbers(variables)]
    optimizer = make_lars(momentum=0)
    for i in range(3):
        optimizer.apply(tensors(gradients_of(i)), variables)
        for reference, gradient in zip(references, gradients_of(i), strict=True):
            reference.step(gradient, RATE)
    assert_close(numbers(variables), [r.w for r in references])


def test_building_twice_is_harmless():
    variables, references = make_variables(), make_references()
    optimizer = make_lars(use_ema=True)
    optimizer.build(variables)
    optimizer.apply(tensors(gradients_of(0)), variables)
    before = optimizer.variables
    state = numbers(before)
    optimizer.build(variables)
    assert [id(v) for v in optimizer.variables] == [id(v) for v in before]
    assert_equal(numbers(optimizer.variables), state)
    optimizer.apply(tensors(gradients_of(1)), variables)
    for i in range(2):
        for reference, gradient in zip(references, gradients_of(i), strict=True):
            reference.step(gradient, RATE)
    assert_follows(variables, optimizer, references)


def test_unknown_variables_raise():
    variables = make_variables()
    optimizer = make_lars()
    optimizer.build(variables[:2])
    with pytest.raises(ValueError, match="Unknown variable"):
        optimizer.apply(tensors(gradients_of(0)), variables)
    with pytest.raises(ValueError, match="gradients"):
        optimizer.apply(tensors(gradients_of(0)))


def test_set_weights():
    variables, others = make_variables(), make_variables()
    optimizer, other = make_lars(), make_lars(0.125)
    for i in range(2):
        optimizer.apply(tensors(gradients_of(i)), variables)
    other.build(others)
    other.set_weights(numbers(optimizer.variables))
    for variable, value in zip(others, numbers(variables), strict=True):
        variable.assign(value)
    assert float(other.learning_rate) == RATE
    for each, its_variables in ((optimizer, variables), (other, others)):
        each.apply(tensors(gradients_of(2)), its_variables)
    assert_equal(numbers(others), numbers(variables))
    assert_equal(numbers(other.variables), numbers(optimizer.variables))


@jit_choices
def test_weight_decay_is_not_applied_a_second_time(jit_compile):
    variable = make_variable("v", [3.0, 4.0])
    optimizer = make_lars(momentum=0.0, jit_compile=jit_compile)
    optimizer.apply([tf.constant([0.6, 0.8])], [variable])
    # |w| = 5, |g| = 1, the ratio is 0.25 * 5 / (1 + 0.125 * 5) = 10 / 13, the rate 0.5.
    expected = [3.0 - 0.5 * 10 / 13 * (0.6 + 0.375), 4.0 - 0.5 * 10 / 13 * (0.8 + 0.5)]
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-6)


def test_weight_decay_alone_shrinks_by_the_formula():
    # The ratio is `zero_gradient_ratio`, and rate * ratio * decay * w is subtracted once.
    variable = make_variable("v", [3.0, 4.0])
    make_lars(momentum=0.0, zero_gradient_ratio=0.5).apply([tf.zeros(2)], [variable])
    np.testing.assert_allclose(
        variable.numpy(), np.array([3.0, 4.0]) * (1 - 0.5 * 0.5 * 0.125), rtol=1e-6
    )


# Recorded trust ratios --------------------------------------------------------------------------


@jit_choices
@pytest.mark.parametrize("run_eagerly", [False, True], ids=["graph", "eager"])
def test_trust_ratios_are_those_of_the_last_update_in_fit(run_eagerly, jit_compile):
    optimizer = make_lars(
        record_trust_ratios=True, jit_compile=jit_compile, exclude_from_layer_adaptation="head/bias"
    )
    model = compiled(sequential, optimizer, run_eagerly=run_eagerly)
    with pytest.raises(ValueError, match="trust_ratios"):
        _ = optimizer.trust_ratios
    train(model, 0, 1)
    inputs, targets = batch(1)
    weights = [v.value for v in model.trainable_variables]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(inputs, training=True) - targets) ** 2)
    gradient_norms = [norm(g) for g in tape.gradient(loss, weights)]
    weight_norms = [norm(w) for w in weights]
    train(model, 1, 2)

    recorded = optimizer.trust_ratios
    assert list(recorded) == [v.path for v in model.trainable_variables]
    for path, w, g in zip(recorded, weight_norms, gradient_norms, strict=True):
        ratio = 1.0 if path.endswith("head/bias") else TRUST * w / (g + DECAY * w)
        row = recorded[path]
        assert row._fields == ("weight_norm", "gradient_norm", "trust_ratio")
        assert float(row.weight_norm) == pytest.approx(w, rel=1e-5)
        assert float(row.gradient_norm) == pytest.approx(g, rel=1e-4)
        assert float(row.trust_ratio) == pytest.approx(ratio, rel=1e-4)


def test_trust_ratios_of_paths_that_repeat_go_by_position():
    paths = ["a", "twin", "b", "twin"]
    variables = [make_variable(path, [2.0**i]) for i, path in enumerate(paths)]
    optimizer = make_lars(record_trust_ratios=True)
    optimizer.apply([tf.constant([1.0])] * 4, variables)
    norms = {key: float(row.weight_norm) for key, row in optimizer.trust_ratios.items()}
    assert norms == {"a": 1.0, 1: 2.0, "b": 4.0, 3: 8.0}


def test_trust_ratios_that_are_not_recorded_raise():
    variables = make_variables()
    optimizer = make_lars()
    optimizer.apply(tensors(gradients_of(0)), variables)
    with pytest.raises(ValueError, match="record_trust_ratios"):
        _ = optimizer.trust_ratios


def test_recording_does_not_change_the_update():
    models = [compiled(sequential, make_lars(record_trust_ratios=r)) for r in (False, True)]
    for model in models:
        train(model, 0, 3)
    assert_equal(models[1].get_weights(), models[0].get_weights())
    assert models[0].get_weights()[0].shape[0] == FEATURES


@pytest.mark.parametrize("jit_compile", ["auto", False])
def test_variables_of_tensorflow_itself(jit_compile):
    variables = [tf.Variable([3.0, 4.0], name="w"), tf.Variable([[1.0]], name="x")]
    optimizer = keras_lars.LARS(10, momentum=0.5, weight_decay=0, jit_compile=jit_compile)
    optimizer.apply([tf.constant([0.0, 0.5]), tf.constant([[2.0]])], variables)
    np.testing.assert_allclose(variables[0].numpy(), [3.0, 3.95], rtol=1e-6)
    np.testing.assert_allclose(variables[1].numpy(), [[0.99]], rtol=1e-6)
    assert [row.path for row in optimizer.variable_table()] == ["w:0", "x:0"]
