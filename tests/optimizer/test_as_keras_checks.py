"""What Keras tests for its own optimizers, with LARS instead of SGD.

Keras's tests are `sgd_test`, `lamb_test`, `optimizer_test`, `optimizer_sparse_test`,
`loss_scale_optimizer_test`, `multi_optimizer_test` and `optimizer_distribute_test`. Other files
here test most of what they check, and this file tests the rest:

| behavior                                           | where                                     |
|----------------------------------------------------|-------------------------------------------|
| configuration, written and read                    | test_configuration                        |
| one step, ten steps against recorded numbers       | test_update_rule, test_against_reference  |
| invalid momentum and other arguments               | test_arguments                            |
| weight decay, and what is excluded from it         | test_selection, test_variables            |
| clipnorm, clipvalue, global_clipnorm               | test_clipping                             |
| only one kind of clipping                          | test_arguments, here (each pair)          |
| moving average, overwriting, `finalize`, `fit`     | test_moving_average                       |
| `SwapEMAWeights`                                   | here                                      |
| constraints                                        | test_accumulation, here (zero gradient)   |
| accumulation, with overwriting, decay and averages | test_accumulation, test_gradients         |
| missing gradients, none at all                     | test_gradients, here (an empty list)      |
| `overwrite_with_gradient`                          | test_gradients, here (inside loss scaling)|
| sparse gradients                                   | test_gradients                            |
| `get`, `compile` by name                           | here                                      |
| `iterations`                                       | test_loops, here (its type)               |
| `set_weights`                                      | test_variables, here (before `build`)     |
| pickle, `tf.train.Checkpoint`                      | test_bare_optimizer, test_resuming        |
| callable rates, schedules, assigned rates          | test_learning_rates, here (`assign`)      |
| `tf.Variable` and Keras's variables                | test_loops, here (in one call)            |
| names                                              | here                                      |
| static and dynamic loss scaling                    | test_loss_scaling, here (the rest)        |
| `stateless_apply`                                  | backend_script (JAX), here (refused)      |
| `tf.distribute`                                    | test_distribute                           |
| retracing, recompiling                             | test_compilation                          |
| several optimizers for one model                   | here                                      |
| layers that do not train, `train_step`, callbacks  | here                                      |
"""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.behavior import (
    RATE,
    assert_follows,
    fit,
    gradients_of,
    make_lars,
    make_references,
    make_variables,
    tensors,
)
from support.helpers import at_least
from support.models import (
    assert_close,
    assert_equal,
    batch,
    compiled,
    functional,
    make_variable,
    numbers,
    sequential,
    train,
)

import keras_lars


@pytest.mark.parametrize(
    "pair", list(itertools.combinations(["clipnorm", "clipvalue", "global_clipnorm"], 2))
)
def test_two_kinds_of_clipping_are_refused(pair):
    with pytest.raises(ValueError, match="Only one of `clipnorm`"):
        keras_lars.LARS(**dict.fromkeys(pair, 1.0))


def test_it_is_found_by_its_registered_name():
    found = keras.optimizers.get({"class_name": "keras_lars>LARS", "config": {}})
    assert found.get_config() == keras_lars.LARS().get_config()
    optimizer = keras_lars.LARS()
    assert keras.optimizers.get(optimizer) is optimizer
    # A serialized optimizer keeps its arguments and its name.
    config = keras.optimizers.serialize(keras_lars.LARS(2.0, name="mine"))
    assert keras.optimizers.get(config).name == "mine"
    assert float(keras.optimizers.get(config).learning_rate) == 2.0


@pytest.mark.slow
def test_compile_by_name():
    if at_least(keras, "3.16"):  # where a string can only name Keras's own classes
        with pytest.raises(ValueError, match="Could not interpret optimizer"):
            compiled(sequential, "keras_lars>LARS")
        return
    found = keras.optimizers.get("keras_lars>LARS")
    assert found.get_config() == keras_lars.LARS().get_config()
    model = compiled(sequential, "keras_lars>LARS")
    train(model, 0, 1)
    assert isinstance(model.optimizer, keras_lars.LARS)
    assert int(model.optimizer.iterations) == 1


def test_names():
    assert keras_lars.LARS().name == "lars"
    automatic = [keras_lars.LARS(name=None).name for _ in range(2)]
    assert len(set(automatic)) == 2
    assert all(name.startswith("lars") for name in automatic)
    variables, optimizer = make_variables(), make_lars(name="mine", use_ema=True)
    optimizer.build(variables)
    paths = [variable.path for variable in optimizer.variables]
    assert len(set(paths)) == len(paths)
    assert all(path.startswith("mine/") for path in paths)


def test_iterations_is_a_non_trainable_variable():
    optimizer = make_lars()
    assert isinstance(optimizer.iterations, keras.Variable)
    assert not optimizer.iterations.trainable
    assert "int" in optimizer.iterations.dtype
    assert any(variable is optimizer.iterations for variable in optimizer.variables)
    assert int(optimizer.iterations) == 0


def test_an_empty_list_of_gradients_is_no_update():
    optimizer = make_lars()
    optimizer.apply([], [])
    assert int(optimizer.iterations) == 0


def test_set_weights_needs_a_built_optimizer():
    with pytest.raises(ValueError, match="not yet been built"):
        make_lars().set_weights([np.array(1)])


def test_replacing_a_number_by_a_schedule_removes_the_variable():
    optimizer = make_lars()
    before = len(optimizer.variables)
    optimizer.learning_rate = keras.optimizers.schedules.ExponentialDecay(RATE, 1, 0.5)
    assert len(optimizer.variables) == before - 1
    variables, references = make_variables(), make_references()
    for i in range(2):
        optimizer.apply(tensors(gradients_of(i)), variables)
        for reference, gradient in zip(references, gradients_of(i), strict=True):
            reference.step(gradient, RATE * 0.5**i)
    assert_follows(variables, optimizer, references)


def test_the_variable_of_the_rate_can_be_assigned():
    optimizer, variables, references = make_lars(), make_variables(), make_references()
    for i, rate in enumerate([0.5, 0.125]):
        optimizer.learning_rate.assign(rate)
        optimizer.apply(tensors(gradients_of(i)), variables)
        for reference, gradient in zip(references, gradients_of(i), strict=True):
            reference.step(gradient, rate)
    assert_follows(variables, optimizer, references)


def test_keras_and_tensorflow_variables_in_one_call():
    ours, twins = make_variables(), make_variables()
    mixed = [tf.Variable(v.value, name="native") if i % 2 else v for i, v in enumerate(ours)]
    optimizer, other = make_lars(), make_lars()
    for i in range(2):
        optimizer.apply_gradients(zip(tensors(gradients_of(i)), mixed, strict=True))
        other.apply(tensors(gradients_of(i)), twins)
    assert_equal(numbers(mixed), numbers(twins))
    before = mixed[1].numpy()
    with pytest.warns(UserWarning, match="Gradients do not exist for variables"):
        optimizer.apply_gradients([(g, v) for g, v in zip([tf.ones((2, 3)), None], mixed)])
    np.testing.assert_array_equal(mixed[1].numpy(), before)
    assert int(optimizer.iterations) == 3


def test_stateless_apply_is_refused_on_tensorflow():
    variables, optimizer = make_variables(), make_lars()
    optimizer.build(variables)
    before = numbers(variables)
    state = [v.value for v in optimizer.variables], [v.value for v in variables]
    with pytest.raises(ValueError, match="not supported with the TensorFlow backend"):
        optimizer.stateless_apply(state[0], tensors(gradients_of(0)), state[1])
    assert_equal(numbers(variables), before)


def test_constraints_act_on_variables_with_zero_gradients():
    variable = make_variable("v", [[-1.0, 2.0]], constraint=keras.constraints.NonNeg())
    make_lars(weight_decay=0.0).apply([tf.zeros((1, 2))], [variable])
    np.testing.assert_array_equal(variable.numpy(), [[0.0, 2.0]])


@pytest.mark.slow
def test_frozen_layers_do_not_change():
    model = compiled(functional, make_lars())
    for name in ("left", "batch_normalization"):
        (layer,) = [layer for layer in model.layers if layer.name.startswith(name)]
        layer.trainable = False
    model.compile(make_lars(), "mse", jit_compile=False)
    frozen = model.non_trainable_weights
    before, moving = numbers(frozen), numbers(model.trainable_weights)
    fit(model, epochs=2)
    assert len(frozen) == 6
    assert_equal(numbers(frozen), before)
    assert len(model.optimizer.momentums) == len(moving) == 4
    assert not any(np.array_equal(*pair) for pair in zip(numbers(model.trainable_weights), moving))


class OwnStep(keras.Model):
    """A model with its own training step in `fit`."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, inputs, training=False):
        return self.model(inputs, training=training)

    def train_step(self, data):
        inputs, targets = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(inputs, training=True) - targets) ** 2)
        gradients = tape.gradient(loss, [v.value for v in self.trainable_variables])
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}


@pytest.mark.slow
def test_an_overridden_train_step():
    usual = compiled(sequential, make_lars())
    inner = compiled(sequential, make_lars())
    own = OwnStep(inner)
    own(batch(0)[0])
    own.compile(make_lars(), jit_compile=False)
    for model in (usual, own):
        fit(model, epochs=2)
    assert_close(inner.get_weights(), usual.get_weights(), tolerance=1e-5)


@pytest.mark.slow
def test_averages_are_swapped_in_for_evaluation():
    model = compiled(sequential, make_lars(use_ema=True, ema_momentum=0.5))
    seen = []
    record = keras.callbacks.LambdaCallback(
        on_test_begin=lambda logs: seen.append(numbers(model.trainable_variables)),
        on_train_batch_end=lambda step, logs: seen.append(numbers(model.trainable_variables)),
    )
    # `record` follows `swap` in the list, so that it sees the averages.
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=False)
    plain = compiled(sequential, make_lars())
    fit(model, epochs=1, validation_data=batch(0), callbacks=[swap, record])
    fit(plain, epochs=1)
    first, last, tested = seen
    # The average starts at the weights after the first update, and then moves halfway.
    average = [0.5 * a + 0.5 * b for a, b in zip(first, last, strict=True)]
    assert_equal(last, numbers(plain.trainable_variables))
    assert_close(tested, average)


@pytest.mark.slow
def test_the_best_epoch_is_saved_and_restored(tmp_path):
    path = str(tmp_path / "best.keras")
    model = compiled(sequential, make_lars())
    states = []
    callbacks = [
        keras.callbacks.ModelCheckpoint(path, monitor="score", mode="max", save_best_only=True),
        keras.callbacks.EarlyStopping("score", mode="max", patience=2, restore_best_weights=True),
    ]

    class Score(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            logs["score"] = [1.0, 3.0, 2.0, 2.0][epoch]
            states.append(model.get_weights() + numbers(model.optimizer.variables))

    fit(model, epochs=4, callbacks=[Score(), *callbacks])
    assert_equal(model.get_weights(), states[1][: len(model.weights)])
    loaded = keras.models.load_model(path)
    assert_equal(loaded.get_weights() + numbers(loaded.optimizer.variables), states[1])


def test_scale_loss():
    assert make_lars(loss_scale_factor=1024.0).scale_loss(1.0) == 1024.0
    assert make_lars().scale_loss(1.0) == 1.0


WRAPPERS = pytest.mark.parametrize(
    "wrapper", [keras.optimizers.LossScaleOptimizer, keras_lars.LossScaleOptimizer]
)


@WRAPPERS
def test_loss_scaling_in_the_configuration(wrapper):
    optimizer = wrapper(make_lars(nesterov=True), initial_scale=8.0, dynamic_growth_steps=3)
    restored = wrapper.from_config(optimizer.get_config())
    assert restored.get_config() == optimizer.get_config()
    assert restored.inner_optimizer.nesterov
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is wrapper
    assert again.get_config() == optimizer.get_config()


@WRAPPERS
def test_the_scale_doubles_after_enough_finite_steps(wrapper):
    variables, references = make_variables(), make_references()
    optimizer = wrapper(make_lars(), initial_scale=4.0, dynamic_growth_steps=2)
    scales = []
    for i in range(4):
        scale = float(optimizer.dynamic_scale) if optimizer.built else 4.0
        optimizer.apply(tensors([scale * g for g in gradients_of(i)]), variables)
        scales.append(float(optimizer.dynamic_scale))
        for reference, gradient in zip(references, gradients_of(i), strict=True):
            reference.step(gradient, RATE)
    assert scales == [4.0, 8.0, 8.0, 16.0]
    assert_follows(variables, optimizer.inner_optimizer, references)


@WRAPPERS
def test_a_dynamic_scale_replaces_a_static_one(wrapper):
    variables, references = make_variables(), make_references()
    optimizer = wrapper(make_lars(loss_scale_factor=2.0), initial_scale=4.0)
    optimizer.apply(tensors([4.0 * g for g in gradients_of(0)]), variables)
    for reference, gradient in zip(references, gradients_of(0), strict=True):
        reference.step(gradient, RATE)
    assert_follows(variables, optimizer.inner_optimizer, references)


@WRAPPERS
def test_overwritten_variables_inside_loss_scaling(wrapper):
    variables, references = make_variables(), make_references()
    variables[1].overwrite_with_gradient = True
    optimizer = wrapper(make_lars(), initial_scale=4.0)
    gradients = [4.0 * g for g in gradients_of(0)]
    gradients[1] = gradients_of(0)[1]  # not a gradient, so not scaled
    optimizer.apply(tensors(gradients), variables)
    assert_close([numbers(variables)[1]], [gradients_of(0)[1]])
    for k in (0, 2, 3):
        references[k].step(gradients_of(0)[k], RATE)
        assert_close([numbers(variables)[k]], [references[k].w])


@pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="this Keras has no MultiOptimizer"
)
def test_several_optimizers_for_one_model():
    variables, twins = make_variables(), make_variables()
    lars, sgd = make_lars(), keras.optimizers.SGD(0.125)
    optimizer = keras.optimizers.MultiOptimizer(
        lambda variable: lars if "kernel" in variable.path else sgd
    )
    alone, other = make_lars(), keras.optimizers.SGD(0.125)
    for i in range(2):
        optimizer.apply(tensors(gradients_of(i)), variables)
        alone.apply(tensors(gradients_of(i)[:2]), twins[:2])
        other.apply(tensors(gradients_of(i)[2:]), twins[2:])
    assert_equal(numbers(variables), numbers(twins))
