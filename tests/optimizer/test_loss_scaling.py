"""Loss scaling, fixed and dynamic, and mixed precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.behavior import (
    RATE,
    assert_follows,
    clip_each,
    eagerly_and_in_a_graph,
    fit,
    gradients_of,
    jit_choices,
    make_lars,
    make_references,
    make_variables,
    norm,
    steps_of,
)
from support.models import (
    assert_close,
    assert_equal,
    compiled,
    functional,
    numbers,
    sequential,
)

import keras_lars

pytestmark = pytest.mark.slow


@eagerly_and_in_a_graph
def test_loss_scale_factor(graph):
    variables, references = make_variables(), make_references()
    optimizer = make_lars(loss_scale_factor=8.0, clipnorm=0.75)
    step = steps_of(optimizer, variables, graph)
    assert float(optimizer.scale_loss(tf.constant(2.0))) == 16.0
    for i in range(3):
        step([8.0 * g for g in gradients_of(i)])
        # Gradients are unscaled before they are clipped, so the limit is for the true gradient.
        for reference, gradient in zip(references, clip_each(gradients_of(i), 0.75), strict=True):
            reference.step(gradient, RATE)
    assert_follows(variables, optimizer, references)


def test_loss_scale_factor_in_fit():
    models = [compiled(sequential, make_lars(loss_scale_factor=s)) for s in (None, 1024.0)]
    for model in models:
        fit(model)
    assert_close(models[1].get_weights(), models[0].get_weights())


@eagerly_and_in_a_graph
@jit_choices
def test_loss_scale_optimizer(jit_compile, graph):
    variables, references = make_variables(), make_references()
    inner = make_lars(jit_compile=jit_compile, record_trust_ratios=True)
    optimizer = keras.optimizers.LossScaleOptimizer(
        inner, initial_scale=8.0, dynamic_growth_steps=3
    )
    step = steps_of(optimizer, variables, graph)
    for i, finite in enumerate([True, False, True]):
        scale = float(optimizer.dynamic_scale)
        gradients = [scale * g for g in gradients_of(i)]
        if not finite:
            gradients[1][0, 0] = np.inf
        before = numbers(variables) + numbers(inner.variables)
        step(gradients)
        if finite:
            for reference, gradient in zip(references, gradients_of(i), strict=True):
                reference.step(gradient, RATE)
            assert float(optimizer.dynamic_scale) == scale
        else:
            # The whole step is skipped, and the scale is halved.
            assert_equal(numbers(variables) + numbers(inner.variables), before)
            assert float(optimizer.dynamic_scale) == scale / 2
        assert_follows(variables, inner, references)
    assert int(inner.iterations) == 2
    recorded = inner.trust_ratios["a/kernel"].gradient_norm
    assert float(recorded) == pytest.approx(norm(gradients_of(2)[0]), rel=1e-5)


@pytest.fixture
def dtype_policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


@jit_choices
@pytest.mark.parametrize("dtype_policy", ["mixed_float16", "mixed_bfloat16"], indirect=True)
def test_mixed_precision(dtype_policy, jit_compile):
    model = compiled(functional, make_lars(trust_coefficient=0.02, jit_compile=jit_compile))
    history = fit(model, epochs=10).history["loss"]
    optimizer = model.optimizer
    if dtype_policy == "mixed_float16":
        assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        optimizer = optimizer.inner_optimizer
    assert isinstance(optimizer, keras_lars.LARS)
    assert {str(keras.backend.standardize_dtype(v.dtype)) for v in optimizer.momentums} == {
        "float32"
    }
    assert 0 < int(optimizer.iterations) <= 20
    assert all(np.all(np.isfinite(weight)) for weight in model.get_weights())
    assert history[-1] < 0.75 * history[0]
