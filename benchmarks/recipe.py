"""`Recipe`: what is trained, on what, and how. The rows are in `recipes/`.

Nothing here needs Keras, so that a mistake in a flag is told at once.
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


def _field(help: str, choices: tuple = (), minimum: float = 0, below: float = math.inf) -> Any:
    metadata = {"help": help, "choices": choices, "minimum": minimum, "below": below}
    return dataclasses.field(metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training. Each field is a flag of `benchmarks.train` as well, and has no default here."""

    model: str = _field("Network.", choices=MODELS)
    width: float = _field("Multiplies filters and units of every hidden layer.", minimum=1 / 64)
    dropout: float = _field("Share of a dense layer's inputs that dropout drops.", below=1)
    virtual_batch_size: int = _field(
        "BatchNormalization is over this many samples; 0 is all that a replica has of a micro-batch"
    )
    zero_gamma: bool = _field("Start the last normalization of each residual block at 0.")

    data: str = _field("Data set.", choices=DATA_SETS)
    image_size: int = _field("Height and width of the images, in pixels.", minimum=1)
    pixel_scale: float = _field("Multiplies pixels, which are 0 to 255 before the mean is taken.")
    augmentation: str = _field(
        "Of training images: none; paper (random crop, mirror); extended (also scale and aspect).",
        choices=("none", "paper", "extended"),
    )
    label_smoothing: float = _field("Share of a label that goes to all classes alike.", below=1)

    optimizer: str = _field("Optimizer.", choices=OPTIMIZERS)
    global_batch_size: int = _field("Images in one update.", minimum=1)
    epochs: int = _field("Passes over the training images.", minimum=1)
    learning_rate: float = _field("Learning rate at its peak.")
    warmup_epochs: float = _field("Epochs of the ramp up to the peak.")
    warmup_power: float = _field("Power of the ramp: 1 is linear.", minimum=0.01)
    start_learning_rate: float = _field("Learning rate of the first update.")
    shift_decay: bool = _field("Count the decay from the end of the ramp, not from update 0.")
    decay: str = _field("Of the learning rate.", choices=("polynomial", "cosine", "constant"))
    decay_power: float = _field("Power of the polynomial decay.", minimum=0.01)
    end_learning_rate: float = _field("Learning rate at the end of the decay.")
    momentum: float = _field("Momentum.", below=1)
    nesterov: bool = _field("Nesterov momentum.")
    momentum_form: str = _field(
        "Where the rates stand; see `keras_lars.LARS`.",
        choices=("classic", "learning_rate_outside", "ratio_outside"),
    )
    weight_decay: float = _field("Weight decay, added to the gradient.")
    exclude_from_weight_decay: str = _field("Variables without decay.", choices=EXCLUSIONS)
    trust_coefficient: float = _field("Trust coefficient of LARS.")
    exclude_from_layer_adaptation: str = _field(
        "Variables that LARS moves at the plain learning rate.", choices=EXCLUSIONS
    )
    unadapted_learning_rate_multiplier: float = _field(
        "Multiplies the learning rate of variables without adaptation."
    )
    epsilon: float = _field("Added to the denominator of LARS's ratio.")
    weight_norm_floor: float = _field(
        "Of LARS. With 0, the ratio of a weight whose norm is 0 is 1, as it is in published code."
    )

    precision: str = _field(
        "Of the computation; weights are float32.",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    )
    seed: int = _field("Seed of weights, order and augmentation.", below=2**32)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, limits = getattr(self, field.name), field.metadata
            below = limits["below"]
            if field.type is int and below == math.inf:
                below = LARGEST
            if limits["choices"]:
                is_good = value in limits["choices"]
                rule = f"one of {', '.join(limits['choices'])}"
            elif field.type is bool:
                is_good, rule = isinstance(value, bool), "true or false"
            else:
                is_good = limits["minimum"] <= value < below
                rule = f"a finite number of at least {limits['minimum']:g}"
                if limits["below"] < math.inf or (math.isfinite(below) and value >= below):
                    rule += f" and below {below:.10g}"
            if not is_good:
                raise RecipeError(f"--{field.name} must be {rule}. Received: {value}")
