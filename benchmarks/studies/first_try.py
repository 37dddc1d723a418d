"""A newcomer's first training, as README says: three networks at a batch of 4,096.

python -m benchmarks.studies.first_try [--seeds=3] [--output=FILE]

Fashion-MNIST at 14x14 pixels, 8 epochs, nothing tuned: `for_fit`, `RecalibrateStatistics`, and then
`model.evaluate` on the 10,000 held-out images. The callback is for batch normalization, so the
networks without it are trained without the callback.
"""

import json
import pathlib
import statistics
import time

import keras
import numpy as np
from absl import app, flags

import keras_lars
from benchmarks import environment
from benchmarks.command_line import parse
from benchmarks.studies.batch_size import images
from benchmarks.studies.batch_size.networks import NETWORKS

BATCH_SIZE, EPOCHS, IMAGE_SIZE, RECALIBRATION_IMAGES = 4096, 8, 14, 10_000
FIRST_TRIES = ("plain", "residual", "vit")


class Timed(keras_lars.callbacks.RecalibrateStatistics):
    """Adds up the seconds that it takes at the ends of epochs."""

    seconds = 0.0

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        started = time.perf_counter()
        super().on_epoch_end(epoch, logs)
        self.seconds += time.perf_counter() - started


def train(network: str, seed: int, data_dir: str | None) -> dict:
    """One training; what `evaluate` says, and how long it took."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    data = images.load(data_dir, IMAGE_SIZE)
    training, held_out = data["training"], [data["choosing"], data["test"]]
    test_images, test_labels = (
        np.concatenate([getattr(part, name) for part in held_out]) for name in ("images", "labels")
    )
    model = NETWORKS[network](training.images.shape[1:], images.CLASSES)
    schedule = keras_lars.schedules.for_fit(len(training.images), EPOCHS, BATCH_SIZE)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras_lars.LARS(schedule), loss, metrics=["accuracy"])
    callbacks = [Timed(training.images[:RECALIBRATION_IMAGES])] if network == "residual" else []
    started = time.perf_counter()
    model.fit(training.images, training.labels, BATCH_SIZE, EPOCHS, callbacks=callbacks, verbose=0)
    seconds = time.perf_counter() - started
    reached = model.evaluate(test_images, test_labels, 1000, verbose=0, return_dict=True)
    return {
        "network": network,
        "seed": seed,
        "schedule": repr(schedule),
        "test_accuracy": round(reached["accuracy"], 4),
        "seconds": round(seconds, 1),
        "seconds_of_recalibration": round(sum(each.seconds for each in callbacks), 2),
    }


def report(found: dict) -> str:
    """A row for each network, as Markdown."""
    lines = ["| network | test accuracy in % | least |", "|---|---:|---:|"]
    for network in FIRST_TRIES:
        values = [100 * row["test_accuracy"] for row in found["rows"] if row["network"] == network]
        lines.append(f"| `{network}` | {statistics.mean(values):.1f} | {min(values):.1f} |")
    return "\n".join(lines)


def main(argv: list[str]) -> None:
    del argv
    rows = []
    for network in FIRST_TRIES:
        for seed in range(1, flags.FLAGS.seeds + 1):
            rows.append(train(network, seed, flags.FLAGS.data_dir))
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
        text = json.dumps(found, indent=1) + "\n"
        pathlib.Path(flags.FLAGS.output).write_text(text, encoding="utf-8")
    print(report(found))


if __name__ == "__main__":
    flags.DEFINE_integer("seeds", 3, "Trainings of each network.", 1)
    flags.DEFINE_string("data_dir", None, "Where Fashion-MNIST is.")
    flags.DEFINE_string("output", None, "File for the results, as JSON.")
    app.run(main, flags_parser=parse)
