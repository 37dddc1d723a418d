"""Replicas under MirroredStrategy do what one device does with the same global batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import REPLICAS
from support.models import (
    assert_close,
    assert_equal,
    batch,
    compiled,
    compiled_functions,
    exchanges,
    make_variable,
    normal,
    numbers,
    sequential,
)

import keras_lars

pytestmark = pytest.mark.slow

# Many of one shape, as in a real network: with all shapes different, slots that were mixed up
# between variables of one shape would go unnoticed.
SHAPES = [(2, 3)] * 3 + [(3,)] * 3 + [()] * 2


def falling_rate():
    return keras.optimizers.schedules.PolynomialDecay(0.5, 24, 0.125, power=2.0)


def make_lars(**options):
    options = {
        "learning_rate": falling_rate(),
        "momentum": 0.75,
        "weight_decay": 0.125,
        "trust_coefficient": 0.25,
        **options,
    }
    return keras_lars.LARS(**options)


def assert_replicas_agree(strategy, variables):
    """Every replica holds the same bits: averaging on reading would hide a difference."""
    for variable in variables:
        first, *others = strategy.experimental_local_results(variable.value)
        for other in others:
            assert first.device != other.device
            assert_equal([first.numpy()], [other.numpy()])


OPTIONS = {
    "classic": {},
    "plain ops": {"jit_compile": False},
    "nesterov": {"nesterov": True, "momentum_form": "learning_rate_outside"},
    "ratio outside": {"momentum_form": "ratio_outside", "decay_in_norm": True, "trust_clip": True},
    "no momentum": {"momentum": 0},
    "exclusions, fixed rate, clipvalue": {
        "exclude_from_layer_adaptation": keras_lars.rank_at_most(1),
        "learning_rate": 0.5,
        "clipvalue": 0.125,
    },
    "global_clipnorm": {"global_clipnorm": 0.25},
    "average": {"use_ema": True, "ema_momentum": 0.5},
    "overwriting average": {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
    "loss scale": {"loss_scale_factor": 4.0, "clipnorm": 0.25},
    "accumulation": {"gradient_accumulation_steps": 2},
    "accumulation, clipped and averaged": {
        "gradient_accumulation_steps": 2,
        "global_clipnorm": 0.25,
        "use_ema": True,
        "ema_momentum": 0.5,
        "ema_overwrite_frequency": 2,
    },
    "recorded": {"record_trust_ratios": True},
}
# The others are part of "accumulation, clipped and averaged".
ALONE = OPTIONS.keys() - {"global_clipnorm", "overwriting average"}
CLIPPED = [
    name
    for name, options in OPTIONS.items()
    if options.keys() & {"clipnorm", "global_clipnorm", "clipvalue"}
]


def make_variables():
    return [make_variable(f"layer_{i}/weight", normal([1, i], s)) for i, s in enumerate(SHAPES)]


def built(strategy, **options):
    """Variables in the scope of the strategy, and an optimizer that is built with them."""
    with strategy.scope():
        variables = make_variables()
        optimizer = make_lars(**options)
        optimizer.build(variables)
    return variables, optimizer


def shares_of(step):
    """Each replica's gradients: not alike, so that the order of clipping and adding matters."""
    return [
        [normal([2, replica, step, i], shape) for i, shape in enumerate(SHAPES)]
        for replica in range(REPLICAS)
    ]


def summed(shares):
    return [tf.constant(sum(same)) for same in zip(*shares, strict=True)]


def per_replica(strategy, *values):
    """Each replica's own tensor, as a `GradientTape` in that replica would give it."""
    if values[0] is None:
        return None
    return strategy.experimental_distribute_values_from_function(
        lambda replica: tf.constant(values[replica.replica_id_in_sync_group])
    )


def distributed_step(strategy, optimizer, variables):
    """A traced step that takes both replicas' shares of the gradients."""

    @tf.function
    def traced(gradients):
        strategy.run(lambda local: optimizer.apply(local, variables), args=(gradients,))

    def arguments(shares):
        return [per_replica(strategy, *pair) for pair in zip(*shares, strict=True)]

    def step(shares):
        traced(arguments(shares))

    step.traced = traced
    step.graph = lambda shares: traced.get_concrete_function(arguments(shares)).graph
    return step


@pytest.mark.parametrize("name", sorted(ALONE))
def test_a_custom_loop_equals_one_device(strategy, name):
    options = OPTIONS[name]
    variables, optimizer = built(strategy, **options)
    alone = make_variables()
    single = make_lars(**options)
    single.build(alone)

    step = distributed_step(strategy, optimizer, variables)
    for i in range(4):
        shares = shares_of(i)
        step(shares)
        single.apply(summed(shares), alone)
        assert_close(numbers(variables), numbers(alone))
        assert_close(numbers(optimizer.variables), numbers(single.variables))
        assert_equal(
            numbers([optimizer.iterations, optimizer.learning_rate]),
            numbers([single.iterations, single.learning_rate]),
        )
        if "record_trust_ratios" in options:
            expected = single.trust_ratios
            for path, recorded in optimizer.trust_ratios.items():
                np.testing.assert_allclose(recorded, expected[path], rtol=1e-5)
    assert_replicas_agree(strategy, variables)
    assert_replicas_agree(strategy, [m for m in optimizer.momentums if m is not None])
    assert_replicas_agree(strategy, [v for v in optimizer.variables if "average" in v.path])
    assert all(np.any(w != v) for w, v in zip(numbers(variables), numbers(make_variables())))


@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 2}], ids=str)
def test_constraints_equal_one_device(strategy, options):
    def constrained():
        variables = make_variables()
        variables[0].constraint = keras.constraints.NonNeg()
        variables[4].constraint = keras.constraints.MaxNorm(0.5, axis=0)
        return variables

    with strategy.scope():
        variables = constrained()
        optimizer = make_lars(**options)
        optimizer.build(variables)
    alone, single = constrained(), make_lars(**options)
    step = distributed_step(strategy, optimizer, variables)
    for i in range(4):
        step(shares_of(i))
        single.apply(summed(shares_of(i)), alone)
    assert_close(numbers(variables), numbers(alone))
    assert_close(numbers(optimizer.variables), numbers(single.variables))
    assert np.min(variables[0].numpy()) >= 0 > np.min(make_variables()[0].numpy())
    assert_replicas_agree(strategy, variables)


@pytest.mark.parametrize("name", CLIPPED)
def test_the_clipping_limits_are_in_reach(name):
    # Otherwise the comparisons above would hold for whoever never clips.
    options = OPTIONS[name]
    unclipped = {k: v for k, v in options.items() if "clip" not in k}
    results = []
    for each in (options, unclipped):
        variables = make_variables()
        optimizer = make_lars(jit_compile=False, **each)
        for i in range(4):
            optimizer.apply(summed(shares_of(i)), variables)
        results.append(numbers(variables))
    difference = max(np.max(np.abs(a - b)) for a, b in zip(*results, strict=True))
    assert difference > 1e-3


def gentle_lars(**options):
    """Small steps, so that rounding errors do not grow by training."""
    return make_lars(trust_coefficient=0.02, **options)


def in_both(strategy, build, run):
    """`run` on the model of `build`, under the strategy and on one device: both models."""
    with strategy.scope():
        distributed = build()
    single = build()
    single.set_weights(distributed.get_weights())
    run(distributed)
    run(single)
    return distributed, single


def fit(model):
    # 12 steps, of which each third has a short batch. The rate changes at every one of them. In one
    # epoch, since the iterators of an epoch take longer than its steps.
    data = tf.data.Dataset.from_tensor_slices(batch(0, size=20)).batch(8).repeat(4)
    model.fit(data, verbose=0)


@pytest.mark.parametrize(
    "name",
    [
        "plain ops, nesterov, loss scale",  # and clipnorm
        "overwriting average, global_clipnorm",
        "accumulation",
    ],
)
def test_fit_equals_one_device(strategy, name):
    """Each option by itself: `test_a_custom_loop_equals_one_device`. Here `fit` calls `apply`."""
    options = {k: v for each in name.split(", ") for k, v in OPTIONS[each].items()}
    distributed, single = in_both(
        strategy, lambda: compiled(sequential, gentle_lars(**options)), fit
    )
    start = compiled(sequential, make_lars()).get_weights()
    assert not np.allclose(single.get_weights()[0], start[0], atol=1e-3)
    assert_close(distributed.get_weights(), single.get_weights())
    assert_close(numbers(distributed.optimizer.variables), numbers(single.optimizer.variables))
    assert_replicas_agree(strategy, distributed.trainable_variables)
    assert_replicas_agree(strategy, distributed.optimizer.momentums)


def test_fit_with_indexed_slices_equals_one_device(strategy):
    tokens = np.random.default_rng(3).integers(0, 5, (16, 3))
    targets = normal(4, (16, 1))

    def build():
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((3,), dtype="int32"),
                keras.layers.Embedding(5, 2),
                keras.layers.Flatten(),
                keras.layers.Dense(1),
            ]
        )
        model.compile(gentle_lars(clipnorm=0.25), "mse")
        return model

    def run(model):
        model.fit(tokens, targets, batch_size=8, epochs=2, shuffle=False, verbose=0)

    distributed, single = in_both(strategy, build, run)
    assert_close(distributed.get_weights(), single.get_weights())
    assert_replicas_agree(strategy, distributed.trainable_variables)


WRAPPERS = {
    "keras": keras.optimizers.LossScaleOptimizer,
    "keras_lars": keras_lars.LossScaleOptimizer,
}


@pytest.mark.parametrize("wrapper", WRAPPERS.values(), ids=WRAPPERS.keys())
def test_loss_scaling_around_lars_equals_one_device(strategy, wrapper):
    def build():
        return compiled(sequential, wrapper(gentle_lars(), initial_scale=16.0))

    distributed, single = in_both(strategy, build, fit)
    assert_close(distributed.get_weights(), single.get_weights())
    assert_close(
        numbers(distributed.optimizer.inner_optimizer.momentums),
        numbers(single.optimizer.inner_optimizer.momentums),
    )


@pytest.mark.parametrize(
    ("options", "bad"),
    [({}, np.nan), ({"gradient_accumulation_steps": 2}, np.inf)],
    ids=["update", "accumulation"],
)
def test_an_infinity_on_one_replica_changes_nothing_but_the_scale(strategy, options, bad):
    with strategy.scope():
        variables = make_variables()
        inner = make_lars(**options)
        optimizer = keras_lars.LossScaleOptimizer(inner, initial_scale=16.0)
        optimizer.build(variables)
    step = distributed_step(strategy, optimizer, variables)
    step(shares_of(0))
    everything = [*variables, *inner.variables]
    before = [numbers(strategy.experimental_local_results(v.value)) for v in everything]
    for replica in range(REPLICAS):
        shares = shares_of(1)
        shares[replica][3][0] = bad
        step(shares)
        after = [numbers(strategy.experimental_local_results(v.value)) for v in everything]
        for old, new in zip(before, after, strict=True):
            assert_equal(new, old)
        assert float(optimizer.dynamic_scale.numpy()) == 16.0 / 2 ** (replica + 1)
    for i in range(2, 4):
        step(shares_of(i))
    assert all(np.any(w != v[0]) for w, v in zip(numbers(variables), before))
    assert_replicas_agree(strategy, [*variables, *inner.momentums])


def test_batches_that_grow_equal_separate_trainings(strategy):
    """Bit for bit: the first update is of one micro-batch, and the next ones are of two."""
    options = {"use_ema": True, "ema_momentum": 0.5, "record_noise_scale": True}
    variables, growing = built(strategy, gradient_accumulation_steps={0: 1, 1: 2}, **options)
    twins, first = built(strategy, **options)
    with strategy.scope():
        then = make_lars(gradient_accumulation_steps=2, **options)
        then.build(twins)
    step = distributed_step(strategy, growing, variables)
    for i in range(5):
        step(shares_of(i))
    distributed_step(strategy, first, twins)(shares_of(0))
    for kind in ("velocities", "averages"):
        for new, old in zip(getattr(then._slots, kind), getattr(first._slots, kind), strict=True):
            new.assign(old)
    then._micro_batches.assign(2)
    step_then = distributed_step(strategy, then, twins)
    for i in range(1, 5):
        step_then(shares_of(i))
    assert_equal(numbers(variables), numbers(twins))
    for kind in ("velocities", "averages", "accumulators"):
        slots, expected = (getattr(each._slots, kind) for each in (growing, then))
        assert_equal(numbers(slots), numbers(expected))
        if kind != "accumulators":
            assert_replicas_agree(strategy, slots)
    assert growing._recorded_squares() == then._recorded_squares()
    assert int(growing.iterations) == int(then.iterations) == 3
    assert step.traced.experimental_get_tracing_count() == 1


def test_evaluate_and_predict_equal_one_device(strategy):
    inputs, targets = batch(0, size=20)
    # Untrained, since the tests above compare the weights after a training.
    distributed, single = in_both(
        strategy, lambda: compiled(sequential, gentle_lars()), run=lambda model: None
    )
    results = [
        [
            model.evaluate(inputs, targets, batch_size=8, verbose=0),
            model.predict(inputs, batch_size=8, verbose=0),
        ]
        for model in (distributed, single)
    ]
    assert_close([np.array(a) for a in results[0]], [np.array(a) for a in results[1]])


def test_accumulators_are_saved_as_their_sum(strategy):
    variables, optimizer = built(strategy, gradient_accumulation_steps=4)
    step = distributed_step(strategy, optimizer, variables)
    step(shares_of(0))
    shares = strategy.experimental_local_results(optimizer._slots.accumulators[0].value)
    assert_equal([share.numpy() for share in shares], [share[0] for share in shares_of(0)])
    state = {}
    optimizer.save_own_variables(state)
    assert_close([state["accumulators_0"]], [sum(share.numpy() for share in shares)])

    with strategy.scope():
        again = make_lars(gradient_accumulation_steps=4)
        again.load_own_variables(state)
        twins = make_variables()
        again.build(twins)
    go_on = distributed_step(strategy, again, twins)
    for i in range(1, 4):
        step(shares_of(i))
        go_on(shares_of(i))
    assert_close(numbers(twins), numbers(variables))


def test_accumulation_takes_one_exchange_an_update(strategy):
    variables, optimizer = built(strategy, gradient_accumulation_steps=2)
    step = distributed_step(strategy, optimizer, variables)
    # All gradients go in one exchange, which has a node on each replica.
    assert exchanges(step.graph(shares_of(0))) == [0, REPLICAS, 0]


@pytest.mark.parametrize("steps", [None, 2])
def test_squared_norms_are_of_the_parts_of_all_replicas(strategy, steps):
    recording, plain = (
        built(strategy, gradient_accumulation_steps=steps, record_noise_scale=record)
        for record in (True, False)
    )
    step, step_twin = (
        distributed_step(strategy, optimizer, variables)
        for variables, optimizer in (recording, plain)
    )
    calls = [shares_of(i) for i in range(2 * (steps or 1))]
    for shares in calls:
        step(shares)
        step_twin(shares)
    assert_equal(numbers(recording[0]), numbers(plain[0]))
    assert_equal(numbers(recording[1].variables), numbers(plain[1].variables))
    # The gradients of replicas are summed to the mean gradient: a part's own is twice as large.
    parts = [
        [REPLICAS * g for g in replica] for shares in calls[-(steps or 1) :] for replica in shares
    ]
    found = recording[1]._recorded_squares().values()
    for row, same in zip(found, zip(*parts, strict=True), strict=True):
        same = np.array(same, "float64")
        expected = np.mean([np.sum(g**2) for g in same]), np.sum(same.mean(axis=0) ** 2)
        np.testing.assert_allclose(row, expected, rtol=1e-5)
    assert recording[1]._update.squares.replicas == REPLICAS
    assert_replicas_agree(strategy, [recording[1]._update.squares.last])
    if steps:  # one more, of a small vector, in the branch that updates
        assert exchanges(step.graph(shares_of(0))) == [0, 2 * REPLICAS, 0]


def test_squared_norms_of_the_first_parts_are_saved(strategy):
    options = {"gradient_accumulation_steps": 2, "record_noise_scale": True}
    (variables, first), (twins, again) = (built(strategy, **options) for _ in range(2))
    step, step_twin = (
        distributed_step(strategy, first, variables),
        distributed_step(strategy, again, twins),
    )
    step(shares_of(0))
    state = {}
    first.save_own_variables(state)
    again.load_own_variables(state)
    step(shares_of(1))
    step_twin(shares_of(1))
    found, expected = (list(each._recorded_squares().values()) for each in (again, first))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def normalized():
    # A bias before the normalization would get no gradient but rounding errors.
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(4, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(1),
        ]
    )


@pytest.mark.filterwarnings("ignore:After .* of the initial moving statistics")
def test_a_replica_without_a_sample_adds_nothing(strategy):
    inputs, targets = batch(0, size=9)
    with strategy.scope():
        model = keras_lars.multi_worker.prepare(normalized())
        model.compile(make_lars(), "mse")
    model.fit(inputs, targets, batch_size=8, epochs=2, verbose=0)
    for variable in model.variables:
        for component in strategy.experimental_local_results(variable.value):
            assert np.all(np.isfinite(component.numpy()))


def test_statistics_are_averaged(strategy):
    inputs, targets = batch(0, size=16)

    def statistics(callbacks):
        keras.utils.set_random_seed(0)
        with strategy.scope():
            model = normalized()
            model.compile(make_lars(), "mse")
        model.fit(inputs, targets, 8, callbacks=callbacks, shuffle=False, verbose=0)
        return [
            np.stack([c.numpy() for c in strategy.experimental_local_results(v.value)])
            for v in model.non_trainable_variables
        ]

    own, averaged = statistics([]), statistics([keras_lars.callbacks.AverageStatistics()])
    for each, means in zip(own, averaged, strict=True):
        assert np.any(each[0] != each[1])
        assert_close(list(means), [np.mean(each, axis=0)] * REPLICAS)


def test_executions_of_several_steps_equal_one_device(strategy):
    def build():
        model = keras_lars.multi_worker.prepare(sequential())
        return compiled(lambda: model, gentle_lars(), steps_per_execution=2)

    # Five steps in an epoch: the last execution of each is a short one.
    inputs, targets = batch(0, size=40)

    def run(model):
        model.fit(inputs, targets, batch_size=8, epochs=2, shuffle=False, verbose=0)

    distributed, single = in_both(strategy, build, run)
    assert int(single.optimizer.iterations.numpy()) == 10
    assert_close(distributed.get_weights(), single.get_weights())


def test_a_prepared_model_is_wrapped_for_mixed_precision(strategy):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        with strategy.scope():
            model = keras_lars.multi_worker.prepare(normalized())
            model.compile(make_lars(), "mse")
            assert type(model.optimizer) is keras_lars.LossScaleOptimizer
            assert type(model.optimizer.inner_optimizer) is keras_lars.LARS
            own = keras_lars.LossScaleOptimizer(make_lars())
            model.compile(own, "mse")
            assert model.optimizer is own
            with pytest.raises(ValueError, match=r"must be a `keras_lars\.LossScaleOptimizer`"):
                model.compile(keras.optimizers.LossScaleOptimizer(make_lars()), "mse")
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("jit_compile", ["auto", False])
def test_a_missing_gradient_leaves_every_replica_alone(strategy, jit_compile):
    variables, optimizer = built(strategy, jit_compile=jit_compile)
    step = distributed_step(strategy, optimizer, variables)
    step(shares_of(0))
    before = list(zip(numbers(variables), numbers(optimizer.momentums), strict=True))
    with pytest.warns(UserWarning, match="Gradients do not exist.*weight"):
        step([[None, share[1], *[None] * (len(share) - 2)] for share in shares_of(1)])
    after = list(zip(numbers(variables), numbers(optimizer.momentums), strict=True))
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        if i == 1:
            assert np.all(np.not_equal(old, new))
        else:
            assert_equal(new, old)
    assert_replicas_agree(strategy, [*variables, *optimizer.momentums])


@pytest.mark.parametrize(
    ("jit_compile", "options"),
    [
        ("auto", {}),
        ("auto", {"gradient_accumulation_steps": 2}),
        (True, {}),
        (False, {"gradient_accumulation_steps": 2}),
    ],
    ids=["auto", "auto-accumulation", "True", "False-accumulation"],
)
def test_the_update_is_compiled(strategy, jit_compile, options):
    variables, optimizer = built(strategy, jit_compile=jit_compile, **options)
    step = distributed_step(strategy, optimizer, variables)
    for i in range(4):
        step(shares_of(i))
    must_compile = compiled_functions(step.graph(shares_of(0)))
    # One function at least for each shape.
    assert len(must_compile) >= len(set(SHAPES)) if jit_compile else not must_compile
    assert step.traced.experimental_get_tracing_count() == 1


def test_apply_outside_of_a_replica_raises(strategy):
    with strategy.scope():
        variable = keras.Variable(np.ones(3, "float32"))
        optimizer = make_lars()
        with pytest.raises(RuntimeError, match=r"`strategy\.run`"):
            optimizer.apply([tf.ones(3)], [variable])


@pytest.mark.parametrize("options", [{}, {"momentum": 0.0, "gradient_accumulation_steps": 2}])
def test_an_optimizer_that_was_made_outside_of_the_scope_of_its_model(strategy, options):
    optimizer = make_lars(jit_compile=False, **options)
    with strategy.scope():
        model = compiled(sequential, optimizer)
    message = r"'lars' must be made in the scope of .*/kernel, created in another scope$"
    with pytest.raises(ValueError, match=message):
        model.fit(*batch(0, 4), verbose=0)


def test_accumulators_need_a_strategy_with_values_of_each_replica():
    # With one accumulator for all, each replica would overwrite the sum of the other.
    strategy = tf.distribute.experimental.CentralStorageStrategy(["CPU:0", "CPU:1"], "CPU:0")
    with strategy.scope():
        variable = keras.Variable(np.ones(3, "float32"))
        make_lars().build([variable])
        with pytest.raises(ValueError, match=r"differ by replica.*Received: CentralStorage"):
            make_lars(gradient_accumulation_steps=2).build([variable])
