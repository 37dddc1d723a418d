"""One bad element of a gradient visibly ruins its whole variable, and no other variable.

This needs care: an infinite norm makes the ratio 0, so all other elements would stay as they are,
and `clipvalue` would turn an infinity into an ordinary number.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.helpers import make_variables, to_numpy, to_tensors

import keras_lars
from keras_lars._update_rule import MOMENTUM_FORMS

BAD = ["poisoned", "poisoned_unadapted", "poisoned_zero", "poisoned_scalar"]
GOOD = ["healthy", "healthy_unadapted", "healthy_zero", "healthy_scalar"]


def make_data(bad):
    arrays, gradients = {}, []
    for path in BAD + GOOD:
        shape = () if "scalar" in path else (3, 2)
        arrays[path] = np.zeros(shape) if "zero" in path else np.full(shape, 2.0)
        gradient = np.full(shape, 0.5)
        if path in BAD:
            gradient[(1, 1) if shape else ()] = bad
        gradients.append(gradient)
    return arrays, gradients


def check_one_step(bad, dtype="float32", learning_rate=1.0, function=False, **options):
    arrays, gradients = make_data(bad)
    variables = make_variables(arrays, dtype)
    optimizer = keras_lars.LARS(learning_rate, exclude_from_layer_adaptation="unadapted", **options)
    optimizer.build(variables)
    apply = tf.function(optimizer.apply) if function else optimizer.apply
    apply(to_tensors(gradients, variables))
    slots = optimizer.momentums or [None] * len(variables)
    for variable, slot in zip(variables, slots, strict=True):
        for kind, value in [("weights", variable), ("velocity", slot)]:
            if value is None:
                continue
            ruined, case = np.isnan(to_numpy(value)), f"{kind} of {variable.path}"
            if variable.path in BAD:
                assert ruined.all(), case
            else:
                assert not ruined.any(), case


@pytest.mark.parametrize("jit_compile", ["auto", False])
@pytest.mark.parametrize("form", MOMENTUM_FORMS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_every_form(bad, form, jit_compile):
    in_norm = form == "ratio_of_update"
    check_one_step(bad, momentum_form=form, decay_in_norm=in_norm, jit_compile=jit_compile)


OPTIONS = [
    {"trust_clip": True},
    {"trust_clip": True, "learning_rate": 0.0},
    {"learning_rate": 0.0},
    {"momentum": 0},
    {"momentum": 0, "learning_rate": 0.0},
    {"nesterov": True},
    {"decay_in_norm": True},
    {"clipvalue": 0.1},
    {"clipvalue": 0.1, "momentum": 0, "trust_clip": True},
    {"clipnorm": 0.1},
    {"weight_decay": 0},
    {"epsilon": 1.0},
    {"zero_weight_ratio": None, "zero_gradient_ratio": None},
    {"zero_weight_ratio": 0.0, "zero_gradient_ratio": 0.0},
    {"unadapted_learning_rate_multiplier": 0.0},
    {"loss_scale_factor": 8.0},
    {"record_trust_ratios": True},
    {"dtype": "float16"},
    {"dtype": "bfloat16"},
    {"dtype": "float64"},
    {"function": True},
    {"function": True, "clipvalue": 0.1},
]


@pytest.mark.parametrize("jit_compile", ["auto", False])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_every_option(bad, options, jit_compile):
    check_one_step(bad, jit_compile=jit_compile, **options)


@pytest.mark.parametrize("jit_compile", ["auto", False])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_global_clipnorm_ruins_at_least_the_variable_itself(bad, jit_compile):
    """The global norm has all gradients in it: others may be ruined too, but this one must be."""
    ruined, healthy = make_variables({"ruined": [2.0, 2.0], "healthy": [2.0, 2.0]})
    optimizer = keras_lars.LARS(global_clipnorm=1.0, jit_compile=jit_compile)
    optimizer.apply(to_tensors([[bad, 1.0], [1.0, 1.0]], [ruined, healthy]), [ruined, healthy])
    assert np.isnan(to_numpy(ruined)).all()
    assert np.isnan(to_numpy(optimizer.momentums[0])).all()


@pytest.mark.parametrize("jit_compile", ["auto", False])
@pytest.mark.parametrize("clip", [{}, {"clipvalue": 0.1}])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_indexed_slices(bad, clip, jit_compile):
    (table,) = make_variables({"table": np.ones((4, 2))})
    optimizer = keras_lars.LARS(jit_compile=jit_compile, **clip)
    slices = tf.IndexedSlices([[bad, 1.0], [1.0, 1.0]], [2, 2], dense_shape=[4, 2])
    optimizer.apply([slices], [table])
    assert np.isnan(to_numpy(table)).all()
    assert np.isnan(to_numpy(optimizer.momentums[0])).all()


@pytest.mark.parametrize("jit_compile", ["auto", False])
@pytest.mark.parametrize("clip", [{}, {"clipvalue": 0.1}])
def test_one_micro_batch_of_several(clip, jit_compile):
    variables = make_variables({"bad": [2.0, 2.0], "good": [2.0, 2.0]})
    optimizer = keras_lars.LARS(gradient_accumulation_steps=2, jit_compile=jit_compile, **clip)
    for bad in (np.inf, 1.0):
        optimizer.apply(to_tensors([[bad, 1.0], [1.0, 1.0]], variables), variables)
    assert np.isnan(to_numpy(variables[0])).all()
    assert np.isfinite(to_numpy(variables[1])).all()


class Root(keras.layers.Layer):
    """A layer whose value is always finite, but whose gradient is infinite for zero weights."""

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(2,), initializer=keras.initializers.Constant(0.0))

    def call(self, x):
        return keras.ops.sum(x * keras.ops.sqrt(self.kernel), axis=-1, keepdims=True)


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", ["auto", False])
def test_terminate_on_nan_stops_training(jit_compile):
    model = keras.Sequential([keras.Input((2,)), Root()])
    model.layers[0].kernel.assign([0.0, 1.0])
    # Only the first sample has the feature whose weight gets the infinite gradient, and the target
    # of 3 pushes that weight up. If the gradient were clipped, the weight would become positive,
    # and training would continue.
    features = np.array([[1.0, 1.0]] + [[0.0, 1.0]] * 5, np.float32)
    targets = np.full((6, 1), 3.0)
    optimizer = keras_lars.LARS(clipvalue=0.1, jit_compile=jit_compile)
    model.compile(optimizer, "mse")
    model.fit(
        features,
        targets,
        batch_size=1,
        shuffle=False,
        epochs=2,
        verbose=0,
        callbacks=[keras.callbacks.TerminateOnNaN()],
    )
    assert int(optimizer.iterations) == 2  # the loss is finite at the first step, but not later
