"""`repr` of an optimizer is the call that creates it, with arguments that differ from defaults."""

import inspect

import keras
import numpy as np
import pytest
from support.helpers import one_step

import keras_lars
from keras_lars import LARS, LossScaleOptimizer, bias_or_normalization, optional, rank_at_most

# Not a default, so that these texts stay the same when defaults change.
RATE = 0.1234567

OPTIMIZERS = {
    "LARS()": lambda: LARS(),
    "LARS(learning_rate=4.5, nesterov=True)": lambda: LARS(4.5, nesterov=True),
    "LARS(learning_rate=0.1234567)": lambda: LARS(RATE),
    "LARS(momentum=0.0, weight_decay=0.0)": lambda: LARS(momentum=0, weight_decay=0),
    "LARS(zero_gradient_ratio=None, jit_compile=False)": lambda: LARS(
        jit_compile=False, zero_gradient_ratio=None
    ),
    "LARS(momentum_form='ratio_of_update', decay_in_norm=True, name='heads')": lambda: LARS(
        momentum_form="ratio_of_update", decay_in_norm=True, name="heads"
    ),
    "LARS(exclude_from_layer_adaptation=rank_at_most(1), exclude_from_weight_decay=[])": (
        lambda: LARS(exclude_from_layer_adaptation=rank_at_most(1), exclude_from_weight_decay=[])
    ),
    "LARS(exclude_from_weight_decay=[bias_or_normalization(), 'embed', optional('x$')])": (
        lambda: LARS(exclude_from_weight_decay=[bias_or_normalization(), "embed", optional("x$")])
    ),
    "LARS(clipnorm=1.0, use_ema=True, ema_momentum=0.9, gradient_accumulation_steps=2)": (
        lambda: LARS(clipnorm=1, use_ema=True, ema_momentum=0.9, gradient_accumulation_steps=2)
    ),
    "LossScaleOptimizer(LARS())": lambda: LossScaleOptimizer(LARS()),
    "LossScaleOptimizer(LARS(nesterov=True), initial_scale=8.0, dynamic_growth_steps=10)": (
        lambda: LossScaleOptimizer(LARS(nesterov=True), 8.0, 10)
    ),
}


@pytest.mark.parametrize("text", OPTIMIZERS)
def test_arguments_that_differ_from_the_defaults(text):
    """The text is Python code that creates the same optimizer."""
    made = OPTIMIZERS[text]()
    assert repr(made) == text
    again = eval(text, vars(keras_lars))
    assert repr(again) == text
    made, again = (getattr(each, "inner_optimizer", each) for each in (made, again))
    assert again.get_config() == made.get_config()


@pytest.mark.filterwarnings("ignore:`ema_.* has no effect")
def test_every_argument_is_shown():
    """Each argument gets a value that is not its default, so that none is forgotten."""
    others = {
        "momentum_form": "ratio_outside",
        "jit_compile": False,
        "exclude_from_layer_adaptation": "w",
        "exclude_from_weight_decay": "w",
        "name": "other",
        "ema_overwrite_frequency": 3,
        "gradient_accumulation_steps": 4,
    }
    parameters = {
        **inspect.signature(keras.optimizers.SGD).parameters,
        **inspect.signature(LARS).parameters,
    }
    del parameters["kwargs"]
    for name, parameter in parameters.items():
        value = others.get(name, not parameter.default)
        value = value if isinstance(parameter.default, bool) or name in others else 0.625
        assert repr(LARS(**{name: value})) == f"LARS({name}={value!r})", name


def is_a_bias(variable):
    return variable.path.endswith("bias")


def test_rules_that_are_objects():
    variable = keras.Variable([1.0], name="kernel")
    optimizer = LARS(exclude_from_layer_adaptation=[variable, is_a_bias])
    assert repr(optimizer) == ("LARS(exclude_from_layer_adaptation=[<variable kernel>, is_a_bias])")
    assert [repr(rule) for rule in (rank_at_most(2), optional("a"))] == [
        "rank_at_most(2)",
        "optional('a')",
    ]


def test_a_schedule_is_shown_by_its_own_repr():
    class Rate(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            raise AssertionError("repr must not ask for a rate")

        def __repr__(self):
            return "Rate()"

    assert repr(LARS(Rate())) == "LARS(learning_rate=Rate())"

    def rate():
        raise AssertionError("repr must not ask for a rate")

    assert repr(LARS(rate)) == f"LARS(learning_rate={rate!r})"


def test_the_learning_rate_is_the_current_one():
    optimizer, _ = one_step([2.0], [1.0], 4.5)
    assert repr(optimizer) == "LARS(learning_rate=4.5, exclude_from_weight_decay=[])"
    optimizer.learning_rate = 0.1
    assert repr(optimizer) == "LARS(learning_rate=0.1, exclude_from_weight_decay=[])"
    optimizer.learning_rate.assign(np.float32(0.7))  # as loading a file or a backup does
    assert repr(optimizer) == "LARS(learning_rate=0.7, exclude_from_weight_decay=[])"


def test_a_subclass_has_its_own_name():
    class Mine(LARS):
        pass

    assert repr(Mine(4.5)) == "Mine(learning_rate=4.5)"


def test_it_never_raises():
    """It works in any state, since error messages contain it."""
    assert repr(LARS.__new__(LARS)).startswith("<keras_lars.optimizer.LARS object at ")
    texts = []

    class Failing(LARS):
        def __setattr__(self, name, value):
            texts.append(repr(self))
            super().__setattr__(name, value)

    Failing(4.5).build([keras.Variable([1.0])])
    assert len(texts) > 20
    assert texts[-1] == "Failing(learning_rate=4.5)"


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="traces with TensorFlow")
def test_repr_in_a_step_that_is_traced():
    import tensorflow as tf

    optimizer, _ = one_step([2.0], [1.0], 4.5)
    texts = []

    @tf.function
    def step():
        texts.append(repr(optimizer))

    step()
    assert texts == ["LARS(learning_rate=4.5, exclude_from_weight_decay=[])"]
