"""What every test needs: fixed seeds, full float32 precision, logical CPU devices."""

import gc
import random

import keras
import pytest

from support import REPLICAS

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    from tensorflow.python.eager import context  # no public function returns the seed

    # TF32 keeps ten bits of the mantissa, so comparisons to 1e-6 would fail on a GPU.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    # Logical CPUs act as replicas. They must exist before TensorFlow starts.
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * REPLICAS,
    )


def tensorflow_is_seeded():
    """Whether its seed is 0, and no numbers have been drawn since."""
    if keras.backend.backend() != "tensorflow":
        return False
    now = context.context()
    return now._seed == 0 and now._rng.getstate() == random.Random(0).getstate()


@pytest.fixture(autouse=True)
def fixed_seeds(monkeypatch):
    """TensorFlow is seeded only if needed: seeding clears its cache of kernels, which is slow."""
    with monkeypatch.context() as patch:
        if tensorflow_is_seeded():
            patch.setattr(tf.random, "set_seed", lambda seed: None)
        keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def garbage_is_collected_early():
    """Objects in cycles are deleted at the end of their test, not minutes later.

    An interrupted `fit` leaves its iterator of tf.data behind. The thread that tunes it sleeps
    between its checks, longer and longer, up to a minute. One time in four, it misses the signal to
    end (seen on TensorFlow 2.18 and 2.21), and the garbage collector waits for it. Frozen objects
    are skipped, so that a collection only examines what the test has created.
    """
    gc.freeze()
    yield
    gc.collect()
    gc.unfreeze()


@pytest.fixture(scope="session")
def strategy():
    """One strategy for all tests of a process, since the collectives of two would collide."""
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(REPLICAS)])
