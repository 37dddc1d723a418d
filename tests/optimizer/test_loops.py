"""`fit`, `train_on_batch` and custom loops, eagerly and in graphs, and the recorded ratios."""

import numpy as np
import pytest
import tensorflow as tf
from support.behavior import (
    DECAY,
    MOMENTUM,
    RATE,
    SCHEDULES,
    TRUST,
    assert_follows,
    eagerly_and_in_a_graph,
    fit,
    gradients_of,
    jit_choices,
    make_lars,
    make_references,
    make_variables,
    norm,
    tensors,
)
from support.helpers import run_command
from support.models import (
    FEATURES,
    assert_close,
    assert_equal,
    batch,
    compiled,
    make_variable,
    numbers,
    sequential,
    subclassed,
    train,
)
from support.reference import ReferenceLARS

import keras_lars


@jit_choices
@eagerly_and_in_a_graph
@pytest.mark.parametrize(
    "call",
    [
        lambda optimizer, gradients, variables: optimizer.apply(gradients, variables),
        lambda optimizer, gradients, variables: optimizer.apply(gradients),
        lambda optimizer, gradients, variables: optimizer.apply_gradients(
            zip(gradients, variables, strict=True)
        ),
        lambda optimizer, gradients, variables: optimizer.apply(gradients[::-1], variables[::-1]),
    ],
    ids=["apply", "apply without variables", "apply_gradients", "other order"],
)
def test_custom_loops(call, graph, jit_compile):
    variables, references = make_variables(), make_references()
    optimizer = make_lars(jit_compile=jit_compile)
    optimizer.build(variables)

    def step(gradients):
        call(optimizer, gradients, variables)

    run = tf.function(step) if graph else step
    for i in range(3):
        run(tensors(gradients_of(i)))
        for reference, gradient in zip(references, gradients_of(i), strict=True):
            reference.step(gradient, RATE)
    assert_follows(variables, optimizer, references)
    assert int(optimizer.iterations) == 3


def test_the_first_apply_builds():
    variables, references = make_variables(), make_references()
    optimizer = make_lars()
    assert not optimizer.built
    optimizer.apply(tensors(gradients_of(0)), variables)
    assert optimizer.built
    for reference, gradient in zip(references, gradients_of(0), strict=True):
        reference.step(gradient, RATE)
    assert_follows(variables, optimizer, references)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Model doesn't support `jit_compile=True`")
def test_the_ways_of_running_a_model_agree():
    def trained(run, **options):
        model = compiled(subclassed, make_lars(jit_compile="auto"), **options)
        run(model)
        return model.get_weights()

    def one_by_one(model):
        for _ in range(2):
            for first in (0, 8):
                inputs, targets = batch(0, size=16)
                model.train_on_batch(inputs[first : first + 8], targets[first : first + 8])

    def run_fit(model):
        fit(model, epochs=2)

    expected = trained(run_fit)
    for actual in (
        trained(one_by_one),
        trained(run_fit, run_eagerly=True),
        trained(run_fit, jit_compile=True),
        trained(run_fit, steps_per_execution=2),
    ):
        assert_close(actual, expected, tolerance=1e-5)


@pytest.mark.slow
def test_a_compiled_model_follows_the_reference():
    model = compiled(sequential, make_lars(SCHEDULES["exponential"], jit_compile="auto"))
    references = [
        ReferenceLARS(w, η=TRUST, m=MOMENTUM, β=DECAY) for w in numbers(model.trainable_variables)
    ]
    twin = compiled(sequential, make_lars())
    for step in range(3):
        model.train_on_batch(*batch(step))
        inputs, targets = batch(step)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((twin(inputs) - targets) ** 2)
        gradients = tape.gradient(loss, [v.value for v in twin.trainable_variables])
        for reference, gradient in zip(references, gradients, strict=True):
            reference.step(gradient.numpy(), 0.5 ** (step + 1))
        twin.set_weights([r.w for r in references])
    assert_close(model.get_weights(), [r.w for r in references], tolerance=1e-5)


@pytest.mark.slow
@jit_choices
@pytest.mark.parametrize("run_eagerly", [False, True], ids=["graph", "eager"])
def test_trust_ratios_are_those_of_the_last_update_in_fit(run_eagerly, jit_compile):
    optimizer = make_lars(
        record_trust_ratios=True,
        jit_compile=jit_compile,
        weight_norm_floor=0.0,
        exclude_from_layer_adaptation="head/bias",
    )
    model = compiled(sequential, optimizer, run_eagerly=run_eagerly)
    with pytest.raises(ValueError, match="trust_ratios"):
        _ = optimizer.trust_ratios
    train(model, 0, 1)
    inputs, targets = batch(1)
    weights = [v.value for v in model.trainable_variables]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(inputs, training=True) - targets) ** 2)
    gradient_norms = [norm(g) for g in tape.gradient(loss, weights)]
    weight_norms = [norm(w) for w in weights]
    train(model, 1, 2)

    recorded = optimizer.trust_ratios
    assert list(recorded) == [v.path for v in model.trainable_variables]
    for path, w, g in zip(recorded, weight_norms, gradient_norms, strict=True):
        ratio = 1.0 if path.endswith("head/bias") else TRUST * w / (g + DECAY * w)
        row = recorded[path]
        assert row._fields == ("weight_norm", "gradient_norm", "trust_ratio")
        assert float(row.weight_norm) == pytest.approx(w, rel=1e-5)
        assert float(row.gradient_norm) == pytest.approx(g, rel=1e-4)
        assert float(row.trust_ratio) == pytest.approx(ratio, rel=1e-4)


def test_trust_ratios_of_repeated_paths_are_keyed_by_position():
    paths = ["a", "twin", "b", "twin"]
    variables = [make_variable(path, [2.0**i]) for i, path in enumerate(paths)]
    optimizer = make_lars(record_trust_ratios=True)
    optimizer.apply([tf.constant([1.0])] * 4, variables)
    norms = {key: float(row.weight_norm) for key, row in optimizer.trust_ratios.items()}
    assert norms == {"a": 1.0, 1: 2.0, "b": 4.0, 3: 8.0}


def test_trust_ratios_that_are_not_recorded_raise():
    variables = make_variables()
    optimizer = make_lars()
    optimizer.apply(tensors(gradients_of(0)), variables)
    with pytest.raises(ValueError, match="record_trust_ratios"):
        _ = optimizer.trust_ratios


@pytest.mark.slow
def test_recording_does_not_change_the_update():
    models = [compiled(sequential, make_lars(record_trust_ratios=r)) for r in (False, True)]
    for model in models:
        train(model, 0, 3)
    assert_equal(models[1].get_weights(), models[0].get_weights())
    assert models[0].get_weights()[0].shape[0] == FEATURES


@pytest.mark.parametrize("jit_compile", ["auto", False])
def test_tensorflow_variables(jit_compile):
    variables = [tf.Variable([3.0, 4.0], name="w"), tf.Variable([[1.0]], name="x")]
    optimizer = keras_lars.LARS(10, momentum=0.5, weight_decay=0, jit_compile=jit_compile)
    optimizer.apply([tf.constant([0.0, 0.5]), tf.constant([[2.0]])], variables)
    np.testing.assert_allclose(variables[0].numpy(), [3.0, 3.95], rtol=1e-6)
    np.testing.assert_allclose(variables[1].numpy(), [[0.99]], rtol=1e-6)
    assert [row.path for row in optimizer.variable_table()] == ["w", "x"]


@pytest.mark.slow
def test_autograph_does_not_warn():
    """In a separate process, since AutoGraph warns only once."""
    done = run_command("support.autograph_script")
    assert done.stdout == "heard\n", done.stderr[-4000:]
