"""Compiled functions are reused, but not kept forever, and not made in a temporary mode."""

import gc
import logging

import numpy as np
import pytest
import tensorflow as tf
from support.helpers import make_variables, run_code

import keras_lars
from keras_lars._backends import tensorflow_xla
from keras_lars._keras import tensorflow_context

pytestmark = pytest.mark.slow

SHAPES = [(7, 11), (11,)]


@pytest.fixture
def made(monkeypatch):
    """The clusters that are compiled from now on, beginning with an empty cache."""
    clusters, compiled = [], tensorflow_xla.compiled

    def counted(signatures):
        clusters.append(signatures)
        return compiled(signatures)

    monkeypatch.setattr(tensorflow_xla, "compiled", counted)
    functions = tensorflow_xla.CompiledUpdates()
    monkeypatch.setattr("keras_lars._backends.tensorflow_xla.COMPILED", functions)
    return clusters


def updated(shapes=SHAPES, **arguments):
    """The weights after one update, and the optimizer."""
    kernels = {f"kernel{i}": np.full(shape, 0.5) for i, shape in enumerate(shapes)}
    variables = make_variables(kernels)
    optimizer = keras_lars.LARS(1.0, **arguments)
    optimizer.apply([tf.fill(shape, 0.1) for shape in shapes], variables)
    return [v.numpy() for v in variables], optimizer


NUMBERS = {
    "momentum": 0.5,
    "weight_decay": 0.01,
    "trust_coefficient": 0.02,
    "epsilon": 0.3,
    "weight_norm_floor": 0.7,
    "zero_weight_ratio": 0.3,
    "zero_gradient_ratio": 0.6,
    "unadapted_learning_rate_multiplier": 0.25,
}


@pytest.mark.parametrize("name", NUMBERS)
def test_another_number_compiles_nothing(name, made):
    first, _ = updated(**NUMBERS)
    before = len(made)
    assert before == len(SHAPES)
    arguments = {**NUMBERS, name: NUMBERS[name] * 1.25}
    second, _ = updated(**arguments)
    assert len(made) == before
    # The update does use the other number.
    plain, _ = updated(**arguments, jit_compile=False)
    for ours, expected in zip(second, plain, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6)
    if name in ("weight_decay", "trust_coefficient", "epsilon"):
        assert any(np.any(a != b) for a, b in zip(first, second))


def test_a_number_of_0_makes_another_program(made):
    updated(**NUMBERS)
    before = len(made)
    updated(**{**NUMBERS, "epsilon": 0.0})
    assert len(made) == before + len(SHAPES)


def test_functions_that_no_optimizer_uses_are_kept_up_to_a_limit(made, monkeypatch):
    monkeypatch.setattr(tensorflow_xla, "_KEPT", 2)
    shapes = [(n,) for n in range(2, 7)]
    _, optimizer = updated(shapes)
    assert len(made) == len(shapes)
    variables = optimizer._trainable_variables
    optimizer.apply([tf.fill(v.shape, 0.1) for v in variables], list(variables))
    assert len(made) == len(shapes)  # an optimizer keeps all functions that it uses
    del optimizer, variables
    gc.collect()
    updated(shapes[-2:])
    assert len(made) == len(shapes)
    updated(shapes[:1])
    assert len(made) == len(shapes) + 1


def test_a_deterministic_update_is_compiled_separately(made, monkeypatch):
    answers = [False] * len(SHAPES) + [True] * len(SHAPES)
    monkeypatch.setattr(tensorflow_context, "is_deterministic", iter(answers).__next__)
    updated()
    updated()
    assert [signature.is_deterministic for (signature,) in made] == [False, False, True, True]


@pytest.fixture
def checked_numerics():
    tf.debugging.enable_check_numerics()
    yield
    tf.debugging.disable_check_numerics()


@pytest.mark.parametrize("is_built_before", [False, True])
def test_a_numerics_check_finds_an_infinity_and_leaves_nothing(is_built_before, made, request):
    _, before = updated()
    expected, compiled = before._trainable_variables[0].numpy(), len(made)
    optimizer = keras_lars.LARS(1.0, record_trust_ratios=True, clipvalue=1.0)
    variables = make_variables({"kernel0": np.full(SHAPES[0], 0.5)})
    if is_built_before:
        optimizer.build(variables)
    request.getfixturevalue("checked_numerics")
    optimizer.apply([tf.fill(SHAPES[0], 0.1)], variables)
    np.testing.assert_allclose(variables[0].numpy(), expected, rtol=1e-6)
    zero = make_variables({"zero": np.zeros(3)})
    keras_lars.LARS(1.0).apply([tf.zeros(3)], zero)  # its 0 / 0 raises no false alarm

    def step():
        optimizer.apply([tf.fill(SHAPES[0], 0.1) / tf.zeros(SHAPES[0])], variables)

    for run in (step, tf.function(step)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="Inf"):
            run()
    assert len(made) == compiled
    tf.debugging.disable_check_numerics()
    _, after = updated()
    assert after._update.compiled
    assert len(made) == compiled


def test_a_failure_of_xla_may_be_temporary(monkeypatch):
    functions = tensorflow_xla.CompiledUpdates()
    with monkeypatch.context() as patch:

        def fail(*arguments, **options):
            def function(x):
                raise tf.errors.ResourceExhaustedError(None, None, "no memory now")

            return function

        patch.setattr(tf, "function", fail)
        assert "no memory now" in functions.why_not_xla("CPU")
    assert functions.why_not_xla("CPU") is None
    monkeypatch.setattr(tf, "function", fail)
    assert functions.why_not_xla("CPU") is None  # the success is remembered


def test_eager_functions_do_not_prove_that_xla_works(monkeypatch):
    functions = tensorflow_xla.CompiledUpdates()
    monkeypatch.setattr(tf.config, "functions_run_eagerly", lambda: True)
    assert functions.why_not_xla("CPU") is None
    assert not functions._devices


RESET = """
import keras, numpy as np, keras_lars
from tensorflow.python.eager import context

def trained():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(keras_lars.LARS(1.0), "mse")
    model.fit(np.ones((8, 3)), np.ones((8, 2)), batch_size=4, verbose=0)
    return model.get_weights()

first = trained()
context._reset_context()
keras.backend.clear_session()
second = trained()
print("same:", all(np.array_equal(a, b) for a, b in zip(first, second)))
"""


def test_a_new_context_compiles_anew():
    assert "same: True" in run_code(RESET)


def test_no_warning_about_retracing(caplog):
    logger = tf.get_logger()
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.WARNING, "tensorflow"):
            for n in range(12):
                updated([(3, n + 2)])
                keras_lars.LARS().build(make_variables({"w": np.ones(2)}))
            # The handler does see such warnings.
            closures = [tf.function(lambda x, n=n: x + n) for n in range(12)]
            for closure in closures:
                closure(tf.ones(2))
    finally:
        logger.removeHandler(caplog.handler)
    warned = [m for m in caplog.messages if "retracing" in m]
    assert not any("lars" in m or "partial" in m for m in warned)
    assert len(warned) > 0
