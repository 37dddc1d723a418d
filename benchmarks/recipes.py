"""What is trained, on what, and how: one frozen row a training, and no number anywhere else.

Nothing here needs Keras, so that a mistake in a flag is told at once.
"""

import dataclasses
import math
from typing import Any


class RecipeError(ValueError):
    """A training that cannot be: the message is one line, for the person who asked for it."""


def _field(help: str, choices: tuple = (), minimum: float = 0, below: float = math.inf) -> Any:
    metadata = {"help": help, "choices": choices, "minimum": minimum, "below": below}
    return dataclasses.field(metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One training. Each field is a flag of `benchmarks.train` as well."""

    model: str = _field("Network.", choices=("resnet50", "resnet_tiny"))
    width: float = _field("Multiplies the filters of every convolution.", minimum=1 / 64)
    data: str = _field("Data set.", choices=("digits",))
    image_size: int = _field("Images are resized to this many pixels each way.", minimum=1)
    optimizer: str = _field("Optimizer.", choices=("lars", "sgd"))
    global_batch_size: int = _field("Images in one update.", minimum=1)
    epochs: int = _field("Passes over the training images.", minimum=1)
    learning_rate: float = _field("Learning rate at its peak.")
    warmup_epochs: float = _field("Epochs of the linear ramp up to the peak.")
    start_learning_rate: float = _field("Learning rate of the first update.")
    decay_power: float = _field("Power of the polynomial decay to 0.")
    momentum: float = _field("Momentum.", below=1)
    weight_decay: float = _field("Weight decay, of kernels only.")
    trust_coefficient: float = _field("Trust coefficient of LARS.")
    seed: int = _field("Seed of the weights and of the order of the images.", below=2**32)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, limits = getattr(self, field.name), field.metadata
            if limits["choices"]:
                is_good = value in limits["choices"]
                rule = f"one of {', '.join(limits['choices'])}"
            else:
                is_good = limits["minimum"] <= value < limits["below"]
                rule = f"a finite number of at least {limits['minimum']:g}"
                rule += f" and below {limits['below']:g}" if limits["below"] < math.inf else ""
            if not is_good:
                raise RecipeError(f"--{field.name} must be {rule}. Received: {value}")


# The main job. On two cores; see `results/` for what it reaches, and in how long.
_DIGITS_LARS = Recipe(
    model="resnet50",
    width=0.25,  # full width takes ten seconds and more a step of 256 images
    data="digits",
    image_size=8,  # as they are
    optimizer="lars",
    global_batch_size=64,
    epochs=16,
    learning_rate=4.0,
    warmup_epochs=2,
    start_learning_rate=0.0,
    decay_power=2.0,
    momentum=0.9,
    weight_decay=5e-4,
    trust_coefficient=1e-3,
    seed=0,
)

RECIPES = {
    ("digits", "lars"): _DIGITS_LARS,
    ("digits", "sgd"): dataclasses.replace(_DIGITS_LARS, optimizer="sgd", learning_rate=0.02),
}


def override(**fields: Any) -> Recipe:
    """The row for the data set and the optimizer that are asked for, with fields overridden."""
    data = fields.get("data", _DIGITS_LARS.data)
    optimizer = fields.get("optimizer", _DIGITS_LARS.optimizer)
    # Where there is no row, `Recipe` says which field is at fault.
    return dataclasses.replace(RECIPES.get((data, optimizer), _DIGITS_LARS), **fields)
