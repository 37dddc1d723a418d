"""`Recipe`: what is trained, on which data, and how. `Execution`: how it is run and what it writes.

Needs no Keras, so a wrong flag is reported at once.
"""

import dataclasses

from benchmarks.settings import FlagSettings, RecipeError, setting

__all__ = ["DATA_SETS", "EXCLUSIONS", "MODELS", "OPTIMIZERS", "Execution", "Recipe", "RecipeError"]

MODELS = ("resnet50", "resnet50_v1_5", "alexnet", "alexnet_bn", "resnet_tiny", "alexnet_tiny")
DATA_SETS = ("digits", "fashion_mnist", "imagenet2012", "image_folder", "synthetic")
OPTIMIZERS = ("lars", "sgd")
# Which variables are excluded. For these networks "rank_1" means the same as
# "bias_or_normalization". Both exist because the sources use one or the other.
EXCLUSIONS = ("none", "bias_or_normalization", "rank_1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe(FlagSettings):
    """One training. The defaults are the most frequent values of the rows in `recipes/`."""

    model: str = setting("Network to train.", choices=MODELS)
    width: float = setting(
        "Factor for the filters and units of every hidden layer.", 1.0, minimum=1 / 64
    )
    dropout: float = setting("Dropout rate before dense layers.", 0.0, below=1)
    virtual_batch_size: int = setting(
        "Samples that BatchNormalization normalizes over. 0: a replica's share of a micro-batch.",
        0,
    )
    zero_gamma: bool = setting(
        "Initialize the last normalization of each residual block with a gamma of 0.", False
    )

    data: str = setting("Data set to train on.", "imagenet2012", choices=DATA_SETS)
    image_size: int = setting("Image height and width in pixels.", 224, minimum=1)
    pixel_scale: float = setting(
        "Factor for pixels, which are 0 to 255 before the mean is subtracted.", 1 / 256
    )
    augmentation: str = setting(
        "Augmentation of training images: none; paper (random crop, mirroring); or extended (also "
        "scale and aspect ratio).",
        "paper",
        choices=("none", "paper", "extended"),
    )
    label_smoothing: float = setting(
        "Fraction of each label to spread over all classes.", 0.0, below=1
    )

    optimizer: str = setting("Optimizer to train with.", "lars", choices=OPTIMIZERS)
    global_batch_size: int = setting("Images per update.", minimum=1)
    epochs: int = setting("Passes over the training images.", minimum=1, below=1e6)
    learning_rate: float = setting("Peak learning rate.")
    warmup_epochs: float = setting("Epochs of warm-up to the peak learning rate.", 0.0)
    warmup_power: float = setting("Power of the warm-up; 1 is linear.", 1.0, minimum=0.01)
    start_learning_rate: float = setting("Learning rate at the start of the warm-up.", 0.0)
    shift_decay: bool = setting(
        "Count the decay from the end of the warm-up, not from the first update.", True
    )
    decay: str = setting(
        "Shape of the learning rate decay.",
        "polynomial",
        choices=("polynomial", "cosine", "constant"),
    )
    decay_power: float = setting("Power of the polynomial decay.", 2.0, minimum=0.01)
    end_learning_rate: float = setting("Learning rate at the end of the decay.", 0.0)
    momentum: float = setting("Momentum coefficient.", 0.9, below=1)
    nesterov: bool = setting("Use Nesterov momentum.", False)
    momentum_form: str = setting(
        "Where the learning rate and the trust ratio enter the momentum; see `keras_lars.LARS`.",
        "classic",
        choices=("classic", "learning_rate_outside", "ratio_outside"),
    )
    weight_decay: float = setting("Weight decay, added to the gradient.", 5e-4)
    exclude_from_weight_decay: str = setting(
        "Variables without weight decay.", "none", choices=EXCLUSIONS
    )
    trust_coefficient: float = setting("Trust coefficient of LARS.", 1e-3)
    exclude_from_layer_adaptation: str = setting(
        "Variables that LARS updates without a trust ratio.", "none", choices=EXCLUSIONS
    )
    unadapted_learning_rate_multiplier: float = setting(
        "Factor for the learning rate of variables without layer adaptation.", 1.0
    )
    epsilon: float = setting("Added to the denominator of the trust ratio.", 0.0)
    weight_norm_floor: float = setting(
        "Smallest weight norm that the trust ratio uses, as a root mean square. 0: the trust ratio "
        "of a weight with norm 0 is 1, as in published code.",
        0.0,
    )

    precision: str = setting(
        "Precision of the computation. Weights are float32.",
        "float32",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    )
    seed: int = setting(
        "Seed of the initial weights, the order of images and augmentation.", 1, below=2**32
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution(FlagSettings):
    """How a recipe is run, and what it writes. Almost nothing here changes what is trained.

    `micro_batch_size` limits the samples that BatchNormalization sees to a replica's share of a
    micro-batch. `recalibrate_statistics` changes no trained weight, only the moving statistics used
    in validation and saved with the model.
    """

    output_dir: str | None = setting(
        "Run folder. It must be new or empty, or hold the same run if --resume is given. Default: "
        "a new folder in runs/.",
        None,
    )
    data_dir: str | None = setting(
        "Folder of the data set. Default: where the tools of the data set put it.", None
    )
    micro_batch_size: int = setting(
        "Images per micro-batch, over all replicas. An update accumulates the gradients of its "
        "micro-batches. 0: the global batch size.",
        0,
    )
    validate_every_epochs: int = setting("Epochs between validations.", 1, minimum=1)
    backup_every_updates: int = setting(
        "Updates between backups. 0: one backup at the end of each epoch.", 0
    )
    resume: bool = setting("Resume the run in --output_dir, if there is one.", False)
    tensorboard: bool = setting("Write TensorBoard logs to the run folder.", False)
    record_trust_ratios_every: int = setting(
        "Updates between records of all norms and trust ratios. 0: no records.", 0
    )
    evaluate_training_images: int = setting(
        "Training images to evaluate with each validation, without dropout or augmentation.", 0
    )
    recalibrate_statistics: bool = setting(
        "Recompute the moving statistics of normalization layers from training images before each "
        "validation, if more than 5 % of their initial values would remain at the end.",
        True,
    )
    save_model: bool = setting("Save model.keras in the run folder.", True)
