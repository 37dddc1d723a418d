"""Images per second of training with LARS and with SGD: `python -m benchmarks.speed.step`.

Trains the paper's ResNet-50 at full width on noise images, with cross entropy. The optimizers take
turns, one step each per round, so other load on the machine affects them equally. With
`--micro_batches`, it compares LARS with and without `record_noise_scale`. It runs on every backend
of Keras.
"""

import dataclasses
import statistics
import time
from typing import Any

import numpy as np

from benchmarks import environment, frames
from benchmarks.lazy import keras, keras_lars
from benchmarks.recipe import MODELS, Recipe, RecipeError
from benchmarks.settings import FlagSettings, setting
from benchmarks.speed import command
from benchmarks.speed.tables import images_per_second, ratio

CLASSES = 1000
WARMUP_STEPS = 3


def recipe_field(name: str, default: Any = None) -> Any:
    """A field of `Recipe`, with its own default or another one."""
    field = Recipe.__dataclass_fields__[name]
    return dataclasses.field(default=default or field.default, metadata=field.metadata)


@dataclasses.dataclass(frozen=True)
class Settings(FlagSettings):
    """What to train; the fields are flags."""

    model: str = setting(
        "Network to train.",
        "resnet50",
        choices=[name for name in MODELS if name.startswith("resnet")],
    )
    image_size: int = setting("Image height and width in pixels.", 64, minimum=8)
    global_batch_size: int = setting("Images per step.", 64, minimum=1)
    precision: str = recipe_field("precision")
    rounds: int = setting("Timed steps of each optimizer.", 30, minimum=2)
    micro_batches: int = setting(
        "Micro-batches per batch. If there are several, only LARS is trained.", 1, minimum=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.global_batch_size % self.micro_batches:
            raise RecipeError(
                "--micro_batches must divide --global_batch_size. "
                f"Received: {self.micro_batches} and {self.global_batch_size}"
            )

    @property
    def optimizers(self) -> tuple[str, ...]:
        """The optimizers that take turns; the others are compared to the first."""
        several = self.micro_batches > 1
        return ("lars", "lars, record_noise_scale") if several else ("sgd", "lars")


def compiled(optimizer: Any, *model: Any, **options: Any) -> "keras.Model":
    """A network with an optimizer and cross entropy. The other arguments are of `models.build`."""
    from benchmarks import losses, models

    network = models.build(*model, **options)
    network.compile(optimizer, losses.cross_entropy(label_smoothing=0))
    return network


class Training:
    """A compiled model and one batch."""

    def __init__(self, settings: Settings, optimizer: str):
        keras.utils.set_random_seed(0)
        image_shape = (settings.image_size, settings.image_size, 3)
        options: dict[str, Any] = {"momentum": 0.9, "weight_decay": 5e-4}
        if settings.micro_batches > 1:
            options["gradient_accumulation_steps"] = settings.micro_batches
            options["record_noise_scale"] = "record_noise_scale" in optimizer
        made_by = keras.optimizers.SGD if optimizer == "sgd" else keras_lars.LARS
        made = made_by(0.1, **options)
        # The stem for large images reduces small ones, so a step is mostly the update.
        self.model = compiled(made, settings.model, image_shape, CLASSES, small_stem=False)
        random = np.random.default_rng(0)
        images = random.normal(size=(settings.global_batch_size, *image_shape))
        labels = random.integers(CLASSES, size=settings.global_batch_size)
        parts = (np.split(x, settings.micro_batches) for x in (images.astype("float32"), labels))
        self.batches = keras.tree.map_structure(keras.ops.convert_to_tensor, list(zip(*parts)))

    def seconds(self) -> float:
        """Times a step. It has ended, because `train_on_batch` returns the loss as a number."""
        started = time.perf_counter()
        for images, labels in self.batches:
            self.model.train_on_batch(images, labels)
        return time.perf_counter() - started


def measure(settings: Settings) -> dict:
    """Times the steps of the optimizers, which take turns."""
    keras.config.set_dtype_policy(settings.precision)
    trainings = {name: Training(settings, name) for name in settings.optimizers}
    first_calls = {name: training.seconds() for name, training in trainings.items()}
    for training in trainings.values():
        for _ in range(WARMUP_STEPS):
            training.seconds()
    rounds_us: dict[str, list[int]] = {name: [] for name in trainings}
    for i in range(settings.rounds):
        # The optimizers alternate in being first.
        for name in settings.optimizers[:: 1 if i % 2 else -1]:
            rounds_us[name].append(round(1e6 * trainings[name].seconds()))
    keras.config.set_dtype_policy("float32")
    return {
        "settings": dataclasses.asdict(settings),
        **environment.record(keras.backend.backend()),
        "parameters": trainings["lars"].model.count_params(),
        "first_call_seconds": first_calls,
        "rounds_us": rounds_us,
    }


def table(results: dict) -> str:
    """A Markdown table of the times."""
    rows = []
    first, *_ = results["rounds_us"]
    for name, rounds_us in results["rounds_us"].items():
        quartiles_us = statistics.quantiles(rounds_us, n=4, method="inclusive")
        lower, median, upper = (f"{us / 1000:.0f}" for us in quartiles_us)
        relative = ratio(rounds_us, results["rounds_us"][first])
        rows.append(
            {
                "optimizer": name,
                "images per second": f"{images_per_second(results, name):.1f}",
                "step in ms, median (quartiles)": f"{median} ({lower} to {upper})",
                f"time relative to {first.upper()}": f"{relative:.3f}",
            }
        )
    return frames.markdown(rows)


if __name__ == "__main__":
    command.main(Settings, lambda settings: [measure(settings)], table)
