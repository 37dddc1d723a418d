"""XLA compiles the update although the step is not compiled. Read from the graph, not timed."""

import glob
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.helpers import at_least, make_variables, run_command, to_numpy, to_tensors
from tensorflow.python.framework.func_graph import FuncGraph

import keras_lars
from keras_lars._backends import tensorflow_xla
from keras_lars._backends.tensorflow_xla import compiled

pytestmark = pytest.mark.slow


def assignments(function_graph):
    """IDs of the assigned variable handles: those under an XLA-compiled call, and the others.

    Follows every handle through nested calls and branches, down to the operations that assign.
    """
    graph = function_graph.as_graph_def()
    library = {f.signature.name: f for f in graph.library.function}
    captured = {inner.op.name: id(outer) for outer, inner in function_graph.captures}
    compiled, plain = set(), set()

    def walk(nodes, handles, in_compiled):
        for node in nodes:
            inputs = [handles.get(i.split(":")[0]) for i in node.input if i[0] != "^"]
            if node.op.startswith(("Assign", "ResourceApply", "ResourceScatter")):
                (compiled if in_compiled else plain).add(inputs[0])
            must = "_XlaMustCompile" in node.attr and node.attr["_XlaMustCompile"].b
            for attribute in list(node.attr.values()):
                called = library.get(attribute.func.name)
                if called is not None:
                    names = [argument.name for argument in called.signature.input_arg]
                    # A branch has one input more than its function: the condition comes first.
                    inner = dict(zip(names, inputs[len(inputs) - len(names) :], strict=True))
                    walk(called.node_def, inner, in_compiled or must)

    walk(graph.node, captured, in_compiled=False)
    return compiled, plain


def handles(variables):
    return {id(v.value.handle) for v in variables}


def train_function(model):
    """The tf.function that `Model.fit` runs on an iterator or, since Keras 3.16, on a batch.

    Newer Keras wraps it in Python functions.
    """
    function = model.train_function
    if at_least(keras, "3.16"):
        return inspect.getclosurevars(function).nonlocals["one_step_on_data"].__wrapped__
    if not hasattr(function, "get_concrete_function"):
        function = inspect.getclosurevars(function).nonlocals["multi_step_on_iterator"]
    return function


def graph_of_fit(optimizer):
    model = small_model(optimizer, jit_compile=False)
    data = tf.data.Dataset.from_tensors(batch()).repeat(2)  # for an update of two micro-batches
    model.fit(data, verbose=0)
    iterator = iter(data)
    data = next(iterator) if at_least(keras, "3.16") else iterator
    return model, train_function(model).get_concrete_function(data).graph


def small_model(optimizer, **compile_arguments):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(3, activation="tanh"),
            # A kernel of the same shape as the one before. No bias: normalization would cancel it,
            # its gradient would be rounding errors alone, and LARS would take a full step along it.
            keras.layers.Dense(3, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer, "mse", **compile_arguments)
    return model


def batch():
    random = np.random.default_rng(0)
    return random.normal(size=(8, 3)).astype("float32"), np.ones((8, 1), np.float32)


STATES = [
    {},
    {"momentum": 0.0, "clipnorm": 1.0},
    {"nesterov": True, "momentum_form": "ratio_outside", "record_trust_ratios": True},
    {
        "gradient_accumulation_steps": 2,
        "learning_rate": keras.optimizers.schedules.CosineDecay(1.0, 10),
    },
]


@pytest.mark.parametrize("options", STATES, ids=lambda options: "-".join(options) or "default")
def test_update_is_compiled_although_the_step_is_not(options):
    optimizer = keras_lars.LARS(exclude_from_layer_adaptation="bias", **options)
    model, graph = graph_of_fit(optimizer)
    compiled, plain = assignments(graph)
    updated = handles(model.trainable_variables) | handles(optimizer.momentums)
    assert updated <= compiled
    assert not updated & plain


def test_fit_leaves_the_step_itself_uncompiled():
    """Guards the test above, which would pass in any case if the whole step were compiled."""
    optimizer = keras_lars.LARS()
    model, graph = graph_of_fit(optimizer)
    _, plain = assignments(graph)
    assert handles(model.non_trainable_variables) <= plain
    assert handles([optimizer.iterations]) <= plain


def custom_step(size=2, **options):
    arrays = {"a": np.ones((3, size)), "b": np.full((3, size), 2.0), "c": np.ones(4)}
    variables = make_variables(arrays)
    optimizer = keras_lars.LARS(**options)
    optimizer.build(variables)
    step = tf.function(lambda row: optimizer.apply(row, variables))
    return step, optimizer, variables, to_tensors(arrays.values(), variables)


@pytest.mark.parametrize("jit_compile", ["auto", True])
def test_update_is_compiled_in_a_custom_step(jit_compile):
    step, optimizer, variables, row = custom_step(jit_compile=jit_compile)
    compiled, plain = assignments(step.get_concrete_function(row).graph)
    updated = handles(variables) | handles(optimizer.momentums)
    assert updated <= compiled
    assert not updated & plain


def test_nothing_is_compiled_when_switched_off():
    step, optimizer, variables, row = custom_step(jit_compile=False)
    graph = step.get_concrete_function(row).graph
    compiled, plain = assignments(graph)
    assert not compiled
    assert handles(variables) | handles(optimizer.momentums) <= plain
    assert "_XlaMustCompile" not in str(graph.as_graph_def())


def test_second_step_does_not_retrace_in_fit():
    optimizer = keras_lars.LARS()
    model = small_model(optimizer, jit_compile=False)
    counts = []
    for rate in (1.0, 0.5, 0.25):
        optimizer.learning_rate = rate
        model.fit(*batch(), batch_size=4, verbose=0)
        counts.append(train_function(model).experimental_get_tracing_count())
    # Keras 3.16 traces the step again if its first trace has made variables, as with any optimizer.
    assert counts == [2 if at_least(keras, "3.16") else 1] * 3


@pytest.mark.parametrize("in_function", [False, True], ids=["eager", "function"])
@pytest.mark.parametrize("jit_compile", ["auto", False])
def test_second_step_traces_nothing(jit_compile, in_function, monkeypatch):
    """Every trace makes a FuncGraph, including traces inside the optimizer."""
    # No other test uses this size, so nothing is left from an earlier optimizer.
    step, optimizer, variables, row = custom_step(size=11, jit_compile=jit_compile)
    take = step if in_function else lambda row: optimizer.apply(row, variables)
    made = []
    original = FuncGraph.__init__

    def counting(self, *args, **kwargs):
        made.append(args)
        original(self, *args, **kwargs)

    monkeypatch.setattr(FuncGraph, "__init__", counting)
    take(row)
    assert bool(made) == (in_function or jit_compile == "auto")
    made.clear()
    for rate in (0.5, 0.25, 0.125):
        optimizer.learning_rate = rate
        take(row)
    assert made == []


def test_second_step_recompiles_nothing(tmp_path):
    """XLA writes a file for each module it compiles, but none after the first step."""
    flags = f"--xla_dump_to={tmp_path}"
    done = run_command("support.recompilation_script", tmp_path, XLA_FLAGS=flags)
    assert done.returncode == 0, done.stderr[-4000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("counts")]
    first_fit, second_fit, *eager = map(int, line.split()[1:])
    assert first_fit > 0, glob.glob(str(tmp_path / "*"))
    assert second_fit == first_fit
    assert eager[0] > second_fit
    assert set(eager) == {eager[0]}


@pytest.mark.filterwarnings("ignore:Model doesn't support `jit_compile=True`")
@pytest.mark.parametrize("jit_compile", ["auto", True, False])
def test_compiled_and_eager_steps_agree_with_the_default(jit_compile):
    ends = []
    for arguments in ({"jit_compile": False}, {"jit_compile": True}, {"run_eagerly": True}):
        keras.utils.set_random_seed(1)
        model = small_model(keras_lars.LARS(jit_compile=jit_compile), **arguments)
        before = [to_numpy(v) for v in model.trainable_variables]
        model.fit(*batch(), batch_size=4, epochs=2, shuffle=False, verbose=0)
        ends.append([to_numpy(v) for v in model.trainable_variables])
    for start, default, *others in zip(before, *ends, strict=True):
        assert np.abs(default - start).max() > 1e-5
        for other in others:
            np.testing.assert_allclose(other, default, rtol=1e-4, atol=1e-5)


def test_variables_of_one_shape_share_a_cluster(monkeypatch):
    """The number of compilations grows with the distinct shapes, not with the variables."""
    made = []
    monkeypatch.setattr(
        tensorflow_xla, "compiled", lambda each: made.append(each) or compiled(each)
    )
    shapes = [(3, 1013), (1013,)] * 10
    variables = make_variables({f"kernel{i}": np.ones(shape) for i, shape in enumerate(shapes)})
    optimizer = keras_lars.LARS()
    optimizer.apply([tf.ones(shape) for shape in shapes], variables)
    assert [signature.shape for (signature,) in made] == [(3, 1013), (1013,)]
