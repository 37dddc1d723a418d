"""State follows its variable if a reloaded model lists the variables in another order."""

import keras
import numpy as np
import pytest
from support.helpers import at_least

import keras_lars
from keras_lars._variable_order import Described, described, new_positions

A, B = Described("a/kernel", (2, 3)), Described("b/kernel", (2, 3))
BIAS, SCALE = Described("a/bias", (3,)), Described("a/scale", ())


@pytest.mark.parametrize(
    ("saved", "now", "positions"),
    [
        ([A, BIAS], [A, BIAS], [0, 1]),
        ([A, BIAS, SCALE], [SCALE, A, BIAS], [1, 2, 0]),
        ([A, B], [B, A], [1, 0]),  # by path
        # By name and shape, in order, if a path has changed.
        ([A, BIAS, B], [BIAS, Described("c/kernel", (2, 3)), A], [1, 0, 2]),
        # By shape, if variables were renamed.
        ([A, BIAS], [Described("a/b", (3,)), Described("a/w", (2, 3))], [1, 0]),
        ([A, BIAS], [A], None),
        ([A, BIAS], [A, SCALE], None),
    ],
)
def test_new_positions_of_variables(saved, now, positions):
    assert new_positions(saved, now) == positions


@pytest.mark.parametrize("rows", [3, [["a"]], [["a", 3]], [["a", ["b"]]]])
def test_a_malformed_list_of_variables(rows):
    with pytest.raises((TypeError, ValueError)):
        described(rows)


def quantized():
    layers = [keras.layers.Dense(5, "relu", name="one"), keras.layers.Dense(5, name="two")]
    model = keras.Sequential([keras.Input((5,)), *layers])
    model.quantize("float8")
    return model


def by_layer(model):
    """The velocities of kernels and biases, by layer and name."""
    layer = {id(v): layer.name for layer in model.layers for v in layer.trainable_variables}
    variables = zip(model.trainable_variables, model.optimizer.momentums, strict=True)
    return {
        (layer[id(v)], v.name): velocity.numpy()
        for v, velocity in variables
        if velocity is not None
    }


# NumPy warns of Keras's copies of float8, and Keras of layers that cannot be quantized.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Layer InputLayer")
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="one backend is enough")
@pytest.mark.skipif(not at_least(keras, "3.12"), reason="float8 of a model came with Keras 3.12")
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_a_model_in_float8_resumes(is_wrapped, tmp_path):
    """Quantizing adds the scales after the kernel, but a loaded model creates them first."""
    model = quantized()
    # A variable in an exclusion rule is saved in the same way.
    biases = [v for v in model.trainable_variables if v.name == "bias"]
    optimizer = keras_lars.LARS(1.0, exclude_from_layer_adaptation=[biases[1]])
    if is_wrapped:
        optimizer = keras_lars.LossScaleOptimizer(optimizer)
    model.compile(optimizer, "mse")
    x = np.linspace(-1, 1, 40, dtype="float32").reshape(8, 5)
    model.fit(x, x**2, batch_size=4, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    order = [[v.name for v in each.trainable_variables] for each in (model, loaded)]
    assert order[0] != order[1]  # otherwise this test shows nothing

    inner = [getattr(m.optimizer, "inner_optimizer", m.optimizer) for m in (model, loaded)]
    assert int(inner[0].iterations) == int(inner[1].iterations) == 4
    excluded = [
        [row.path for row in o.variable_table() if row.adaptation_rule.startswith("variable")]
        for o in inner
    ]
    assert [[path.split("/")[-2:] for path in paths] for paths in excluded] == [
        [["two", "bias"]]
    ] * 2
    model.optimizer, loaded.optimizer = inner
    before, after = by_layer(model), by_layer(loaded)
    assert before.keys() == after.keys()
    assert len(before) == 4
    for key, velocity in before.items():
        assert np.any(velocity)
        np.testing.assert_array_equal(after[key], velocity)
