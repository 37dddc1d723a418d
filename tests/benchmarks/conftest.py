"""What makes trainings of the benchmarks cheap, and what they leave behind."""

import keras
import pytest


def smallest_network(options):
    """All that a backup has to hold, normalization and dropout, in few layers to trace."""
    from benchmarks.models.virtual_batch import normalization

    images = keras.Input(options.image_shape, name="images")
    x = keras.layers.Conv2D(4, 3, strides=2, name="convolution")(images)
    if options.width == 1:
        x = normalization(options.virtual_batch_size, "normalization")(x)
    x = keras.layers.Flatten(name="flat")(keras.layers.ReLU(name="relu")(x))
    x = keras.layers.Dropout(options.dropout, name="dropout")(x)
    logits = keras.layers.Dense(options.classes, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name="smallest")


@pytest.fixture(scope="module")
def nothing_slow():
    """The smallest network for "alexnet_tiny", and no plot, which takes as long as the training.

    `test_benchmarks` trains a real one, and looks at a plot.
    """
    from benchmarks import models, report

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "_plot", lambda *arguments: None)
        patch.setitem(models.MODELS, "alexnet_tiny", smallest_network)
        yield


@pytest.fixture(autouse=True, scope="module")
def determinism_ends():
    """A training turns it on for its whole process, where Keras then compiles nothing by XLA."""
    yield
    if keras.backend.backend() == "tensorflow":
        from tensorflow.python.framework import config  # no public function turns it off

        config.disable_op_determinism()
