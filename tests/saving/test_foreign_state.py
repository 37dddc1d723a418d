"""The state of another optimizer or of another momentum form is not loaded."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.models import (
    assert_equal,
    compiled,
    numbers,
    sequential,
    train,
)
from support.saving import make_lars, no_warning
from support.saving import trained as trained_by_default

# Tracing takes longer than a few eager steps, and the saved state is the same.
trained = functools.partial(trained_by_default, run_eagerly=True)

FOREIGN = {
    "SGD": (lambda: keras.optimizers.SGD(0.25, momentum=0.5), "(?i)lars"),
    "learning_rate_outside": (
        lambda: make_lars(learning_rate=0.25, momentum_form="learning_rate_outside"),
        "learning_rate_outside",
    ),
    "ratio_outside": (
        lambda: make_lars(learning_rate=0.25, momentum_form="ratio_outside"),
        "ratio_outside",
    ),
}


@functools.cache
def source_of(foreign, wrap=lambda optimizer: optimizer):
    """A trained model with that optimizer. Tests save it, and must not change it."""
    return trained(sequential, wrap(FOREIGN[foreign][0]()))


file_endings = pytest.mark.parametrize("ending", ["weights.h5", "keras"])


def save_file(model, path):
    (model.save if path.endswith(".keras") else model.save_weights)(path)


def assert_is_reset(optimizer):
    """Velocities and iteration are 0, and the learning rate is that of `make_lars`."""
    assert int(optimizer.iterations) == 0
    assert not any(np.any(momentum) for momentum in numbers(optimizer.momentums))
    assert float(optimizer.learning_rate) == 0.5


@file_endings
@pytest.mark.parametrize("foreign", FOREIGN)
def test_foreign_state_in_a_file_is_not_loaded(foreign, ending, tmp_path):
    source, (_, expected) = source_of(foreign), FOREIGN[foreign]
    path = str(tmp_path / f"model.{ending}")
    save_file(source, path)

    model = trained(sequential, make_lars(), steps=2)
    state = numbers(model.optimizer.variables)
    # As many variables with the same shapes: only the marker distinguishes the two.
    assert [v.shape for v in state] == [v.shape for v in numbers(source.optimizer.variables)]
    with pytest.warns(UserWarning, match=expected):
        model.load_weights(path)
    assert_is_reset(model.optimizer)
    assert_equal(model.get_weights(), source.get_weights())


@pytest.mark.slow
@file_endings
@pytest.mark.parametrize("foreign", FOREIGN)
def test_foreign_state_is_not_loaded_inside_loss_scaling(foreign, ending, tmp_path):
    # Keras's wrapper assigns what it finds in the file to the variables of the inner optimizer.
    source = source_of(foreign, keras.optimizers.LossScaleOptimizer)
    _, expected = FOREIGN[foreign]
    path = str(tmp_path / f"model.{ending}")
    save_file(source, path)

    model = trained(sequential, keras.optimizers.LossScaleOptimizer(make_lars()), steps=2)
    with pytest.warns(UserWarning, match=expected):
        model.load_weights(path)
    assert_is_reset(model.optimizer.inner_optimizer)
    assert_equal(model.get_weights(), source.get_weights())


@file_endings
def test_state_without_momentum_is_not_loaded_into_momentum(ending, tmp_path):
    source = trained(sequential, make_lars(momentum=0.0))
    path = str(tmp_path / f"model.{ending}")
    save_file(source, path)
    model = trained(sequential, make_lars(), steps=2)
    with pytest.warns(UserWarning, match="(?i)lars"):
        model.load_weights(path)
    assert_is_reset(model.optimizer)
    assert_equal(model.get_weights(), source.get_weights())


@pytest.mark.slow
@file_endings
def test_state_of_the_same_form_is_loaded_whatever_else_changed(ending, tmp_path):
    source = trained(sequential, make_lars())
    path = str(tmp_path / f"model.{ending}")
    save_file(source, path)
    model = trained(
        sequential, make_lars(name="other", nesterov=True, epsilon=0.5, clipnorm=1.0), steps=1
    )
    with no_warning():
        model.load_weights(path)
    assert_equal(numbers(model.optimizer.variables), numbers(source.optimizer.variables))


@file_endings
def test_lars_state_is_not_silently_loaded_into_sgd(ending, tmp_path):
    source = trained(sequential, make_lars())
    path = str(tmp_path / f"model.{ending}")
    save_file(source, path)
    model = trained(sequential, keras.optimizers.SGD(0.25, momentum=0.5), steps=2)
    state = numbers(model.optimizer.variables)
    with pytest.warns(UserWarning, match="(?i)sgd"):
        model.load_weights(path)
    assert_equal(numbers(model.optimizer.variables), state)
    assert_equal(model.get_weights(), source.get_weights())


@pytest.mark.parametrize("build_first", [True, False])
@pytest.mark.parametrize("foreign", FOREIGN)
def test_foreign_state_in_a_checkpoint_leaves_the_slots_alone(foreign, build_first, tmp_path):
    source = source_of(foreign)
    path = tf.train.Checkpoint(model=source, optimizer=source.optimizer).save(tmp_path / "foreign")

    model = compiled(sequential, make_lars(), seed=100, run_eagerly=True)
    if build_first:
        train(model, 0, 2)
        slots = numbers(model.optimizer.momentums)
    with pytest.warns(UserWarning, match="not loaded"):
        restored = tf.train.Checkpoint(model=model, optimizer=model.optimizer).restore(path)
    restored.expect_partial()
    if not build_first:
        model.optimizer.build(model.trainable_variables)
        slots = [np.zeros_like(slot) for slot in numbers(model.optimizer.momentums)]
    assert_equal(numbers(model.optimizer.momentums), slots)
    assert_equal(model.get_weights(), source.get_weights())


def test_a_checkpoint_without_momentum_is_not_loaded_into_momentum(tmp_path):
    source = trained(sequential, make_lars(momentum=0.0))
    path = tf.train.Checkpoint(model=source, optimizer=source.optimizer).save(tmp_path / "plain")
    model = trained(sequential, make_lars(), steps=2)
    state = numbers(model.optimizer.variables)
    with pytest.warns(UserWarning, match="not loaded"):
        tf.train.Checkpoint(model=model, optimizer=model.optimizer).restore(path).expect_partial()
    assert_equal(numbers(model.optimizer.variables), state)


def test_without_momentum_the_forms_share_their_state(tmp_path):
    source = trained(sequential, make_lars(momentum=0.0))
    path = str(tmp_path / "model.weights.h5")
    source.save_weights(path)
    model = trained(sequential, make_lars(momentum=0.0, momentum_form="ratio_outside"), steps=1)
    with no_warning():
        model.load_weights(path)
    assert_equal(numbers(model.optimizer.variables), numbers(source.optimizer.variables))
