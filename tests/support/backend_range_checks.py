"""Checks of `find_learning_rate`; `backend_script.py` runs them."""

import random
import warnings

import keras
import numpy as np
import pytest

import keras_lars
from support.helpers import at_least

X = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
Y = (X.sum(axis=1) > 0).astype("int32")


def seed_generators(seed):
    """Like `keras.utils.set_random_seed`, but without importing TensorFlow."""
    random.seed(seed)
    np.random.seed(seed)
    if keras.backend.backend() == "torch":
        import torch

        torch.manual_seed(seed)


def two_outputs(metrics):
    seed_generators(0)
    inputs = [keras.Input((4,)), keras.Input((4,))]
    hidden = keras.layers.Dropout(0.2)(keras.layers.Add()(inputs))
    model = keras.Model(inputs, [keras.layers.Dense(2, name=name)(hidden) for name in "ab"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras_lars.LARS(1.0), [loss, loss], metrics=metrics)
    return model


def check_the_range_test_does_not_change_later_training():
    """Not even the first `fit`, where Keras draws a batch to build the loss and the metrics."""
    for metrics in ([["accuracy"], ["accuracy"]], None):
        outcomes = []
        for is_tested in (False, True):
            model = two_outputs(metrics)
            if is_tested:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the warning about too few updates
                    keras_lars.find_learning_rate(
                        model, ([X, X], [Y, Y]), updates=12, batch_size=16, verbose=0
                    )
            seed_generators(1)
            history = model.fit([X, X], [Y, Y], batch_size=16, epochs=2, verbose=0)
            outcomes.append((history.history, [w.tolist() for w in model.get_weights()]))
        assert outcomes[0] == outcomes[1], metrics


class NoBatches(keras.utils.PyDataset):
    def __len__(self):
        return 0


def check_the_range_test_refuses_data_without_batches():
    model = two_outputs(None)
    with pytest.raises(ValueError, match=r"^`data` must hold at least one batch\. Received: none$"):
        keras_lars.find_learning_rate(model, NoBatches(), verbose=0)


def check_fault_19_of_keras():
    """Fails once Keras is fixed: the first `fit` draws one batch more than the second.

    Before Keras 3.15 it drew two more on JAX.
    """

    class Data(keras.utils.PyDataset):
        drawn = 0

        def __len__(self):
            return 2

        def __getitem__(self, index):
            self.drawn += 1
            return X[:8], Y[:8]

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    data, counts = Data(), []
    for _ in range(2):
        data.drawn = 0
        model.fit(data, shuffle=False, verbose=0)
        counts.append(data.drawn)
    is_old_on_jax = keras.backend.backend() == "jax" and not at_least(keras, "3.15")
    assert counts[0] == counts[1] + (2 if is_old_on_jax else 1), counts
