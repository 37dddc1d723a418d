"""Two replicas under MirroredStrategy do what one device does with the same global batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from models import (
    assert_close,
    assert_equal,
    batch,
    compiled,
    make_variable,
    normal,
    numbers,
    sequential,
)

import keras_lars

# Many of one shape, as in a real network: with all shapes different, slots that were mixed up
# between variables of one shape would go unnoticed.
SHAPES = [(2, 3)] * 3 + [(3,)] * 3 + [()] * 2


def falling_rate():
    return keras.optimizers.schedules.PolynomialDecay(0.5, 6, 0.125, power=2.0)


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
        first, second = strategy.experimental_local_results(variable.value)
        assert first.device != second.device
        assert_equal([first.numpy()], [second.numpy()])


OPTIONS = {
    "classic": {},
    "plain ops": {"jit_compile": False},
    "fixed rate": {"learning_rate": 0.5},
    "nesterov": {"nesterov": True, "momentum_form": "learning_rate_outside"},
    "ratio outside": {"momentum_form": "ratio_outside", "decay_in_norm": True, "trust_clip": True},
    "no momentum": {"momentum": 0},
    "exclusions": {"exclude_from_layer_adaptation": keras_lars.rank_at_most(1)},
    "clipnorm": {"clipnorm": 0.25},
    "global_clipnorm": {"global_clipnorm": 0.25},
    "clipvalue": {"clipvalue": 0.125},
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
CLIPPED = [name for name in OPTIONS if "clip" in name and name != "ratio outside"]


def make_variables():
    return [make_variable(f"layer_{i}/weight", normal([1, i], s)) for i, s in enumerate(SHAPES)]


def shares_of(step):
    """Each replica's gradients: not alike, so that the order of clipping and adding matters."""
    return [
        [normal([2, replica, step, i], shape) for i, shape in enumerate(SHAPES)]
        for replica in range(2)
    ]


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


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_a_custom_loop_equals_one_device(strategy, options):
    with strategy.scope():
        variables = make_variables()
        optimizer = make_lars(**options)
        optimizer.build(variables)
    alone = make_variables()
    single = make_lars(**options)
    single.build(alone)

    step = distributed_step(strategy, optimizer, variables)
    for i in range(4):
        shares = shares_of(i)
        step(shares)
        single.apply([tf.constant(a + b) for a, b in zip(*shares, strict=True)], alone)
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
            gradients = [tf.constant(a + b) for a, b in zip(*shares_of(i), strict=True)]
            optimizer.apply(gradients, variables)
        results.append(numbers(variables))
    difference = max(np.max(np.abs(a - b)) for a, b in zip(*results, strict=True))
    assert difference > 1e-3


# Sums of replicas add up to the sum of the batch in every version of Keras; early ones do not
# divide the mean of each replica by the number of replicas.
SUMMED = keras.losses.MeanSquaredError(reduction="sum")


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
    # The last batch of an epoch is a short one, and the rate changes at every step.
    inputs, targets = batch(0, size=20)
    model.fit(inputs, targets, batch_size=8, epochs=2, shuffle=False, verbose=0)


@pytest.mark.parametrize(
    "name",
    [
        "classic",
        "plain ops",
        "nesterov",
        "clipnorm",
        "global_clipnorm",
        "clipvalue",
        "overwriting average",
        "loss scale",
        "accumulation",
    ],
)
def test_fit_equals_one_device(strategy, name):
    distributed, single = in_both(
        strategy, lambda: compiled(sequential, make_lars(**OPTIONS[name]), loss=SUMMED), fit
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
        model.compile(make_lars(clipnorm=0.25), SUMMED)
        return model

    def run(model):
        model.fit(tokens, targets, batch_size=8, epochs=2, shuffle=False, verbose=0)

    distributed, single = in_both(strategy, build, run)
    assert_close(distributed.get_weights(), single.get_weights())
    assert_replicas_agree(strategy, distributed.trainable_variables)


def test_loss_scaling_around_lars_equals_one_device(strategy):
    def build():
        optimizer = keras.optimizers.LossScaleOptimizer(make_lars(), initial_scale=16.0)
        return compiled(sequential, optimizer, loss=SUMMED)

    distributed, single = in_both(strategy, build, fit)
    assert_close(distributed.get_weights(), single.get_weights())
    assert_close(
        numbers(distributed.optimizer.inner_optimizer.momentums),
        numbers(single.optimizer.inner_optimizer.momentums),
    )


@pytest.mark.parametrize("jit_compile", ["auto", False])
def test_a_missing_gradient_leaves_every_replica_alone(strategy, jit_compile):
    with strategy.scope():
        variables = make_variables()
        optimizer = make_lars(jit_compile=jit_compile)
        optimizer.build(variables)
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


@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 2}], ids=str)
@pytest.mark.parametrize("jit_compile", ["auto", True, False])
def test_the_update_is_compiled(strategy, jit_compile, options):
    with strategy.scope():
        variables = make_variables()
        optimizer = make_lars(jit_compile=jit_compile, **options)
        optimizer.build(variables)
    step = distributed_step(strategy, optimizer, variables)
    for i in range(4):
        step(shares_of(i))
    must_compile = [
        function.signature.name
        for function in step.graph(shares_of(0)).as_graph_def().library.function
        if function.attr["_XlaMustCompile"].b
    ]
    # One function at least for each shape.
    assert len(must_compile) >= len(set(SHAPES)) if jit_compile else not must_compile
    assert step.traced.experimental_get_tracing_count() == 1


def test_apply_outside_of_a_replica_raises(strategy):
    with strategy.scope():
        variable = keras.Variable(np.ones(3, "float32"))
        optimizer = make_lars()
        with pytest.raises(RuntimeError, match=r"`strategy\.run`"):
            optimizer.apply([tf.ones(3)], [variable])
