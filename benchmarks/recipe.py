"""`Recipe`: what is trained, on what, and how. `Execution`: how it is run, and where to.

Nothing here needs Keras, so that a mistake in a flag is reported at once.
"""

import dataclasses
import math
from typing import Any

MODELS = ("resnet50", "resnet50_v1_5", "alexnet", "alexnet_bn", "resnet_tiny", "alexnet_tiny")
DATA_SETS = ("digits", "fashion_mnist", "imagenet2012", "image_folder", "synthetic")
OPTIMIZERS = ("lars", "sgd")
# Which variables an exclusion leaves out. "rank_1" is bias and normalization by another name, for
# these networks; both are there because the sources say one or the other.
EXCLUSIONS = ("none", "bias_or_normalization", "rank_1")

LARGEST = 2**31  # below it are all integers but a seed: updates are counted in 32 bits on JAX


class RecipeError(ValueError):
    """A training that cannot be: the message is one line, for the person who asked for it."""


def _field(
    help: str,
    default: Any = dataclasses.MISSING,
    *,
    choices: tuple[str, ...] = (),
    minimum: float = 0,
    below: float = math.inf,
) -> Any:
    metadata = {"help": help, "choices": choices, "minimum": minimum, "below": below}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Settings:
    """Fields that are flags of `benchmarks.train` as well, and are checked."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, limits = getattr(self, field.name), field.metadata
            minimum, below = limits["minimum"], limits["below"]
            if field.type is int and below == math.inf:
                below = LARGEST
            if limits["choices"]:
                is_good = value in limits["choices"]
                rule = f"one of {', '.join(limits['choices'])}"
            elif field.type is bool:
                is_good, rule = isinstance(value, bool), "true or false"
            elif field.type in (int, float):
                is_good = minimum <= value < below
                rule = "at least" if field.type is int else "a finite number of at least"
                rule += f" {minimum:g}"
                if limits["below"] < math.inf or (math.isfinite(below) and value >= below):
                    rule += f" and below {below:.10g}"
            else:  # a path
                continue
            if not is_good:
                raise RecipeError(f"--{field.name} must be {rule}. Received: {value}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe(_Settings):
    """One training. The defaults are the most frequent values of the rows in `recipes/`."""

    model: str = _field("Network.", choices=MODELS)
    width: float = _field(
        "Multiplies filters and units of every hidden layer.", 1.0, minimum=1 / 64
    )
    dropout: float = _field("Fraction of a dense layer's inputs that dropout drops.", 0.0, below=1)
    virtual_batch_size: int = _field(
        "BatchNormalization is over this many samples; 0 is all that a replica has of a "
        "micro-batch.",
        0,
    )
    zero_gamma: bool = _field("Start the last normalization of each residual block at 0.", False)

    data: str = _field("Data set.", "imagenet2012", choices=DATA_SETS)
    image_size: int = _field("Height and width of the images, in pixels.", 224, minimum=1)
    pixel_scale: float = _field(
        "Multiplies pixels, which are 0 to 255 before the mean is taken.", 1 / 256
    )
    augmentation: str = _field(
        "Of training images: none; paper (random crop, mirror); extended (also scale and aspect).",
        "paper",
        choices=("none", "paper", "extended"),
    )
    label_smoothing: float = _field(
        "Fraction of a label that is spread over all classes.", 0.0, below=1
    )

    optimizer: str = _field("Optimizer.", "lars", choices=OPTIMIZERS)
    global_batch_size: int = _field("Images in one update.", minimum=1)
    epochs: int = _field("Passes over the training images.", minimum=1)
    learning_rate: float = _field("Learning rate at its peak.")
    warmup_epochs: float = _field("Epochs of the ramp up to the peak.", 0.0)
    warmup_power: float = _field("Power of the ramp: 1 is linear.", 1.0, minimum=0.01)
    start_learning_rate: float = _field("Learning rate of the first update.", 0.0)
    shift_decay: bool = _field("Count the decay from the end of the ramp, not from update 0.", True)
    decay: str = _field(
        "Of the learning rate.", "polynomial", choices=("polynomial", "cosine", "constant")
    )
    decay_power: float = _field("Power of the polynomial decay.", 2.0, minimum=0.01)
    end_learning_rate: float = _field("Learning rate at the end of the decay.", 0.0)
    momentum: float = _field("Momentum.", 0.9, below=1)
    nesterov: bool = _field("Nesterov momentum.", False)
    momentum_form: str = _field(
        "Where the rates are multiplied in; see `keras_lars.LARS`.",
        "classic",
        choices=("classic", "learning_rate_outside", "ratio_outside"),
    )
    weight_decay: float = _field("Weight decay, added to the gradient.", 5e-4)
    exclude_from_weight_decay: str = _field("Variables without decay.", "none", choices=EXCLUSIONS)
    trust_coefficient: float = _field("Trust coefficient of LARS.", 1e-3)
    exclude_from_layer_adaptation: str = _field(
        "Variables that LARS moves at the plain learning rate.", "none", choices=EXCLUSIONS
    )
    unadapted_learning_rate_multiplier: float = _field(
        "Multiplies the learning rate of variables without adaptation.", 1.0
    )
    epsilon: float = _field("Added to the denominator of LARS's ratio.", 0.0)
    weight_norm_floor: float = _field(
        "Of LARS. With 0, the ratio of a weight whose norm is 0 is 1, as it is in published code.",
        0.0,
    )

    precision: str = _field(
        "Of the computation; weights are float32.",
        "float32",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    )
    seed: int = _field("Seed of weights, order and augmentation.", 1, below=2**32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution(_Settings):
    """How a recipe is run, and what it writes: next to nothing here changes what is trained.

    `micro_batch_size` changes one thing: BatchNormalization sees the samples of a micro-batch on a
    replica. `recalibrate_statistics` changes no weight, but the statistics that they are validated
    and saved with.
    """

    output_dir: str | None = _field(
        "Run folder: new, empty, or with --resume that of the same run. Default: in runs/.", None
    )
    data_dir: str | None = _field("Where the data set is; by default where its tools put it.", None)
    micro_batch_size: int = _field(
        "Images at once, on all replicas together; updates accumulate them. 0: the global batch.", 0
    )
    validate_every_epochs: int = _field("Epochs from one validation to the next.", 1, minimum=1)
    backup_every_updates: int = _field(
        "Updates from one backup to the next. 0: one at the end of each epoch.", 0
    )
    resume: bool = _field("Resume the run in --output_dir, if there is one.", False)
    tensorboard: bool = _field("Write logs for TensorBoard, into the run folder.", False)
    record_trust_ratios_every: int = _field(
        "Updates from one record of all norms and ratios to the next. 0: none.", 0
    )
    evaluate_training_images: int = _field(
        "With each validation also evaluate this many training images, without dropout.", 0
    )
    recalibrate_statistics: bool = _field(
        "Recompute the moving statistics of normalization layers from training images before each "
        "validation, where over 5 % of the initial ones would remain at the end.",
        True,
    )
    save_model: bool = _field("Leave model.keras in the run folder.", True)
