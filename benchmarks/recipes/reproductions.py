"""ResNet-50 with LARS from 512 to 32K, by the lab of the paper's first author.

github.com/NUS-HPC-AI-Lab/LARS-ImageNet-PyTorch, README and lars.py: the rate grows with the root of
the batch, the warm-up doubles with it.
"""

import dataclasses

from benchmarks.recipes.mlperf import RESNET
from benchmarks.recipes.row import Row

_NUS = dataclasses.replace(
    RESNET,
    label_smoothing=0.0,
    zero_gamma=False,
    epochs=90,
    weight_decay=1e-4,
    end_learning_rate=0.0,
    epsilon=1e-5,
    momentum_form="learning_rate_outside",
)
_UNVERIFIED = (
    "virtual_batch_size",
    "trust_coefficient",
    "label_smoothing",
    "zero_gamma",
    "decay_power",
    "end_learning_rate",
    "epsilon",
    "start_learning_rate",
)
# {batch: (learning rate, warm-up in epochs, top-1)}
_POINTS = {
    512: (2**2, 10 / 64, 77.02),
    1024: (2**2.5, 10 / 32, 76.96),
    4096: (2**3.5, 10 / 8, 77.38),
    8192: (2**4, 10 / 4, 77.14),
    16384: (2**4.5, 5, 76.96),
    32768: (2**5, 14, 76.75),
}

ROWS = [
    Row(
        name=f"nus_{batch}",
        recipe=dataclasses.replace(
            _NUS,
            global_batch_size=batch,
            learning_rate=float(rate),
            warmup_epochs=float(warmup_epochs),
        ),
        source="github NUS-HPC-AI-Lab/LARS-ImageNet-PyTorch",
        published=published,
        unverified=_UNVERIFIED,
        note="its code also limits ratios to 50 and gradients to 10, which is not done here",
    )
    for batch, (rate, warmup_epochs, published) in _POINTS.items()
]
