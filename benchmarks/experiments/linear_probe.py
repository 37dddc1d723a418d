"""Linear probing of frozen features: LARS as in MAE, SGD and AdamW, at seven rates each.

python -m benchmarks.experiments.linear_probe [--seeds=3]

`plain` first learns, without labels, by how much an image of Fashion-MNIST is rotated. Then its
convolutions are frozen. One dense layer classifies their features, which are normalized without
scale and shift. It is trained for 20 epochs at a batch of 4,096, and evaluated on 5,000 held-out
images.
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

BATCH_SIZE, EPOCHS, IMAGE_SIZE = 4096, 20, 14
TURNS, FIRST_BATCH_SIZE, FIRST_EPOCHS = 4, 512, 2
# Peak learning rates by optimizer, all with the same schedule. The third of LARS follows MAE's
# rule, 0.1 * batch / 256. The last of each was added because the best of AdamW was the largest.
RATES = {
    "LARS": (0.1, 0.4, 1.6, 6.4, 25.6, 102.4, 409.6),
    "SGD, momentum 0.9": (0.01, 0.04, 0.16, 0.64, 2.56, 10.24, 40.96),
    "AdamW": (1e-4, 4e-4, 1.6e-3, 6.4e-3, 2.56e-2, 0.1024, 0.4096),
}


@dataclasses.dataclass(frozen=True)
class Probing:
    """One training of a dense layer on frozen features."""

    optimizer: str
    rate: float
    seed: int

    def train(self, data_dir: str | None) -> dict:
        """Trains a dense layer, after the features are learned. Returns the result."""
        parts = features(self.seed, data_dir)
        training = parts["training"]
        keras.utils.set_random_seed(self.seed)
        model = probe(training.images.shape[1:])
        return reached(model, self.make_optimizer(), training, parts["test"], BATCH_SIZE, EPOCHS)

    def make_optimizer(self) -> "keras.Optimizer":
        samples = images.TRAINING["fashion_mnist"]
        rate = keras_lars.schedules.for_fit(samples, EPOCHS, BATCH_SIZE, learning_rate=self.rate)
        if self.optimizer == "AdamW":
            return keras.optimizers.AdamW(rate)
        if self.optimizer != "LARS":
            return keras.optimizers.SGD(rate, momentum=0.9)
        return keras_lars.LARS(
            rate,
            momentum_form="learning_rate_outside",
            weight_decay=0.0,
            zero_weight_ratio=1.0,
            weight_norm_floor=0,
            decay_in_norm=True,
            exclude_from_layer_adaptation=keras_lars.rank_at_most(1),
            exclude_from_weight_decay=keras_lars.rank_at_most(1),
        )


def probe(shape: tuple[int, ...]) -> "keras.Model":
    """The probe of MAE: normalization without scale and shift, and a layer with small weights."""
    small = keras.initializers.TruncatedNormal(stddev=0.01)
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-6, center=False, scale=False),
            keras.layers.Dense(images.CLASSES, kernel_initializer=small),
        ]
    )


@functools.lru_cache(maxsize=1)
def features(seed: int, data_dir: str | None) -> dict[str, images.Part]:
    """The features of the training and test images."""
    data = images.load(data_dir, IMAGE_SIZE)
    turned = turns(data["training"].images)
    model = new_model("plain", seed, turned, TURNS)
    rate = keras_lars.schedules.for_fit(len(turned.images), FIRST_EPOCHS, FIRST_BATCH_SIZE)
    fit(model, keras_lars.LARS(rate), turned, FIRST_BATCH_SIZE, FIRST_EPOCHS)
    frozen = keras.Model(model.inputs, model.get_layer("flatten").output)
    return {
        name: images.Part(frozen.predict(data[name].images, 1000, verbose=0), data[name].labels)
        for name in ("training", "test")
    }


def turns(pixels: np.ndarray) -> images.Part:
    """The images rotated by 0, 90, 180 and 270 degrees; the label is the rotation."""
    turned = [np.rot90(pixels, count, axes=(1, 2)) for count in range(TURNS)]
    labels = np.repeat(np.arange(TURNS, dtype="int32"), len(pixels))
    return images.Part(np.concatenate(turned), labels)


class LinearProbe(Seeds):
    images_per_run = EPOCHS * images.TRAINING["fashion_mnist"]
    constants: ClassVar = {"batch_size": BATCH_SIZE, "epochs": EPOCHS, "image_size": IMAGE_SIZE}

    def runs(self, done: Mapping[str, dict]) -> list[Run]:
        return self.runs_at(RATES, Probing)

    @staticmethod
    def table(found: dict) -> str:
        """A Markdown table with one row per optimizer, its learning rates in increasing order."""
        rows = results.frame(found).groupby(["optimizer", "learning_rate"], sort=False)
        cells: dict[str, dict[str, str]] = {}
        for (optimizer, rate), percent in rows["percent"].mean().items():
            of_optimizer = cells.setdefault(optimizer, {"": optimizer})
            of_optimizer[f"trial {len(of_optimizer)}"] = f"{percent:.1f} at {rate:g}"
        return frames.markdown([*cells.values()], texts=1 + max(map(len, RATES.values())))


if __name__ == "__main__":
    LinearProbe.main()
