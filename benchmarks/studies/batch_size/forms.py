"""How large the study is."""

import dataclasses

from benchmarks.studies.batch_size.arms import ARMS, CONSTANT_RATES, RATES, ZERO_WEIGHTS, Arm


@dataclasses.dataclass(frozen=True)
class Form:
    """The same study, larger or smaller.

    Attributes:
        networks: Names in `networks.NETWORKS`.
        batches: Batch sizes.
        epochs: Of every training.
        trials: Settings that are tried for each tuned arm, at each batch size.
        seeds: Fresh ones that the chosen setting is trained with; none where nothing is chosen.
        image_size: Pixels each way; 28 divided by a whole number, or 8 of the digits.
        micro_batch: Larger batches are accumulated from micro-batches of this size, which memory
            holds; an update may then reach into the next epoch. None for whole batches.
        arms: Names in `arms.BY_NAME`.
        data: "fashion_mnist" or "digits".
    """

    networks: tuple[str, ...]
    batches: tuple[int, ...]
    epochs: int
    trials: int
    seeds: int
    image_size: int = 14
    micro_batch: int | None = None
    arms: tuple[str, ...] = tuple(arm.name for arm in ARMS)
    data: str = "fashion_mnist"


def _names(arms: tuple[Arm, ...]) -> tuple[str, ...]:
    return tuple(arm.name for arm in arms)


_THREE = ("plain", "residual", "vit")
_SMALL = Form(("plain", "residual"), (128, 512, 2048, 8192, 32768), epochs=10, trials=4, seeds=3)
FORMS = {
    "quick": Form(("plain",), (128, 2048, 32768), epochs=5, trials=2, seeds=1),
    "small": _SMALL,
    # The same trainings at many more learning rates, and nothing chosen of them.
    "rates": dataclasses.replace(_SMALL, trials=8, seeds=0, arms=_names(RATES)),
    "zero_weights": Form(
        _THREE, (512, 4096, 8192), epochs=8, trials=0, seeds=3, arms=_names(ZERO_WEIGHTS)
    ),
    "zero_weights_gamma": Form(
        ("residual_zero_gamma",), (4096,), epochs=8, trials=0, seeds=3, arms=_names(ZERO_WEIGHTS)
    ),
    # 4x4 pixels and 3 epochs, since it is the slowest by far.
    "zero_weights_resnet50": Form(
        ("resnet50_quarter",),
        (4096, 8192),
        epochs=3,
        trials=0,
        seeds=3,
        image_size=4,
        arms=_names(ZERO_WEIGHTS),
    ),
    "zero_weights_digits": Form(
        ("resnet50_quarter",),
        (64, 512),
        epochs=16,
        trials=0,
        seeds=3,
        image_size=8,
        arms=_names(ZERO_WEIGHTS),
        data="digits",
    ),
    "constant_rates": Form(
        _THREE, (128, 1024, 8192), epochs=8, trials=0, seeds=1, arms=_names(CONSTANT_RATES)
    ),
    "constant_rates_digits": Form(
        ("resnet50_quarter",),
        (64, 512),
        epochs=16,
        trials=0,
        seeds=1,
        image_size=8,
        arms=_names(CONSTANT_RATES),
        data="digits",
    ),
    # For a GPU of 80 GB.
    "resnet50": Form(
        ("resnet50",),
        (256, 1024, 4096, 32768),
        epochs=30,
        trials=8,
        seeds=3,
        image_size=28,
        micro_batch=1024,
    ),
}
