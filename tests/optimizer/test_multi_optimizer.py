"""LARS inside Keras's `MultiOptimizer`, which newer versions have."""

import warnings

import keras
import numpy as np
import pytest
from support.models import batch, compiled, two_dense

import keras_lars
from keras_lars.callbacks import BackupAndRestore, TrustRatioMonitor

pytestmark = pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="this Keras has no MultiOptimizer"
)


def make_model(learning_rate=4.0, wrap=lambda optimizer: optimizer, **options):
    """A model of which LARS trains the kernels and SGD the biases."""
    lars = keras_lars.LARS(learning_rate, jit_compile=False, **options)
    of_paths = keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.01), {".*kernel": lars})
    return compiled(two_dense, wrap(keras.optimizers.MultiOptimizer(of_paths)))


def fit(model, epochs=2, callbacks=()):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(*batch(0, 16), 4, epochs, shuffle=False, verbose=0, callbacks=list(callbacks))
    return [str(each.message) for each in caught if each.category is UserWarning]


@pytest.mark.parametrize("wrap", [lambda o: o, keras_lars.LossScaleOptimizer])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.1}, "`learning_rate` is small for 8 updates"),
        ({"weight_decay": 0.05}, "`weight_decay` is large for LARS"),
        ({"gradient_accumulation_steps": 9}, "`fit` ends after 8 batches, before the first"),
        (
            {"learning_rate": keras_lars.schedules.for_fit(16, epochs=20, global_batch_size=4)},
            "`fit` makes 8 batches, but this schedule is for 80",
        ),
    ],
)
def test_warnings_about_fit(options, message, wrap):
    (found,) = fit(make_model(wrap=wrap, **options))
    assert found.startswith(message)


def test_variables_of_another_optimizer_are_not_missed():
    model = make_model()
    assert fit(model) == []
    assert fit(model) == []


def test_optimizers_that_a_function_makes_in_the_first_step():
    optimizer = keras.optimizers.MultiOptimizer(lambda v: keras_lars.LARS(jit_compile=False))
    assert fit(compiled(two_dense, optimizer)) == []


def test_a_backup(tmp_path):
    whole = make_model()
    fit(whole, epochs=4)
    for epochs in (2, 4):
        model = make_model()
        fit(model, epochs, [BackupAndRestore(tmp_path, delete_checkpoint=False)])
    for one, other in zip(whole.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must be `keras_lars.LARS` or .* MultiOptimizer$"):
        fit(make_model(), callbacks=[TrustRatioMonitor(tmp_path)])
    with pytest.raises(ValueError, match="must have an optimizer whose learning rate is a number"):
        keras_lars.find_learning_rate(make_model(), batch(0, 16), verbose=0)
