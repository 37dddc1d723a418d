"""Checks of the pages' code blocks for this backend; `backend_script.py` runs them."""

import keras
import numpy as np
import pytest

import keras_lars
from support import pages
from support.helpers import to_numpy


def check_code_blocks_of_pages():
    found = [b for b in pages.blocks("python") if pages.other_backend(b) == keras.backend.backend()]
    assert found
    for block in found:
        names = {"keras": keras, "keras_lars": keras_lars}
        exec(block.text, names)
        optimizer = names["optimizer"]
        assert int(optimizer.iterations) == 10, block.section
        assert all(np.any(to_numpy(velocity)) for velocity in optimizer.momentums), block.section


def check_a_wrapped_torch_module():
    if keras.backend.backend() != "torch":
        return
    import torch

    net = torch.nn.Linear(3, 1)
    for refused in (
        lambda: keras_lars.LARS(0.1).build(list(net.parameters())),
        lambda: keras_lars.LARS(0.1).apply([torch.ones(1, 3), torch.ones(1)], [*net.parameters()]),
    ):
        with pytest.raises(ValueError, match=r"must be a list of Keras variables\. Wrap"):
            refused()
    for refused in (net, net.parameters(), [*net.parameters()]):
        with pytest.raises(ValueError, match="Parameters are not an argument"):
            keras_lars.LARS(refused)
    layer = keras.layers.TorchModuleWrapper(net, output_shape=(None, 1))
    model = keras.Sequential([layer])
    model.compile(keras_lars.LARS(1.0), "mse")
    history = model.fit(np.ones((4, 3), "float32"), np.ones((4, 1), "float32"), verbose=0).history
    assert np.isfinite(history["loss"]).all()
