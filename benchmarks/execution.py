"""`Execution`: how a recipe is run, with next to no say in what is trained. Needs no Keras."""

import dataclasses
from typing import Any

from benchmarks.recipe import LARGEST, RecipeError


def _field(default: Any, help: str, minimum: int = 0) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, "minimum": minimum})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution:
    """How, and where to. Each field is a flag of `benchmarks.train`.

    `micro_batch_size` has a say in one thing: the samples that BatchNormalization sees at once are
    those of a micro-batch on a replica. `recalibrate_statistics` changes no weight, but what they
    are validated and saved with.
    """

    output_dir: str | None = _field(
        None, "Run folder: new, empty, or with --resume that of the same run. Default: in runs/."
    )
    data_dir: str | None = _field(None, "Where the data set is; by default where its tools put it.")
    micro_batch_size: int = _field(
        0, "Images at once, on all replicas together; updates accumulate them. 0: the global batch."
    )
    validate_every_epochs: int = _field(1, "Epochs from one validation to the next.", 1)
    backup_every_updates: int = _field(
        0, "Updates from one backup to the next. 0: one at the end of each epoch."
    )
    resume: bool = _field(False, "Go on with the run in --output_dir, if there is one.")
    tensorboard: bool = _field(False, "Write logs for TensorBoard, into the run folder.")
    record_trust_ratios_every: int = _field(
        0, "Updates from one record of all norms and ratios to the next. 0: none."
    )
    evaluate_training_images: int = _field(
        0, "With each validation evaluate so many training images as well, without dropout."
    )
    recalibrate_statistics: bool = _field(
        True,
        "Take the moving statistics of normalization layers anew from training images before each "
        "validation, where they would keep over 5 % of the initial ones to the end.",
    )
    save_model: bool = _field(True, "Leave model.keras in the run folder.")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, minimum = getattr(self, field.name), field.metadata["minimum"]
            if field.type is int and value < minimum:
                raise RecipeError(f"--{field.name} must be at least {minimum}. Received: {value}")
            if field.type is int and value >= LARGEST:
                raise RecipeError(f"--{field.name} must be below 2**31. Received: {value}")
