"""An optimizer that Keras builds without variables stays unbuilt, and can be built with some later.

Keras does so when it loads `.h5` files and, on JAX and torch, in a `fit` that trains nothing.
"""

import warnings

import keras
import numpy as np
import pytest
from support.models import FEATURES, assert_equal, batch, normal, numbers
from support.saving import no_warning

import keras_lars


def model_of_two_layers(optimizer=None, frozen=()):
    layers = [keras.layers.Dense(3, name="first"), keras.layers.Dense(1, name="second")]
    model = keras.Sequential([keras.Input((FEATURES,)), *layers])
    model.set_weights([normal([6, i], w.shape) for i, w in enumerate(model.get_weights())])
    for layer in layers:
        layer.trainable = layer.name not in frozen
    if optimizer is not None:
        compile_with(model, optimizer)
    return model


def compile_with(model, optimizer):
    # The loss is an object, since Keras's loader does not know "mse".
    model.compile(optimizer, keras.losses.MeanSquaredError(), run_eagerly=True)


def train(model, epochs=2):
    return model.fit(*batch(0), epochs=epochs, verbose=0, shuffle=False)


def make_lars(**options):
    return keras_lars.LARS(0.5, trust_coefficient=0.1, jit_compile=False, **options)


def test_building_without_variables_has_no_effect():
    optimizer = make_lars(exclude_from_weight_decay="kernel")
    optimizer.build([])
    assert not optimizer.built
    with pytest.raises(ValueError, match="needs a built optimizer"):
        optimizer.variable_table()
    variable = keras.Variable([[1.0]], name="kernel")
    optimizer.build([variable])
    assert [row.decayed for row in optimizer.variable_table()] == [False]
    with pytest.raises(ValueError, match="must match at least one"):
        make_lars(exclude_from_weight_decay="bias").build([variable])


RULES = {
    "pattern": lambda model: {"exclude_from_weight_decay": "bias"},
    "variable": lambda model: {"exclude_from_layer_adaptation": model.layers[0].kernel},
}
WRAPPERS = {"plain": lambda optimizer: optimizer, "scaled": keras_lars.LossScaleOptimizer}


@pytest.mark.slow
@pytest.mark.parametrize(("wrapper", "rule"), [("plain", "pattern"), ("scaled", "variable")])
def test_a_model_from_an_h5_file_continues_its_training(rule, wrapper, tmp_path):
    model = model_of_two_layers()
    compile_with(model, WRAPPERS[wrapper](make_lars(use_ema=True, **RULES[rule](model))))
    train(model)
    with no_warning():
        model.save(tmp_path / "m.h5")
        loaded = keras.models.load_model(tmp_path / "m.h5")
        assert_equal(numbers(loaded.optimizer.variables), numbers(model.optimizer.variables))
        assert int(loaded.optimizer.iterations) == 2
        # The loaded model can also be saved again before it trains.
        loaded.save(tmp_path / "m.keras")
        again = keras.models.load_model(tmp_path / "m.keras")
    ends = [train(each) and numbers(each.weights) for each in (model, loaded, again)]
    assert_equal(ends[1], ends[0])
    assert_equal(ends[2], ends[0])


@pytest.mark.slow
def test_state_that_keras_does_not_load_gives_a_warning(tmp_path):
    model = model_of_two_layers(keras.optimizers.LossScaleOptimizer(make_lars()))
    train(model)
    model.save(tmp_path / "m.h5")
    with pytest.warns(UserWarning, match=r"'lars' was not loaded.*keras_lars.LossScaleOptimizer"):
        loaded = keras.models.load_model(tmp_path / "m.h5")
    before = loaded.get_weights()
    train(loaded)
    assert not any(np.array_equal(a, b) for a, b in zip(before, loaded.get_weights(), strict=True))


@pytest.mark.slow
def test_16_such_a_model_with_sgd_cannot_train(tmp_path):
    """Fault 16 of Keras: this test fails once it is fixed."""
    model = model_of_two_layers(keras.optimizers.SGD(0.1, momentum=0.5))
    train(model)
    model.save(tmp_path / "m.h5")
    loaded = keras.models.load_model(tmp_path / "m.h5")
    assert len(loaded.optimizer.variables) < len(model.optimizer.variables)
    loaded.run_eagerly = True  # in a graph Keras 3.10 cannot print the variable in its message
    with pytest.raises(ValueError, match="Unknown variable"):
        train(loaded)


@pytest.mark.slow
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_model_without_trainable_variables(wrapper):
    rule = "first"
    optimizer = WRAPPERS[wrapper](make_lars(exclude_from_weight_decay=rule, use_ema=True))
    model = model_of_two_layers(optimizer, frozen=("first", "second"))
    before = model.get_weights()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The model does not have any trainable weights")
        history = train(model).history
    assert_equal(model.get_weights(), before)
    assert np.isfinite(history["loss"]).all()
    # Once a layer is trainable, the model trains.
    model.layers[0].trainable = True
    compile_with(model, WRAPPERS[wrapper](make_lars(exclude_from_weight_decay=rule)))
    train(model)
    assert not np.array_equal(model.get_weights()[0], before[0])


@pytest.mark.slow
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_pattern_that_matches_only_frozen_variables_gives_a_warning(wrapper, tmp_path):
    optimizer = make_lars(exclude_from_weight_decay="first")
    model = model_of_two_layers(WRAPPERS[wrapper](optimizer), frozen=("first",))
    expected = "`exclude_from_weight_decay='first'` matches only frozen variables.*first/k"
    with pytest.warns(UserWarning, match=expected) as caught:
        train(model)
    assert sum("frozen" in str(w.message) for w in caught) == 1
    assert "`keras_lars.optional('first')`" in str(caught[0].message)
    assert [row.decayed for row in optimizer.variable_table()] == [True, True]
    model.save(tmp_path / "m.keras")
    with pytest.warns(UserWarning, match=expected):
        keras.models.load_model(tmp_path / "m.keras")


def test_the_warning_in_a_custom_loop():
    model = model_of_two_layers(make_lars(exclude_from_weight_decay="first"), frozen=("first",))
    with pytest.warns(UserWarning, match="only frozen variables"):
        model.optimizer.build(model.trainable_variables)


@pytest.mark.slow
def test_an_optional_pattern_gives_no_warning():
    rule = keras_lars.optional("first")
    model = model_of_two_layers(make_lars(exclude_from_weight_decay=rule), frozen=("first",))
    with no_warning():
        train(model)


def test_a_pattern_that_matches_nothing_still_raises():
    model = model_of_two_layers(make_lars(exclude_from_weight_decay="third"), frozen=("first",))
    with pytest.raises(ValueError, match="must match at least one"):
        train(model)


def test_a_rule_that_is_a_frozen_variable_raises():
    model = model_of_two_layers(frozen=("first",))
    compile_with(model, make_lars(exclude_from_weight_decay=model.layers[0].kernel))
    with pytest.raises(ValueError, match=r"this one is frozen.*first/kernel"):
        train(model)
