"""Fine-tuning at a batch of 512: LARS with `for_fit`, other optimizers at several learning rates.

python -m benchmarks.experiments.fine_tuning [--seeds=3]

`plain` is first trained on the 30,000 training images of Fashion-MNIST's first five classes. Then
its last layer is replaced, and the whole network is trained for 8 epochs on 10,000 images of the
other five classes. It is evaluated on the 5,000 held-out images of these classes.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from benchmarks import frames
from benchmarks.experiments import results
from benchmarks.experiments.experiment import Seeds
from benchmarks.experiments.small import images
from benchmarks.experiments.small.training import fit, new_model, reached
from benchmarks.experiments.sweep import Run
from benchmarks.lazy import keras, keras_lars

BATCH_SIZE, EPOCHS, IMAGE_SIZE, IMAGES, CLASSES = 512, 8, 14, 10_000, 5
# Peak learning rates by optimizer, all with the same schedule; 0 is the rate of `for_fit`.
RATES = {
    "LARS, for_fit": (0.0,),
    "SGD, momentum 0.9": (0.01, 0.03, 0.1),
    "AdamW": (1e-4, 1e-3, 1e-2),
    "Adam": (1e-4, 1e-3, 1e-2),
}


@dataclasses.dataclass(frozen=True)
class Tuning:
    """One fine-tuning."""

    optimizer: str
    rate: float  # 0 for the learning rate of `for_fit`
    seed: int

    def train(self, data_dir: str | None) -> dict:
        """Fine-tunes a network, after its first training. Returns the result."""
        weights = first_training(self.seed, data_dir)
        data = images.load(data_dir, IMAGE_SIZE)
        part = of_classes(data["training"], last=True)[:IMAGES]
        held_out = of_classes(data["held_out"], last=True)
        model = new_model("plain", self.seed, part, CLASSES)
        model.set_weights([*weights[:-2], *model.get_weights()[-2:]])
        make = {
            "LARS, for_fit": keras_lars.LARS,
            "SGD, momentum 0.9": functools.partial(keras.optimizers.SGD, momentum=0.9),
            "AdamW": keras.optimizers.AdamW,
            "Adam": keras.optimizers.Adam,
        }[self.optimizer]
        return reached(model, make(schedule(self.rate)), part, held_out, BATCH_SIZE, EPOCHS)


def schedule(rate: float) -> "keras_lars.schedules.FitSchedule":
    return keras_lars.schedules.for_fit(IMAGES, EPOCHS, BATCH_SIZE, learning_rate=rate or None)


def of_classes(part: images.Part, last: bool) -> images.Part:
    """The images of the last or first five classes, with labels from 0 to 4."""
    chosen = part[(part.labels >= CLASSES) == last]
    return images.Part(chosen.images, chosen.labels % CLASSES)


@functools.cache
def first_training(seed: int, data_dir: str | None) -> list[np.ndarray]:
    """The weights from which all fine-tunings of a seed start."""
    part = of_classes(images.load(data_dir, IMAGE_SIZE)["training"], last=False)
    model = new_model("plain", seed, part, CLASSES)
    rate = keras_lars.schedules.for_fit(len(part.images), 4, BATCH_SIZE)
    fit(model, keras_lars.LARS(rate), part, BATCH_SIZE, 4)
    return model.get_weights()


class FineTuning(Seeds):
    images_per_run = EPOCHS * IMAGES
    constants: ClassVar = {
        "batch_size": BATCH_SIZE,
        "epochs": EPOCHS,
        "image_size": IMAGE_SIZE,
        "images": IMAGES,
    }

    def runs(self, done: Mapping[str, dict]) -> list[Run]:
        return self.runs_at(RATES, Tuning, lambda rate: rate or schedule(rate).peak)

    @staticmethod
    def table(found: dict) -> str:
        """A Markdown table with one row per optimizer and learning rate."""
        rates = results.frame(found).groupby(["optimizer", "learning_rate"], sort=False)
        table = rates["percent"].mean().map("{:.1f}".format).reset_index()
        table["learning_rate"] = table["learning_rate"].map("{:g}".format)
        return frames.markdown(table.set_axis(["", "learning rate", "test accuracy in %"], axis=1))


if __name__ == "__main__":
    FineTuning.main()
