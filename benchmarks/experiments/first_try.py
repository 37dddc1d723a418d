"""A newcomer's first training, as in docs/learning_rate.md: three networks at a batch of 4,096.

python -m benchmarks.experiments.first_try [--seeds=3]

Trains on Fashion-MNIST at 14x14 pixels for 8 epochs, without tuning: `for_fit`, and
`RecalibrateStatistics` for the network with batch normalization. `model.evaluate` uses the 10,000
held-out images. `plain` is also trained with the `LearningRateScheduler` of tutorials, whose
learning rates are meant for another optimizer, and with the same rates times 4,000.
"""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from benchmarks import frames
from benchmarks.experiments import results
from benchmarks.experiments.experiment import Seeds
from benchmarks.experiments.small import images
from benchmarks.experiments.small.training import new_model, reached
from benchmarks.experiments.sweep import Run
from benchmarks.lazy import keras, keras_lars

BATCH_SIZE, EPOCHS, IMAGE_SIZE, RECALIBRATION_IMAGES = 4096, 8, 14, 10_000
# Learning rates by epoch, from TensorFlow's guide to distributed training with Keras.
TUTORIAL_RATES = (1e-3, 1e-3, 1e-3, 1e-4, 1e-4, 1e-4, 1e-4, 1e-5)
# A network, and the first learning rate of a `LearningRateScheduler`, or 0 for `for_fit`.
WAYS = (("plain", 0.0), ("residual", 0.0), ("vit", 0.0), ("plain", 1e-3), ("plain", 4.0))


@dataclasses.dataclass(frozen=True)
class Way:
    """One training."""

    network: str
    seed: int
    rate_at_first: float = 0.0  # of a `LearningRateScheduler`; 0 to use `for_fit`

    def train(self, data_dir: str | None) -> dict:
        """Trains and evaluates a network. Returns the result, with the time of recalibration."""
        data = images.load(data_dir, IMAGE_SIZE)
        training = data["training"]
        model = new_model(self.network, self.seed, training)
        seconds_of_recalibration = 0.0

        class Timed(keras_lars.callbacks.RecalibrateStatistics):
            def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
                nonlocal seconds_of_recalibration
                started = time.perf_counter()
                super().on_epoch_end(epoch, logs)
                seconds_of_recalibration += time.perf_counter() - started

        rate: Any = schedule()
        callbacks: list[keras.Callback] = []
        if self.network == "residual":
            callbacks.append(Timed(training.images[:RECALIBRATION_IMAGES]))
        if self.rate_at_first:
            rates = [self.rate_at_first / TUTORIAL_RATES[0] * rate for rate in TUTORIAL_RATES]
            callbacks.append(keras.callbacks.LearningRateScheduler(lambda epoch: rates[epoch]))
            rate = 4.0
        optimizer = keras_lars.LARS(rate)
        found = reached(model, optimizer, training, data["held_out"], BATCH_SIZE, EPOCHS, callbacks)
        return {**found, "seconds_of_recalibration": round(seconds_of_recalibration, 2)}


def schedule() -> "keras_lars.schedules.FitSchedule":
    return keras_lars.schedules.for_fit(images.TRAINING["fashion_mnist"], EPOCHS, BATCH_SIZE)


def _words(rate_at_first: float) -> str:
    return f"4, LearningRateScheduler from {rate_at_first:g}" if rate_at_first else repr(schedule())


class FirstTry(Seeds):
    images_per_run = EPOCHS * images.TRAINING["fashion_mnist"]
    constants: ClassVar = {
        "batch_size": BATCH_SIZE,
        "epochs": EPOCHS,
        "image_size": IMAGE_SIZE,
        "recalibration_images": RECALIBRATION_IMAGES,
    }

    def runs(self, done: Mapping[str, dict]) -> list[Run]:
        return [
            Run(
                name=f"{network}-rate_{rate:g}-seed{seed}" if rate else f"{network}-seed{seed}",
                label={"network": network, "learning_rate": _words(rate), "seed": seed},
                settings=Way(network, seed, rate),
            )
            for network, rate in WAYS
            for seed in range(1, self.seeds + 1)
        ]

    @staticmethod
    def table(found: dict) -> str:
        """A Markdown table with one row per network and learning rate."""
        ways = results.frame(found).groupby(["network", "learning_rate"], sort=False)["percent"]
        table = ways.agg(["mean", "min"]).map("{:.1f}".format).reset_index()
        table["network"] = "`" + table["network"] + "`"
        names = ["network", "learning rate", "test accuracy in %, mean", "lowest"]
        return frames.markdown(table.set_axis(names, axis=1), texts=2)


if __name__ == "__main__":
    FirstTry.main()
