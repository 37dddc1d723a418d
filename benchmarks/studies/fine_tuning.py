"""Fine-tuning at a batch of 512: LARS as README says, and others at the best of three rates.

python -m benchmarks.studies.fine_tuning [--seeds=3] [--output=FILE]

`plain` is trained on the 30,000 training images of Fashion-MNIST's first five classes. Then it gets
new logits, and all of it is trained on 10,000 images of the other five for 8 epochs. `evaluate` is
on the 5,000 held-out images of these five.
"""

import statistics

import keras
import numpy as np
from absl import app, flags

import keras_lars
from benchmarks import environment, files
from benchmarks.command_line import parse
from benchmarks.studies.batch_size import images
from benchmarks.studies.batch_size.networks import NETWORKS

BATCH_SIZE, EPOCHS, IMAGE_SIZE, IMAGES, CLASSES = 512, 8, 14, 10_000, 5
OPTIMIZERS = {
    "LARS, for_fit": (lambda rate: keras_lars.LARS(schedule(None)), (0.0,)),
    "SGD, momentum 0.9": (
        lambda rate: keras.optimizers.SGD(schedule(rate), momentum=0.9),
        (0.01, 0.03, 0.1),
    ),
    "AdamW": (lambda rate: keras.optimizers.AdamW(schedule(rate)), (1e-4, 1e-3, 1e-2)),
    "Adam": (lambda rate: keras.optimizers.Adam(schedule(rate)), (1e-4, 1e-3, 1e-2)),
}


def schedule(rate: float | None) -> keras.optimizers.schedules.LearningRateSchedule:
    """The same ramp and decay for all, to the rate or to that of README's rule."""
    return keras_lars.schedules.for_fit(IMAGES, EPOCHS, BATCH_SIZE, learning_rate=rate)


def of_classes(parts: list[images.Part], last: bool) -> tuple[np.ndarray, np.ndarray]:
    """The images of the last or first five classes, with labels from 0 to 4."""
    pixels, labels = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("images", "labels")
    )
    chosen = (labels >= CLASSES) == last
    return pixels[chosen], labels[chosen] % CLASSES


def compiled(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> keras.Model:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def train(seed: int, data_dir: str | None) -> list[dict]:
    """One first training, and every fine-tuning of it."""
    keras.utils.set_random_seed(seed)
    data = images.load(data_dir, IMAGE_SIZE)
    x, y = of_classes([data["training"]], last=False)
    model = NETWORKS["plain"](x.shape[1:], CLASSES)
    first_rate = keras_lars.schedules.for_fit(len(x), 4, BATCH_SIZE)
    compiled(model, keras_lars.LARS(first_rate)).fit(x, y, BATCH_SIZE, 4, verbose=0)
    weights = model.get_weights()
    x, y = (part[:IMAGES] for part in of_classes([data["training"]], last=True))
    held_out = of_classes([data["choosing"], data["test"]], last=True)
    rows = []
    for name, (make, rates) in OPTIMIZERS.items():
        for rate in rates:
            keras.utils.set_random_seed(seed)
            model = NETWORKS["plain"](x.shape[1:], CLASSES)
            model.set_weights([*weights[:-2], *model.get_weights()[-2:]])
            compiled(model, make(rate)).fit(x, y, BATCH_SIZE, EPOCHS, verbose=0)
            reached = model.evaluate(*held_out, 1000, verbose=0, return_dict=True)
            rows.append(
                {
                    "optimizer": name,
                    "learning_rate": rate or schedule(None).peak,
                    "seed": seed,
                    "test_accuracy": round(reached["accuracy"], 4),
                }
            )
            print(rows[-1], flush=True)
    return rows


def report(found: dict) -> str:
    """A row for each optimizer at each rate, as Markdown."""
    lines = ["| | learning rate | test accuracy in % |", "|---|---:|---:|"]
    for name in OPTIMIZERS:
        rows = [row for row in found["rows"] if row["optimizer"] == name]
        for rate in dict.fromkeys(row["learning_rate"] for row in rows):
            values = [100 * row["test_accuracy"] for row in rows if row["learning_rate"] == rate]
            lines.append(f"| {name} | {rate:g} | {statistics.mean(values):.1f} |")
    return "\n".join(lines)


def main(argv: list[str]) -> None:
    del argv
    seeds = range(1, flags.FLAGS.seeds + 1)
    found = {
        "batch_size": BATCH_SIZE,
        "epochs": EPOCHS,
        "image_size": IMAGE_SIZE,
        "images": IMAGES,
        "versions": environment.versions(keras.backend.backend()),
        "device": environment.device(),
        "rows": [row for seed in seeds for row in train(seed, flags.FLAGS.data_dir)],
    }
    if flags.FLAGS.output:
        files.write_json(flags.FLAGS.output, found)
    print(report(found))


if __name__ == "__main__":
    flags.DEFINE_integer("seeds", 3, "First trainings.", 1)
    flags.DEFINE_string("data_dir", None, "Where Fashion-MNIST is.")
    flags.DEFINE_string("output", None, "File for the results, as JSON.")
    app.run(main, flags_parser=parse)
