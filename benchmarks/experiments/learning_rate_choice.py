"""Compares the accuracy at the learning rate of `for_fit` and at that of the range test.

python -m benchmarks.experiments.learning_rate_choice [--seeds=3]

Trains three networks on Fashion-MNIST at 14x14 pixels for 8 epochs, and two on the digits for 40
epochs, at two batch sizes each. `find_learning_rate` runs on the training images with its defaults.
`for_fit` turns the learning rate into a schedule. Networks with batch normalization use
`RecalibrateStatistics`. Evaluation uses held-out images, which no choice depends on.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import ClassVar

from benchmarks import frames
from benchmarks.experiments import results
from benchmarks.experiments.experiment import Seeds
from benchmarks.experiments.small import images
from benchmarks.experiments.small.training import new_model, reached
from benchmarks.experiments.sweep import Run
from benchmarks.lazy import keras, keras_lars

EPOCHS = {"fashion_mnist": 8, "digits": 40}
IMAGE_SIZE = {"fashion_mnist": 14, "digits": 8}
RECALIBRATION_IMAGES = 10_000
# The networks and batch sizes of each data set.
TASKS = {
    "fashion_mnist": (("plain", "residual", "vit"), (512, 4096)),
    "digits": (("plain", "residual"), (64, 256)),
}
CHOICES = ("rule", "range test")


@dataclasses.dataclass(frozen=True)
class Choice:
    """One training, at the learning rate that one of `CHOICES` gives."""

    data: str
    network: str
    global_batch_size: int
    choice: str
    seed: int

    def train(self, data_dir: str | None) -> dict:
        """Chooses the learning rate and trains. Returns the result, with the learning rate."""
        data = images.load(data_dir, IMAGE_SIZE[self.data], self.data)
        training, epochs, batch_size = data["training"], EPOCHS[self.data], self.global_batch_size
        rate = self._range_test(training) if self.choice == "range test" else None
        schedule = keras_lars.schedules.for_fit(
            len(training.images), epochs, batch_size, learning_rate=rate
        )
        model = new_model(self.network, self.seed, training)
        callbacks = []
        if self.network == "residual":
            seen = training.images[:RECALIBRATION_IMAGES]
            callbacks.append(keras_lars.callbacks.RecalibrateStatistics(seen))
        optimizer = keras_lars.LARS(schedule)
        found = reached(model, optimizer, training, data["test"], batch_size, epochs, callbacks)
        return {**found, "learning_rate": round(schedule.peak, 2)}

    def _range_test(self, training: images.Part) -> float:
        model = new_model(self.network, self.seed, training)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras_lars.LARS(1.0), loss)
        pairs = (training.images, training.labels)
        return keras_lars.find_learning_rate(
            model, pairs, batch_size=self.global_batch_size, verbose=0
        ).learning_rate


class LearningRateChoice(Seeds):
    images_per_run = max(EPOCHS[name] * images.TRAINING[name] for name in EPOCHS)
    constants: ClassVar = {"recalibration_images": RECALIBRATION_IMAGES}

    def runs(self, done: Mapping[str, dict]) -> list[Run]:
        runs = []
        for seed, data in itertools.product(range(1, self.seeds + 1), TASKS):
            for network, batch, choice in itertools.product(*TASKS[data], CHOICES):
                name = f"{data}-{network}-{batch}-{choice.replace(' ', '_')}-seed{seed}"
                label: dict[str, str | float] = {"data": data, "network": network}
                label |= {"batch": batch, "choice": choice, "seed": seed}
                settings = Choice(data, network, batch, choice, seed)
                runs.append(Run(name=name, label=label, settings=settings))
        return runs

    @staticmethod
    def table(found: dict) -> str:
        """A Markdown table with one row per task: learning rate and mean accuracy by choice."""
        cells = []
        tasks = results.frame(found).groupby(["data", "network", "batch"], sort=False)
        for (data, network, batch), of_task in tasks:
            line = {"data": data, "network": f"`{network}`", "batch": f"{batch:,}"}
            for choice, of_choice in of_task.groupby("choice", sort=False):
                rates, accuracy = of_choice["learning_rate"], of_choice["test_accuracy"]
                ends = list(dict.fromkeys(f"{rate:.3g}" for rate in (rates.min(), rates.max())))
                line[f"{choice}: rate"] = " to ".join(ends)
                line[f"{choice}: test accuracy in %"] = f"{100 * accuracy.mean():.1f}"
            cells.append(line)
        return frames.markdown(cells, texts=3)


if __name__ == "__main__":
    LearningRateChoice.main()
