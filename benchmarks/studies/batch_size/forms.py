"""How large the study is."""

import dataclasses

from benchmarks.studies.batch_size.arms import ARMS, RATES


@dataclasses.dataclass(frozen=True)
class Form:
    """The same study, larger or smaller.

    Attributes:
        networks: Names in `networks.NETWORKS`.
        batches: Batch sizes.
        epochs: Of every training.
        trials: Settings that are tried for each tuned arm, at each batch size.
        seeds: Fresh ones that the chosen setting is trained with; none where nothing is chosen.
        image_size: Pixels each way.
        micro_batch: Larger batches are accumulated from micro-batches of this size, which memory
            holds; an update may then reach into the next epoch. None for whole batches.
        arms: Names in `arms.BY_NAME`.
    """

    networks: tuple[str, ...]
    batches: tuple[int, ...]
    epochs: int
    trials: int
    seeds: int
    image_size: int = 14
    micro_batch: int | None = None
    arms: tuple[str, ...] = tuple(arm.name for arm in ARMS)


_SMALL = Form(("plain", "residual"), (128, 512, 2048, 8192, 32768), epochs=10, trials=4, seeds=3)
FORMS = {
    "quick": Form(("plain",), (128, 2048, 32768), epochs=5, trials=2, seeds=1),
    "small": _SMALL,
    # The same trainings at many more learning rates, and nothing chosen of them.
    "rates": dataclasses.replace(_SMALL, trials=8, seeds=0, arms=tuple(arm.name for arm in RATES)),
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
