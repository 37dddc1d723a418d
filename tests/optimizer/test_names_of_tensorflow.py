"""TensorFlow's own variables are known by the names that they were given, without `:0`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_lars


def bias():
    return tf.Variable(tf.ones((2, 12)), name="gru/bias")


def kernel():
    return tf.Variable(tf.ones((2, 12)), name="gru/kernel")


def built(variables, **options):
    optimizer = keras_lars.LARS(jit_compile=False, **options)
    optimizer.build(variables)
    return optimizer


def decayed(optimizer):
    return {row.path: row.decayed for row in optimizer.variable_table()}


def test_the_name_is_the_one_that_was_given():
    assert bias().name == "gru/bias:0"  # otherwise nothing is tested
    assert decayed(built([bias(), kernel()])) == {"gru/bias": False, "gru/kernel": True}


@pytest.mark.parametrize("pattern", ["bias$", "^gru/bias$", r"/\w+s$"])
def test_patterns_match_at_the_end(pattern):
    optimizer = built([bias(), kernel()], exclude_from_weight_decay=pattern)
    assert decayed(optimizer) == {"gru/bias": False, "gru/kernel": True}


def test_under_a_strategy(strategy):
    with strategy.scope():
        optimizer = built([bias(), kernel()])
    assert decayed(optimizer) == {"gru/bias": False, "gru/kernel": True}


def test_recorded_ratios_have_the_same_name():
    variable = kernel()
    optimizer = built([variable], record_trust_ratios=True)
    optimizer.apply([tf.ones((2, 12))], [variable])
    assert list(optimizer.trust_ratios) == ["gru/kernel"]


@pytest.mark.parametrize("saved_name", ["bias", "bias:0"])
def test_a_saved_rule_finds_its_variable(saved_name):
    """Version 0.1.0 saved the second name."""
    variables = [bias(), kernel()]
    config = built(variables, exclude_from_weight_decay=variables[0]).get_config()
    (rule,) = config["exclude_from_weight_decay"]
    assert rule["config"]["last_path_part"] == "bias"
    rule["config"]["last_path_part"] = saved_name
    loaded = keras_lars.LARS.from_config(config)
    loaded.build([bias(), kernel()])
    assert decayed(loaded) == {"gru/bias": False, "gru/kernel": True}


def test_names_of_keras_variables_keep_their_colons():
    variables = [keras.Variable(np.ones((2, 2)), name=name) for name in ("a:0", "b:1c")]
    assert list(decayed(built(variables))) == ["a:0", "b:1c"]
