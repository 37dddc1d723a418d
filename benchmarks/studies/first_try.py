"""A newcomer's first training, as README says: three networks at a batch of 4,096.

python -m benchmarks.studies.first_try [--seeds=3] [--output=FILE]

Fashion-MNIST at 14x14 pixels, 8 epochs, nothing tuned: `for_fit`, `RecalibrateStatistics`, and then
`model.evaluate` on the 10,000 held-out images. The callback is for batch normalization, so the
networks without it are trained without the callback. Then `plain` at a constant rate of 4 under the
`LearningRateScheduler` of tutorials, whose rates are meant for another optimizer, and under one
with the same rates times 4,000.
"""

import statistics
import time

import keras
import numpy as np
from absl import app, flags

import keras_lars
from benchmarks import environment, files
from benchmarks.command_line import parse
from benchmarks.studies.batch_size import images
from benchmarks.studies.batch_size.networks import NETWORKS

BATCH_SIZE, EPOCHS, IMAGE_SIZE, RECALIBRATION_IMAGES = 4096, 8, 14, 10_000
FIRST_TRIES = ("plain", "residual", "vit")
# By epoch, as in TensorFlow's guide to distributed training with Keras.
TUTORIAL_RATES = (1e-3, 1e-3, 1e-3, 1e-4, 1e-4, 1e-4, 1e-4, 1e-5)


class Timed(keras_lars.callbacks.RecalibrateStatistics):
    """Adds up the seconds that it takes at the ends of epochs."""

    seconds = 0.0

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        started = time.perf_counter()
        super().on_epoch_end(epoch, logs)
        self.seconds += time.perf_counter() - started


def train(network: str, seed: int, data_dir: str | None, rate_at_first: float = 0.0) -> dict:
    """One training; what `evaluate` says, and how long it took.

    Args:
        network: A name in `NETWORKS`.
        seed: Of weights and order.
        data_dir: Where Fashion-MNIST is.
        rate_at_first: That of a `LearningRateScheduler`, in place of `for_fit` if it is not 0.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    data = images.load(data_dir, IMAGE_SIZE)
    training, held_out = data["training"], [data["choosing"], data["test"]]
    test_images, test_labels = (
        np.concatenate([getattr(part, name) for part in held_out]) for name in ("images", "labels")
    )
    model = NETWORKS[network](training.images.shape[1:], images.CLASSES)
    callbacks = [Timed(training.images[:RECALIBRATION_IMAGES])] if network == "residual" else []
    recalibrations = list(callbacks)
    if rate_at_first:
        rates = [rate_at_first / TUTORIAL_RATES[0] * rate for rate in TUTORIAL_RATES]
        callbacks.append(keras.callbacks.LearningRateScheduler(lambda epoch: rates[epoch]))
        rate = 4.0
    else:
        rate = keras_lars.schedules.for_fit(len(training.images), EPOCHS, BATCH_SIZE)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras_lars.LARS(rate), loss, metrics=["accuracy"])
    started = time.perf_counter()
    model.fit(training.images, training.labels, BATCH_SIZE, EPOCHS, callbacks=callbacks, verbose=0)
    seconds = time.perf_counter() - started
    reached = model.evaluate(test_images, test_labels, 1000, verbose=0, return_dict=True)
    return {
        "network": network,
        "seed": seed,
        "learning_rate": f"4, LearningRateScheduler from {rate_at_first:g}"
        if rate_at_first
        else repr(rate),
        "test_accuracy": round(reached["accuracy"], 4),
        "seconds": round(seconds, 1),
        "seconds_of_recalibration": round(sum(each.seconds for each in recalibrations), 2),
    }


def report(found: dict) -> str:
    """A row for each way to train, as Markdown."""
    lines = [
        "| network | learning rate | test accuracy in %, mean | least |",
        "|---|---|---:|---:|",
    ]
    ways = dict.fromkeys((row["network"], row["learning_rate"]) for row in found["rows"])
    for network, rate in ways:
        values = [
            100 * row["test_accuracy"]
            for row in found["rows"]
            if (row["network"], row["learning_rate"]) == (network, rate)
        ]
        mean = statistics.mean(values)
        lines.append(f"| `{network}` | {rate} | {mean:.1f} | {min(values):.1f} |")
    return "\n".join(lines)


def main(argv: list[str]) -> None:
    del argv
    rows = []
    ways = [*((network, 0.0) for network in FIRST_TRIES), ("plain", 1e-3), ("plain", 4.0)]
    for network, rate_at_first in ways:
        for seed in range(1, flags.FLAGS.seeds + 1):
            rows.append(train(network, seed, flags.FLAGS.data_dir, rate_at_first))
            print(rows[-1], flush=True)
    found = {
        "batch_size": BATCH_SIZE,
        "epochs": EPOCHS,
        "image_size": IMAGE_SIZE,
        "recalibration_images": RECALIBRATION_IMAGES,
        "versions": environment.versions(keras.backend.backend()),
        "device": environment.device(),
        "rows": rows,
    }
    if flags.FLAGS.output:
        files.write_json(flags.FLAGS.output, found)
    print(report(found))


if __name__ == "__main__":
    flags.DEFINE_integer("seeds", 3, "Trainings of each network.", 1)
    flags.DEFINE_string("data_dir", None, "Where Fashion-MNIST is.")
    flags.DEFINE_string("output", None, "File for the results, as JSON.")
    app.run(main, flags_parser=parse)
