"""Variables and gradients for which no update is defined. Errors name them and print no numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.models import make_variable

import keras_lars

SECRET = 1234.5  # must not appear in any message


def lars(**options):
    return keras_lars.LARS(jit_compile=False, **options)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("complex64", 1 + 2j),
        ("complex128", 1 + 2j),
        *((dtype, 3.0) for dtype in ("int8", "int32", "int64", "uint8", "bool")),
        ("float8_e4m3fn", 1.0),
    ],
)
@pytest.mark.parametrize("of_keras", [True, False])
def test_other_dtypes_are_refused_in_build(dtype, value, of_keras):
    if of_keras:
        refused = make_variable("layer/kernel", np.full(2, value), dtype)
    else:
        refused = tf.Variable(tf.cast(tf.constant([value, value]), dtype), name="layer/kernel")
    optimizer = lars()
    with pytest.raises(ValueError, match=f"`variables` must be.*'layer/kernel' of {dtype}"):
        optimizer.build([make_variable("other/kernel", [1.0]), refused])
    assert not optimizer.built
    before = refused.numpy()
    with pytest.raises(ValueError, match="layer/kernel"):
        optimizer.apply([tf.cast([1.0, 1.0], dtype)], [refused])
    np.testing.assert_array_equal(refused.numpy(), before)


def test_all_refused_variables_are_named():
    refused = [make_variable(path, [1], "int32") for path in ("a/kernel", "a/kernel", "b/bias")]
    with pytest.raises(ValueError, match=r"('a/kernel' of int32, ){2}'b/bias' of int32$"):
        lars().build(refused)


def test_a_variable_that_is_given_twice_is_refused():
    once, twice = make_variable("a", [1.0]), make_variable("b", [1.0])
    optimizer = lars()
    with pytest.raises(ValueError, match=r"`variables` must .* once.* several times: \['b'\]"):
        optimizer.build([twice, once, twice])
    optimizer.build([once, twice])
    with pytest.raises(ValueError, match=r"`trainable_variables` must .* several times: \['b'\]"):
        optimizer.apply([tf.ones(1)] * 3, [twice, once, twice])
    assert twice.numpy() == 1


def test_variables_that_keras_overwrites_may_have_any_dtype():
    variable = make_variable("scale", [3, 4], "int32", overwrite_with_gradient=True)
    optimizer = lars()
    optimizer.apply([tf.constant([5, 6])], [variable])
    assert variable.numpy().tolist() == [5, 6]
    assert optimizer.momentums == [None]


@pytest.mark.parametrize("accumulate", [None, 2])
@pytest.mark.parametrize("jit_compile", ["auto", False])
def test_a_complex_gradient_is_refused(accumulate, jit_compile):
    variable = make_variable("layer/kernel", [1.0, 2.0])
    optimizer = keras_lars.LARS(jit_compile=jit_compile, gradient_accumulation_steps=accumulate)
    with pytest.raises(ValueError, match=r"must be real.*complex128 for 'layer/kernel'"):
        optimizer.apply([tf.constant([1 + 1j, 0])], [variable])
    assert variable.numpy().tolist() == [1, 2]
    assert int(optimizer._iterations) == 0


@pytest.mark.parametrize("shape", [(), (3,), (1, 3), (3, 2), (2, 3, 1)], ids=str)
@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 2}], ids=str)
@pytest.mark.parametrize("jit_compile", ["auto", False])
def test_a_gradient_of_another_shape_is_refused(shape, options, jit_compile):
    variable = make_variable("layer/kernel", np.full((2, 3), SECRET))
    optimizer = keras_lars.LARS(jit_compile=jit_compile, **options)
    with pytest.raises(ValueError) as error:
        optimizer.apply([tf.ones(shape)], [variable])
    assert f"shape {shape} for 'layer/kernel' of shape (2, 3)" in str(error.value)
    assert "1234" not in str(error.value)


def test_a_gradient_of_unknown_shape_is_accepted():
    variable, twin = (make_variable("layer/kernel", np.ones((2, 3))) for _ in range(2))
    unknown = tf.TensorSpec(None, tf.float32)
    optimizer = lars()
    optimizer.build([variable])
    step = tf.function(lambda g: optimizer.apply([g], [variable]), input_signature=[unknown])
    step(tf.ones((2, 3)))
    lars().apply([tf.ones((2, 3))], [twin])
    np.testing.assert_array_equal(variable.numpy(), twin.numpy())


@pytest.mark.parametrize(
    ("shape", "shown"), [([None, 3], r"\(None, 3\)"), (tf.TensorShape(None), "<unknown>")]
)
def test_shapes_that_are_not_fully_defined_are_refused(shape, shown):
    variable = tf.Variable(tf.fill((2, 3), SECRET), shape=shape, name="layer/kernel")
    with pytest.raises(ValueError, match=f"fully defined.*'layer/kernel' of shape {shown}$"):
        lars().build([variable])


def of_keras():
    return make_variable("layer/kernel", [SECRET, SECRET])


def of_tensorflow():
    return tf.Variable([SECRET, SECRET], name="layer/kernel")


def built():
    optimizer = lars()
    optimizer.build([make_variable("other/kernel", [1.0])])
    return optimizer


ERRORS = {
    "unknown variable": lambda v: built().apply([tf.ones(2)], [v]),
    "number of gradients": lambda v: lars().apply([tf.ones(2)] * 2, [v]),
    "stranger in a rule": lambda v: lars(exclude_from_weight_decay=v).build(
        [make_variable("other/kernel", [1.0])]
    ),
    "rule that is not saved": lambda v: lars(exclude_from_weight_decay=v).get_config(),
    "list of lists of rules": lambda v: lars(exclude_from_layer_adaptation=[[v], (v,)]),
    "method after build": lambda v: built().exclude_from_weight_decay(var_list=[v]),
    "assigned rule": lambda v: setattr(lars(), "exclude_from_weight_decay", [v]),
    "number": lambda v: lars(momentum=v),
    "flag": lambda v: lars(nesterov={"a": v}),
    "argument of another": lambda v: lars(params=[v]),
}


@pytest.mark.parametrize("make", [of_keras, of_tensorflow])
@pytest.mark.parametrize("error", ERRORS)
def test_errors_print_no_numbers(error, make):
    with pytest.raises(ValueError) as caught:
        ERRORS[error](make())
    message = str(caught.value)
    assert "1234" not in message
    assert ("layer/kernel" in message) == (error != "number of gradients")
    assert "layer/kernel:0" not in message


@pytest.mark.parametrize("variables", ["", b"", {}, None, 3, ["w"]], ids=repr)
def test_values_that_are_not_lists_of_variables(variables):
    with pytest.raises(
        ValueError, match=r"`variables` must be a list of Keras variables\. Received: "
    ):
        keras_lars.LARS().build(variables)


class OfTorch:
    """Like a parameter of torch, whose name is None."""

    shape, dtype, name, requires_grad = (2,), "float32", None, True

    def __repr__(self):
        return str(SECRET)


def test_parameters_of_torch_are_refused():
    for method in (lars().build, lambda variables: lars().apply([1.0], variables)):
        with pytest.raises(ValueError, match=r"Keras variables\. Wrap.*Received: ") as caught:
            method([OfTorch()])
        assert str(SECRET) not in str(caught.value)
        assert "<OfTorch of shape (2,)>" in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        [OfTorch()],
        (OfTorch() for _ in "a"),
        [{"params": [OfTorch()]}],
        [np.full(100, SECRET)],
        keras.layers.Dense(2),
    ],
    ids=["list", "generator", "groups", "arrays", "layer"],
)
def test_parameters_are_not_the_learning_rate(given):
    with pytest.raises(ValueError, match="Parameters are not an argument: `compile`") as caught:
        keras_lars.LARS(given, lr=0.1)
    assert str(SECRET) not in str(caught.value)
