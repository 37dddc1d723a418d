"""If all replicas have the same tensor as a gradient, it counts once for each of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import REPLICAS
from support.models import assert_close, make_variable, numbers

import keras_lars

pytestmark = pytest.mark.slow

GRADIENTS = [np.array([[0.5, -1.0]], "float32"), np.array([0.25], "float32")]
OPTIONS = {
    "plain": {},
    "clipped": {"global_clipnorm": 0.5},
    "accumulated": {"gradient_accumulation_steps": 2},
    "averaged": {"use_ema": True, "ema_overwrite_frequency": 1},
}


def make(**options):
    variables = [make_variable("kernel", [[3.0, 4.0]]), make_variable("bias", [1.0])]
    optimizer = keras_lars.LARS(0.5, trust_coefficient=0.1, jit_compile=False, **options)
    optimizer.build(variables)
    return variables, optimizer


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_shared_gradient_is_summed(strategy, options, graph):
    alone, single = make(**options)
    with strategy.scope():
        variables, optimizer = make(**options)
    shared = [tf.constant(g) for g in GRADIENTS]

    def step():
        strategy.run(lambda: optimizer.apply(shared, variables))

    run = tf.function(step, autograph=False) if graph else step
    for _ in range(4):
        run()
        single.apply([REPLICAS * g for g in GRADIENTS], alone)
    assert_close(numbers(variables), numbers(alone))
    assert numbers([optimizer.iterations]) == numbers([single.iterations])
    for variable in variables:
        replicas = [v.numpy() for v in strategy.experimental_local_results(variable.value)]
        assert len({replica.tobytes() for replica in replicas}) == 1


def test_shared_and_separate_gradients(strategy):
    alone, single = make()
    with strategy.scope():
        variables, optimizer = make()

    def step():
        replica = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.float32)
        optimizer.apply([tf.constant(GRADIENTS[0]), tf.reshape(replica, [1])], variables)

    kept = tf.constant(GRADIENTS[0])
    for _ in range(2):
        strategy.run(step)
        strategy.run(lambda: optimizer.apply([kept, tf.constant(GRADIENTS[1])], variables))
        single.apply([REPLICAS * GRADIENTS[0], np.float32([sum(range(REPLICAS))])], alone)
        single.apply([REPLICAS * g for g in GRADIENTS], alone)
    assert_close(numbers(variables), numbers(alone))


def test_inside_loss_scaling(strategy):
    alone, single = make()
    with strategy.scope():
        variables, inner = make()
        optimizer = keras_lars.LossScaleOptimizer(inner, initial_scale=4.0)
        optimizer.build(variables)
    shared = [tf.constant(4 * g) for g in GRADIENTS]
    strategy.run(lambda: optimizer.apply(shared, variables))
    single.apply([REPLICAS * g for g in GRADIENTS], alone)
    assert_close(numbers(variables), numbers(alone))


@pytest.mark.parametrize(("options", "counted"), [({}, 1), ({"clipvalue": 9.0}, REPLICAS)])
def test_keras_sgd_counts_it_once_unless_it_computes_with_it_first(strategy, options, counted):
    """Although a limit of 9 clips nothing, the result changes: SGD is not an example to follow."""
    with strategy.scope():
        variable = keras.Variable([1.0])
        optimizer = keras.optimizers.SGD(0.5, **options)
        optimizer.build([variable])
    shared = tf.constant([1.0])
    strategy.run(lambda: optimizer.apply([shared], [variable]))
    assert variable.numpy() == 1 - 0.5 * counted
