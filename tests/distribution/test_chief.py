"""Of several workers, which would all say the same, only the chief warns."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_lars
from keras_lars import _chief, _replicas, schedules


def build(**options):
    kernel, bias = keras.Variable(np.ones((2, 2)), name="kernel"), keras.Variable([0.0])
    keras_lars.LARS(**options).build([kernel, bias])


def search():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras_lars.LARS(jit_compile=False), "mse")
    keras_lars.find_learning_rate(model, (np.ones((4, 2)), np.ones((4, 1))), 2, verbose=0)


CASES = {
    "few updates": lambda: schedules.for_fit(8, epochs=1, global_batch_size=8),
    "momentum": lambda: keras_lars.LARS(momentum=1e-4),
    "trust coefficient": lambda: keras_lars.LARS(trust_coefficient=1e-4, weight_decay=0),
    "mask": lambda: build(exclude_from_layer_adaptation=lambda v: "kernel" in v.path),
    "no names": lambda: keras_lars.LARS().exclude_from_weight_decay([]),
    "range test": search,
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_only_the_chief_warns(case, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(_replicas, "is_chief", lambda strategy: False)
        case()  # warnings are errors
    with pytest.warns(UserWarning, match="Received: |Test a wider range"):
        case()


class Started:
    """A strategy of two workers, in the second one."""

    cluster_resolver = types.SimpleNamespace(
        task_type="worker", task_id=1, cluster_spec=lambda: types.SimpleNamespace(jobs=["worker"])
    )


def test_outside_of_a_scope_the_strategy_that_was_started_tells(monkeypatch):
    monkeypatch.setattr(_replicas, "_started", None)
    assert _chief.is_chief()
    strategy = Started()
    _replicas.note_started(strategy)
    assert not _chief.is_chief()
    with tf.distribute.OneDeviceStrategy("cpu").scope():
        assert _chief.is_chief()
    del strategy
    assert _chief.is_chief()
