"""What makes trainings of the benchmarks cheap, and what they leave behind."""

import keras
import pytest
from support.models import smallest_network


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
