"""Each fault of Keras that `keras_lars._keras` works around, shown on Keras's own SGD.

If a test fails here, Keras has been fixed. The workaround of that number can go once the oldest
supported Keras has the fix. Until then the test of a fixed fault states the version that fixed it.
"""

import copy
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.helpers import at_least

import keras_lars


def run_on_two_replicas(strategy, **optimizer_arguments):
    """Three ones after an update under MirroredStrategy, whose replicas have gradients 1 and 3."""
    with strategy.scope():
        variable = keras.Variable(np.ones(3, "float32"))
        optimizer = keras.optimizers.SGD(**optimizer_arguments)
        optimizer.build([variable])
    share = strategy.experimental_distribute_values_from_function(
        lambda context: tf.fill([3], 1.0 + 2.0 * context.replica_id_in_sync_group)
    )

    @tf.function
    def step():
        strategy.run(lambda gradient: optimizer.apply([gradient], [variable]), args=(share,))

    step()
    return variable.numpy()


def test_1_the_gradient_of_each_replica_is_clipped(strategy):
    clipped = run_on_two_replicas(strategy, learning_rate=1.0, clipvalue=2.0)
    np.testing.assert_allclose(clipped, 1.0 - (1.0 + 2.0))  # and not 1 - min(1 + 3, 2)


def test_2_accumulation_fails_under_mirrored_strategy(strategy):
    with pytest.raises(RuntimeError, match="merge_call"):
        run_on_two_replicas(strategy, learning_rate=1.0, gradient_accumulation_steps=2)


def test_3_schedules_count_micro_batches():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0], [1.0, 0.0])
    optimizer = keras.optimizers.SGD(schedule, gradient_accumulation_steps=2)
    variable = keras.Variable([1.0])
    for _ in range(2):
        optimizer.apply([tf.ones(1)], [variable])
    np.testing.assert_allclose(variable.numpy(), 1.0)  # and not 0: the first update's rate is 1


def test_3_the_average_includes_micro_batches():
    options = {"use_ema": True, "ema_momentum": 0.5, "gradient_accumulation_steps": 2}
    optimizer = keras.optimizers.SGD(1.0, **options)
    variable = keras.Variable([1.0])
    optimizer.apply([tf.ones(1)], [variable])  # no update yet
    np.testing.assert_allclose(optimizer._model_variables_moving_average[0].numpy(), 1.0)


class Halve(keras.constraints.Constraint):
    def __call__(self, w):
        return 0.5 * w


def test_3_constraints_act_between_updates():
    variable = keras.Variable([1.0])
    variable.constraint = Halve()
    keras.optimizers.SGD(1.0, gradient_accumulation_steps=2).apply([tf.ones(1)], [variable])
    np.testing.assert_allclose(variable.numpy(), 0.5)  # and not 1: nothing was updated yet


def test_4_overwriting_by_the_average_fails_under_mirrored_strategy(strategy):
    options = {"learning_rate": 1.0, "use_ema": True, "ema_overwrite_frequency": 1}
    if at_least(keras, "3.16"):
        # The average starts with the weights after the first update.
        np.testing.assert_allclose(run_on_two_replicas(strategy, **options), 1.0 - (1.0 + 3.0))
    else:
        with pytest.raises(RuntimeError, match="merge_call"):
            run_on_two_replicas(strategy, **options)


def test_5_loss_scale_factor_fails_on_indexed_slices():
    slices = tf.IndexedSlices(tf.ones((1, 2)), tf.constant([0]), tf.constant([3, 2]))
    optimizer = keras.optimizers.SGD(loss_scale_factor=2.0)
    with pytest.raises(TypeError, match="IndexedSlices"):
        optimizer.apply([slices], [keras.Variable(np.ones((3, 2), "float32"))])


def test_5_float16_gradients_are_unscaled_in_float16():
    variable = keras.Variable([0.0])
    optimizer = keras.optimizers.SGD(1.0, loss_scale_factor=2.0**15)
    optimizer.apply([tf.constant([2.0**-14], "float16")], [variable])
    np.testing.assert_array_equal(variable.numpy(), 0.0)  # and not -(2 ** -29)


def test_6_weight_decay_moves_the_weights_before_the_update():
    variable = keras.Variable([1.0])
    keras.optimizers.SGD(0.5, weight_decay=0.1).apply([tf.zeros(1)], [variable])
    np.testing.assert_allclose(variable.numpy(), 1.0 - 0.5 * 0.1)


def test_7_the_state_of_another_optimizer_loads_silently():
    variable, state = keras.Variable([1.0]), {}
    source = keras.optimizers.SGD(0.5, momentum=0.9)
    source.apply([tf.ones(1)], [variable])
    source.save_own_variables(state)
    other = keras.optimizers.Adagrad()
    other.build([variable])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other.load_own_variables(state)
    # Adagrad takes the velocity for its sum of squares.
    assert [float(v.numpy().item()) for v in other.variables] == [1, 0.5, -0.5]


def test_7_a_copied_optimizer_loses_its_state():
    variable = keras.Variable([1.0])
    optimizer = keras.optimizers.SGD(0.5, momentum=0.9)
    optimizer.apply([tf.ones(1)], [variable])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it does warn
        copied = copy.deepcopy(optimizer)
    copied.build([variable])
    assert int(copied.iterations) == 0
    assert not np.any(copied.momentums[0].numpy())


def updates_counted(optimizer):
    """The number of updates that are counted for two batches, in data of unknown size."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer, "mse", jit_compile=False)
    batches = tf.data.Dataset.from_tensor_slices((np.ones((4, 1)), np.ones((4, 1)))).batch(2)
    with warnings.catch_warnings():
        # Keras before 3.16 warns of this, though nothing was interrupted.
        warnings.filterwarnings("ignore", message=".*ran out of data")
        model.fit(batches.filter(lambda x, y: True), shuffle=False, verbose=0)
    return int(optimizer.iterations)


@pytest.mark.slow
def test_8_the_end_of_the_data_counts_as_an_update():
    repaired = at_least(keras, "3.16")
    assert updates_counted(keras.optimizers.SGD()) == (2 if repaired else 3)
    assert updates_counted(keras_lars.LARS()) == 2


# 9 and 10 need several workers: `test_multi_worker.py`.


@pytest.mark.slow
def test_11_an_infinity_on_the_second_replica_ruins_the_weights(strategy):
    with strategy.scope():
        variable = keras.Variable(np.ones(3, "float32"))
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
        optimizer.build([variable])
    share = strategy.experimental_distribute_values_from_function(
        lambda context: tf.fill([3], [1.0, np.inf][context.replica_id_in_sync_group])
    )

    @tf.function
    def step():
        strategy.run(lambda gradient: optimizer.apply([gradient], [variable]), args=(share,))

    step()
    assert not np.any(np.isfinite(variable.numpy()))
    assert optimizer.dynamic_scale.numpy() == 2.0**15  # and not half of it


def test_12_normalization_of_an_empty_batch_gives_nan():
    layer = keras.layers.BatchNormalization()
    layer(np.ones((0, 3), "float32"), training=True)
    assert np.all(np.isnan(layer.moving_mean.numpy()))


def test_21_averages_are_paired_by_position():
    variables = [keras.Variable([value]) for value in (1.0, 2.0)]
    optimizer = keras.optimizers.SGD(0.0, use_ema=True)
    optimizer.apply([tf.ones(1), tf.ones(1)], variables)
    optimizer.finalize_variable_values(variables[1:])  # the first one is frozen
    assert variables[1].numpy() == 1.0  # and not 2, its own average
