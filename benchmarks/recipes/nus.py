"""ResNet-50 with LARS from 512 to 32K, by the lab of the paper's first author.

github.com/NUS-HPC-AI-Lab/LARS-ImageNet-PyTorch: README, lars.py, utils.py and
pytorch_imagenet_resnet.py. The rate grows with the root of the batch, the warm-up up to 8K with the
batch.
"""

from benchmarks.recipe import Recipe
from benchmarks.recipes.mlperf import RESNET
from benchmarks.recipes.row import Row

# {batch: (learning rate, warm-up in epochs, images of a GPU, top-1)}
_POINTS = {
    512: (2**2, 10 / 64, 64, 77.02),
    1024: (2**2.5, 10 / 32, 128, 76.96),
    4096: (2**3.5, 10 / 8, 128, 77.38),
    8192: (2**4, 10 / 4, 128, 77.14),
    16384: (2**4.5, 5, 128, 76.96),
    32768: (2**5, 14, 128, 76.75),
}

ROWS = [
    Row(
        name=f"nus_{batch}",
        recipe=Recipe(
            **RESNET,  # torchvision's has the strides in the 3x3 convolutions as well
            global_batch_size=batch,
            virtual_batch_size=of_a_gpu,
            epochs=90,
            learning_rate=float(rate),
            warmup_epochs=float(warmup_epochs),
            weight_decay=1e-4,
            momentum_form="ratio_outside",
            epsilon=1e-5,
            seed=42,
        ),
        source="github NUS-HPC-AI-Lab/LARS-ImageNet-PyTorch",
        published=published,
        # Defaults of the program, of which some versions are without this epsilon; of the two
        # largest batches the number of GPUs was not seen.
        unverified=("label_smoothing", "momentum", "epsilon")
        + (("virtual_batch_size",) if batch > 8192 else ()),
        note="theirs limits ratios to 50, gradients to 10",
    )
    for batch, (rate, warmup_epochs, of_a_gpu, published) in _POINTS.items()
]
