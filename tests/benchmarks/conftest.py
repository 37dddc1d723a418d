"""Fixtures that make trainings of the benchmarks cheap, and that undo their settings."""

import keras
import pytest
from support.models import smallest_network


@pytest.fixture(scope="module")
def fast_training():
    """Replaces "alexnet_tiny" with the smallest network, and skips the plot.

    The plot takes as long as the training. `test_benchmarks` trains a real network and plots it.
    """
    from benchmarks import models, report

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "_plot", lambda *arguments: None)
        patch.setitem(models.MODELS, "alexnet_tiny", smallest_network)
        yield


@pytest.fixture(autouse=True, scope="module")
def restore_nondeterminism():
    """A training turns determinism on for the whole process; Keras then never compiles with XLA."""
    yield
    if keras.backend.backend() == "tensorflow":
        from tensorflow.python.framework import config  # no public function turns it off

        config.disable_op_determinism()
