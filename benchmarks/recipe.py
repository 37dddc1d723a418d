"""`Recipe`: what is trained, on what, and how. `Execution`: how it is run, and where to.

Nothing here needs Keras, so that a mistake in a flag is reported at once.
"""

import dataclasses

from benchmarks.settings import FlagSettings, RecipeError, setting

__all__ = [
    "DATA_SETS",
    "EXCLUSIONS",
    "MODELS",
    "OPTIMIZERS",
    "Execution",
    "Recipe",
    "RecipeError",
]

MODELS = ("resnet50", "resnet50_v1_5", "alexnet", "alexnet_bn", "resnet_tiny", "alexnet_tiny")
DATA_SETS = ("digits", "fashion_mnist", "imagenet2012", "image_folder", "synthetic")
OPTIMIZERS = ("lars", "sgd")
# Which variables an exclusion leaves out. "rank_1" is bias and normalization by another name, for
# these networks; both are there because the sources say one or the other.
EXCLUSIONS = ("none", "bias_or_normalization", "rank_1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe(FlagSettings):
    """One training. The defaults are the most frequent values of the rows in `recipes/`."""

    model: str = setting("Network.", choices=MODELS)
    width: float = setting(
        "Multiplies filters and units of every hidden layer.", 1.0, minimum=1 / 64
    )
    dropout: float = setting("Fraction of a dense layer's inputs that dropout drops.", 0.0, below=1)
    virtual_batch_size: int = setting(
        "BatchNormalization is over this many samples; 0 is all that a replica has of a "
        "micro-batch.",
        0,
    )
    zero_gamma: bool = setting("Start the last normalization of each residual block at 0.", False)

    data: str = setting("Data set.", "imagenet2012", choices=DATA_SETS)
    image_size: int = setting("Height and width of the images, in pixels.", 224, minimum=1)
    pixel_scale: float = setting(
        "Multiplies pixels, which are 0 to 255 before the mean is taken.", 1 / 256
    )
    augmentation: str = setting(
        "Of training images: none; paper (random crop, mirror); extended (also scale and aspect).",
        "paper",
        choices=("none", "paper", "extended"),
    )
    label_smoothing: float = setting(
        "Fraction of a label that is spread over all classes.", 0.0, below=1
    )

    optimizer: str = setting("Optimizer.", "lars", choices=OPTIMIZERS)
    global_batch_size: int = setting("Images in one update.", minimum=1)
    epochs: int = setting("Passes over the training images.", minimum=1)
    learning_rate: float = setting("Learning rate at its peak.")
    warmup_epochs: float = setting("Epochs of the ramp up to the peak.", 0.0)
    warmup_power: float = setting("Power of the ramp: 1 is linear.", 1.0, minimum=0.01)
    start_learning_rate: float = setting("Learning rate of the first update.", 0.0)
    shift_decay: bool = setting(
        "Count the decay from the end of the ramp, not from update 0.", True
    )
    decay: str = setting(
        "Of the learning rate.", "polynomial", choices=("polynomial", "cosine", "constant")
    )
    decay_power: float = setting("Power of the polynomial decay.", 2.0, minimum=0.01)
    end_learning_rate: float = setting("Learning rate at the end of the decay.", 0.0)
    momentum: float = setting("Momentum.", 0.9, below=1)
    nesterov: bool = setting("Nesterov momentum.", False)
    momentum_form: str = setting(
        "Where the rates are multiplied in; see `keras_lars.LARS`.",
        "classic",
        choices=("classic", "learning_rate_outside", "ratio_outside"),
    )
    weight_decay: float = setting("Weight decay, added to the gradient.", 5e-4)
    exclude_from_weight_decay: str = setting("Variables without decay.", "none", choices=EXCLUSIONS)
    trust_coefficient: float = setting("Trust coefficient of LARS.", 1e-3)
    exclude_from_layer_adaptation: str = setting(
        "Variables that LARS moves at the plain learning rate.", "none", choices=EXCLUSIONS
    )
    unadapted_learning_rate_multiplier: float = setting(
        "Multiplies the learning rate of variables without adaptation.", 1.0
    )
    epsilon: float = setting("Added to the denominator of LARS's ratio.", 0.0)
    weight_norm_floor: float = setting(
        "Of LARS. With 0, the ratio of a weight whose norm is 0 is 1, as it is in published code.",
        0.0,
    )

    precision: str = setting(
        "Of the computation; weights are float32.",
        "float32",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    )
    seed: int = setting("Seed of weights, order and augmentation.", 1, below=2**32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution(FlagSettings):
    """How a recipe is run, and what it writes: next to nothing here changes what is trained.

    `micro_batch_size` changes one thing: BatchNormalization sees the samples of a micro-batch on a
    replica. `recalibrate_statistics` changes no weight, but the statistics that they are validated
    and saved with.
    """

    output_dir: str | None = setting(
        "Run folder: new, empty, or with --resume that of the same run. Default: in runs/.", None
    )
    data_dir: str | None = setting(
        "Where the data set is; by default where its tools put it.", None
    )
    micro_batch_size: int = setting(
        "Images at once, on all replicas together; updates accumulate them. 0: the global batch.", 0
    )
    validate_every_epochs: int = setting("Epochs from one validation to the next.", 1, minimum=1)
    backup_every_updates: int = setting(
        "Updates from one backup to the next. 0: one at the end of each epoch.", 0
    )
    resume: bool = setting("Resume the run in --output_dir, if there is one.", False)
    tensorboard: bool = setting("Write logs for TensorBoard, into the run folder.", False)
    record_trust_ratios_every: int = setting(
        "Updates from one record of all norms and ratios to the next. 0: none.", 0
    )
    evaluate_training_images: int = setting(
        "With each validation also evaluate this many training images, without dropout.", 0
    )
    recalibrate_statistics: bool = setting(
        "Recompute the moving statistics of normalization layers from training images before each "
        "validation, where over 5 % of the initial ones would remain at the end.",
        True,
    )
    save_model: bool = setting("Leave model.keras in the run folder.", True)
