"""What each figure shows unless flags say otherwise. The numbers of the figures are all here.

Batches are those of the paper's rows, also in small, where the rows themselves become smaller: on
Fashion-MNIST a batch of 512 becomes one of 128, on the digits one of 8,192 becomes one of 128. Of
smaller batches on the digits a normalization would see two or four samples.
"""

import dataclasses
from collections.abc import Mapping

from benchmarks.recipe import RecipeError

# Of a warm-up where the row has none, in shares of the training: the paper's is 5 of 100 epochs.
WARMUP_SHARE = 0.05

# In small, learning rates of rows are multiplied by these: {(data, model, optimizer): factor}. They
# are not tuned: they lead to about the rates of the main job at its batch of 64.
LEARNING_RATE_FACTORS: Mapping[tuple[str, str, str], float] = {
    # 0.2 at a batch of 4 becomes 0.02 at one of 64 by linear scaling, as in `digits_sgd`.
    ("digits", "resnet50", "sgd"): 1 / 160,
    ("digits", "resnet50", "lars"): 0.2,
}

# The data set of a figure unless another is asked for. ResNet-50 on the digits is the main job.
DEFAULT_DATA = {"alexnet_bn": "fashion_mnist", "alexnet": "fashion_mnist", "resnet50": "digits"}

# The studies of `ablations`.
STUDIES = ("longer", "warmup", "exclusions", "momentum_form")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """What a figure shows.

    Attributes:
        batches: By optimizer, the batches of the paper's rows that are trained.
        seeds: One training each, of every point.
        epochs: Of every point; None is those of the row.
        learning_rates: By optimizer, those tried at each batch, beside the ones of its rows.
        layers: Regular expression for the variables that are drawn.
        records_per_epoch: How often norms and ratios are recorded.
        training_images: How many are evaluated each epoch as held-out ones are.
    """

    batches: Mapping[str, tuple[int, ...]]
    seeds: tuple[int, ...] = (1,)
    epochs: int | None = None
    learning_rates: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    layers: str = ""
    records_per_epoch: int = 0
    training_images: int = 0


def _both(*batches: int) -> dict[str, tuple[int, ...]]:
    return {"sgd": batches, "lars": batches}


_ALEXNETS = ("alexnet_bn", "alexnet")
_RESNET = ("resnet50",)
_ALL = (*_ALEXNETS, *_RESNET)
_LAYERS = "^(conv1|conv5|fc6)/"
_LAYERS_OF_RESNET = "^(stem|stage1_block1_conv2|stage4_block1_conv2|logits)/kernel"
_FIVE = (512, 4096, 8192, 16384, 32768)
_FIVE_OF_RESNET = (256, 1024, 8192, 16384, 32768)

# [(figures or studies, sizes, networks, preset)]
_TABLE = [
    (["norm_ratios"], ["paper"], _ALEXNETS, Preset(batches={"lars": (512,)})),
    (["norm_ratios"], ["small"], _ALEXNETS, Preset(batches={"lars": (512,)}, seeds=(0,))),
    (
        ["local_learning_rate"],
        ["paper"],
        _ALEXNETS,
        Preset(batches={"lars": (512, 4096, 8192)}, layers=_LAYERS, records_per_epoch=4),
    ),
    (
        ["local_learning_rate"],
        ["small"],
        _ALEXNETS,
        Preset(
            batches={"lars": (512, 4096, 16384)}, layers=_LAYERS, records_per_epoch=20, seeds=(0,)
        ),
    ),
    (
        ["local_learning_rate"],
        ["paper"],
        _RESNET,
        Preset(batches={"lars": (256, 8192, 32768)}, layers=_LAYERS_OF_RESNET, records_per_epoch=4),
    ),
    (
        ["local_learning_rate"],
        ["small"],
        _RESNET,
        Preset(
            batches={"lars": (8192, 16384, 32768)},
            layers=_LAYERS_OF_RESNET,
            records_per_epoch=4,
            seeds=(0,),
        ),
    ),
    (["accuracy_by_epoch"], ["paper"], _ALEXNETS, Preset(batches=_both(512, 8192))),
    (
        ["accuracy_by_epoch"],
        ["paper"],
        _RESNET,
        Preset(batches={"sgd": (256,), "lars": (256, 8192, 16384, 32768)}),
    ),
    (
        ["accuracy_by_epoch"],
        ["small"],
        _ALEXNETS,
        Preset(batches=_both(512, 8192), seeds=(0, 1), epochs=6),
    ),
    (["accuracy_by_epoch"], ["small"], _RESNET, Preset(batches=_both(8192, 32768), seeds=(0, 1))),
    (
        ["accuracy_by_learning_rate"],
        ["paper"],
        ["alexnet_bn"],
        Preset(
            batches={"sgd": (4096, 8192), "lars": (16384, 32768)},
            # The plateaus of the text: 13 to 22 at a batch of 16K, 17 to 28 at one of 32K.
            learning_rates={"lars": (13.0, 17.0, 20.0, 28.0)},
        ),
    ),
    (
        ["accuracy_by_learning_rate"],
        ["paper"],
        ["alexnet"],
        Preset(
            batches={"sgd": (4096, 8192), "lars": (8192,)},
            learning_rates={"lars": (5.0, 14.0, 20.0)},
        ),
    ),
    (
        ["accuracy_by_learning_rate"],
        ["small"],
        _ALEXNETS,
        Preset(
            batches=_both(8192),
            seeds=(0,),
            epochs=5,
            learning_rates={
                "sgd": (0.03, 0.1, 0.3, 1.0, 3.0),
                "lars": (3.0, 10.0, 30.0, 100.0, 300.0),
            },
        ),
    ),
    (["accuracy_by_batch_size"], ["paper"], _ALEXNETS, Preset(batches=_both(*_FIVE))),
    (["accuracy_by_batch_size"], ["paper"], _RESNET, Preset(batches=_both(*_FIVE_OF_RESNET))),
    (
        ["accuracy_by_batch_size"],
        ["small"],
        _ALEXNETS,
        Preset(batches=_both(512, 4096, 16384), seeds=(0,), epochs=6),
    ),
    (
        ["accuracy_by_batch_size"],
        ["small"],
        _RESNET,
        Preset(batches=_both(8192, 16384, 32768), seeds=(0, 1)),
    ),
    (
        ["generalization_gap"],
        ["paper"],
        _ALEXNETS,
        Preset(batches={"sgd": (512, 8192)}, training_images=50_000),
    ),
    (
        ["generalization_gap"],
        ["small"],
        _ALEXNETS,
        Preset(batches={"sgd": (512, 8192)}, training_images=10_000, seeds=(0, 1), epochs=6),
    ),
    (["longer"], ["paper"], ["alexnet_bn"], Preset(batches={"lars": (32768,)})),
    (["longer"], ["small"], ["alexnet_bn"], Preset(batches={"lars": (32768,)}, seeds=(0,))),
    (["longer"], ["paper", "small"], ["alexnet", "resnet50"], Preset(batches={"lars": (16384,)})),
    (["warmup"], ["paper"], _ALL, Preset(batches=_both(8192))),
    (["warmup"], ["small"], _ALEXNETS, Preset(batches=_both(8192), seeds=(0, 1), epochs=6)),
    (["warmup"], ["small"], _RESNET, Preset(batches=_both(8192), seeds=(0, 1))),
    (["exclusions", "momentum_form"], ["paper"], _ALL, Preset(batches={"lars": (8192,)})),
    (
        ["exclusions", "momentum_form"],
        ["small"],
        _ALEXNETS,
        Preset(batches={"lars": (8192,)}, seeds=(0, 1), epochs=6),
    ),
    (
        ["exclusions", "momentum_form"],
        ["small"],
        _RESNET,
        Preset(batches={"lars": (8192,)}, seeds=(0, 1)),
    ),
]
PRESETS: Mapping[tuple[str, str, str], Preset] = {
    (figure, size, model): preset
    for figures, sizes, models, preset in _TABLE
    for figure in figures
    for size in sizes
    for model in models
}


def find(figure: str, size: str, model: str) -> Preset:
    """The preset of a figure, or of one of its studies.

    Raises:
        RecipeError: If the figure is not one of that network.
    """
    if (figure, size, model) not in PRESETS:
        models = ", ".join(models_of(figure))
        raise RecipeError(f"--model must be one of {models} for {figure}. Received: {model}")
    return PRESETS[figure, size, model]


def models_of(*figures: str) -> tuple[str, ...]:
    """The networks that figures, or studies, have presets for; their first one is the default."""
    return tuple(dict.fromkeys(model for figure, _, model in PRESETS if figure in figures))
