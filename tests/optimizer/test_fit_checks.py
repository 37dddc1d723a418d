"""What `fit` is warned of, once: no update at all, a decay that is applied twice or for AdamW."""

import warnings

import keras
import pytest
import tensorflow as tf
from support.models import FEATURES, batch

import keras_lars
from keras_lars import _replicas
from keras_lars.schedules import for_fit


def make_model(optimizer, regularizer=None, layers=1):
    layers = [keras.layers.Dense(1, kernel_regularizer=regularizer) for _ in range(layers)]
    model = keras.Sequential([keras.Input((FEATURES,)), *layers])
    model.compile(optimizer, "mse", run_eagerly=True)
    return model


def fit(model, data=None, **options):
    """Calls `fit`, by default for an epoch of 2 batches. Returns its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if data is None:
            model.fit(*batch(0), batch_size=4, verbose=0, **options)
        else:
            model.fit(data, shuffle=False, verbose=0, **options)
    found = [str(each.message) for each in caught if each.category is UserWarning]
    return [message for message in found if "ran out of data" not in message]  # of Keras


# Gradient accumulation over more batches than there are.

BATCHES_OF_UNKNOWN_NUMBER = (
    tf.data.Dataset.from_tensor_slices(batch(0)).batch(4).filter(lambda x, y: True)
)


def accumulating(steps, rate=4.0):
    lars = keras_lars.LARS(rate, gradient_accumulation_steps=steps, jit_compile=False)
    return make_model(lars)


@pytest.mark.parametrize("data", [None, BATCHES_OF_UNKNOWN_NUMBER], ids=["arrays", "unknown"])
def test_no_update_at_all(data):
    model = accumulating(7)
    (message,) = fit(model, data, epochs=3)
    assert message == (
        "`fit` ends after 6 batches, before the first update of optimizer 'lars', so it changes no "
        "weight. Lower `gradient_accumulation_steps`, or train for more batches. Received: "
        "gradient_accumulation_steps=7"
    )
    assert int(model.optimizer.iterations) == 0
    assert fit(model, data) == []


def test_no_update_by_an_optimizer_that_was_built_before():
    model = accumulating({0: 3, 5: 4})
    model.optimizer.build(model.trainable_variables)
    (message,) = fit(model)
    assert message.endswith("Received: gradient_accumulation_steps={0: 3, 5: 4}")


@pytest.mark.parametrize("steps", [None, 2, 6])
def test_an_update(steps):
    assert fit(accumulating(steps), epochs=3) == []


def test_schedules_of_for_fit_have_warnings_of_their_own():
    with pytest.warns(UserWarning, match="no room for a warm-up"):
        schedule = for_fit(samples=70, epochs=2, global_batch_size=28)
    (message,) = fit(accumulating(7, schedule))
    assert message.startswith("`fit` makes 2 batches, but this schedule is for")


def test_only_the_chief_warns(monkeypatch):
    monkeypatch.setattr(_replicas, "is_chief", lambda strategy: False)
    assert fit(accumulating(7), epochs=3) == []
    schedule = keras.optimizers.schedules.CosineDecay(4.0, 99)
    for rate in (0.1, schedule):
        model = make_model(keras_lars.LARS(rate, weight_decay=0.05, jit_compile=False), "l2")
        assert fit(model, epochs=3) == []
        assert fit(model, BATCHES_OF_UNKNOWN_NUMBER, epochs=3) == []
    model = make_model(keras_lars.LARS(jit_compile=False))
    assert fit(model, callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch: 1e-3)]) == []


# Weight decay and L2 regularizers.


@pytest.mark.parametrize("regularizer", ["l2", keras.regularizers.L1L2(l1=0.1, l2=0.1)])
def test_a_variable_that_is_decayed_twice(regularizer):
    model = make_model(keras_lars.LARS(jit_compile=False), regularizer, layers=4)
    (message,) = fit(model)
    paths = [layer.kernel.path for layer in model.layers]
    assert message == (
        "Optimizer 'lars' decays variables that have an L2 regularizer, so they are decayed twice: "
        f"`{paths[0]}`, `{paths[1]}`, `{paths[2]}` and 1 more. Remove the regularizers from the "
        "layers, or pass `weight_decay=0`. Received: weight_decay=0.0005"
    )
    assert fit(model) == []


class Own(keras.regularizers.Regularizer):
    """May be anything."""

    l2 = None

    def __call__(self, x):
        return 0.1 * keras.ops.sum(x**2)


@pytest.mark.parametrize(
    ("regularizer", "options"),
    [
        ("l2", {"weight_decay": 0}),
        ("l2", {"exclude_from_weight_decay": "kernel"}),
        ("l1", {}),
        (keras.regularizers.L2(0.0), {}),
        (Own(), {}),
    ],
)
def test_regularizers_that_suit(regularizer, options):
    assert fit(make_model(keras_lars.LARS(jit_compile=False, **options), regularizer)) == []


# Weight decays for AdamW.


def test_a_large_weight_decay():
    model = make_model(keras_lars.LARS(weight_decay=0.05, jit_compile=False))
    (message,) = fit(model)
    assert message == (
        "`weight_decay` is large for LARS, which adds it to the gradient, as an L2 penalty: a "
        "value for AdamW, such as 0.05, may outweigh the gradients, at least without "
        "normalization. Usual values are 1e-6 to 5e-4. Received: weight_decay=0.05, in optimizer "
        "'lars'"
    )
    assert fit(model) == []


def test_a_decay_of_an_optimizer_that_was_built_before():
    model = make_model(keras_lars.LARS(weight_decay=0.05, jit_compile=False), "l2")
    model.optimizer.build(model.trainable_variables)
    first, second = fit(model)
    assert "so they are decayed twice" in first
    assert "`weight_decay` is large for LARS" in second
    assert fit(model) == []


@pytest.mark.parametrize(
    "options",
    [
        {"weight_decay": 0.01},
        {"weight_decay": 0.05, "exclude_from_weight_decay": ["kernel", "bias"]},
        {"weight_decay": 0.05, "exclude_from_layer_adaptation": "kernel"},
    ],
)
def test_weight_decays_that_suit(options):
    assert fit(make_model(keras_lars.LARS(jit_compile=False, **options))) == []
