"""How large the study is."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Form:
    """The same study, larger or smaller.

    Attributes:
        networks: Names in `networks.NETWORKS`.
        batches: Batch sizes.
        epochs: Of every training.
        trials: Settings that are tried for each tuned arm, at each batch size.
        seeds: Fresh ones that the chosen setting is trained with.
        image_size: Pixels each way.
        micro_batch: Larger batches are accumulated from micro-batches of this size, which memory
            holds; an update may then reach into the next epoch. None for whole batches.
    """

    networks: tuple[str, ...]
    batches: tuple[int, ...]
    epochs: int
    trials: int
    seeds: int
    image_size: int = 14
    micro_batch: int | None = None


FORMS = {
    "quick": Form(("plain",), (128, 2048, 32768), epochs=5, trials=2, seeds=1),
    "small": Form(
        ("plain", "residual"), (128, 512, 2048, 8192, 32768), epochs=10, trials=4, seeds=3
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
