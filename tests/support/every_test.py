"""What every test needs: fixed seeds, full float32 precision, logical CPU devices."""

import gc
import random

import keras
import pytest

from support import REPLICAS

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    from tensorflow.python.eager import context  # no public function tells the seed

    # TF32 keeps ten bits of the mantissa: comparisons to 1e-6 would fail on a GPU.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    # Replicas are imitated by logical CPUs, which must exist before TensorFlow starts.
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * REPLICAS,
    )


def tensorflow_is_seeded():
    """Whether its seed is 0, and nothing was drawn since."""
    if keras.backend.backend() != "tensorflow":
        return False
    now = context.context()
    return now._seed == 0 and now._rng.getstate() == random.Random(0).getstate()


@pytest.fixture(autouse=True)
def fixed_seeds(monkeypatch):
    """TensorFlow's only where needed: that it forgets how to run what it has run takes long."""
    with monkeypatch.context() as patch:
        if tensorflow_is_seeded():
            patch.setattr(tf.random, "set_seed", lambda seed: None)
        keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def garbage_is_collected_young():
    """What a test leaves in cycles is deleted at its end, and not minutes later.

    A `fit` that is broken off leaves its iterator of tf.data behind. The thread that tunes it
    sleeps between its looks, the longer the older it is, up to a minute, and one time in four it
    misses that it is told to end (seen on TensorFlow 2.18 and 2.21): whoever collects it waits.
    Frozen objects are not looked at, so that a collection costs no more than the test has made.
    """
    gc.freeze()
    yield
    gc.collect()
    gc.unfreeze()


@pytest.fixture(scope="session")
def strategy():
    """One strategy for all tests of a process: the collectives of two collide."""
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(REPLICAS)])
