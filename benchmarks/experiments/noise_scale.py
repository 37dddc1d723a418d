"""Compares accuracies at large batches with predictions from the gradient noise scale.

python -m benchmarks.experiments.noise_scale [--seeds=3] [--processes=N]

For each task, one training run measures the noise scale in its last quarter. (That choice was made
with other networks and images.) The noise scale tells what an epoch is worth at any batch size.
Training runs in very small batches tell which accuracy fewer epochs reach. Both together predict
the accuracy at larger batches. Each prediction is recorded before its batch is trained.

Every training run has a schedule of `for_fit` for its own number of epochs. Half an epoch is one
epoch on half the images. Batches divide the number of images, so all updates have the same batch
size.
"""

import dataclasses
import math
import tempfile
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from benchmarks import frames
from benchmarks.experiments import results
from benchmarks.experiments.experiment import Seeds
from benchmarks.experiments.small import images
from benchmarks.experiments.small.training import new_model, reached, recalibration
from benchmarks.experiments.sweep import Run
from benchmarks.lazy import keras_lars

RECALIBRATION_IMAGES = 10_000
FRACTIONS = (1, 1 / 2, 1 / 4, 1 / 8, 1 / 16)  # of the epochs, trained in the smallest batches


@dataclasses.dataclass(frozen=True)
class Task:
    """A network, its data, and the batches that are compared."""

    data: str
    network: str
    image_size: int
    images: int  # number of training images; the first ones are used
    epochs: int
    batches: tuple[int, ...]  # a very small one, the one where the noise is measured, larger ones
    parts: int  # micro-batches per update where the noise is measured


TASKS = (
    Task("fashion_mnist", "vit", 14, 60_000, 8, (125, 500, 2000, 7500), 5),
    Task("fashion_mnist", "residual", 28, 60_000, 8, (125, 500, 2000, 7500), 5),
    Task("fashion_mnist", "plain", 28, 60_000, 8, (125, 500, 2000, 7500), 5),
    Task("digits", "resnet50_quarter", 8, 1408, 16, (16, 88, 352, 704), 4),
)


@dataclasses.dataclass(frozen=True)
class Training:
    """One training. It measures the noise scale if its updates have several micro-batches."""

    images: int
    seed: int
    global_batch_size: int
    epochs: float
    parts: int | None
    data: str
    network: str
    image_size: int

    def train(self, data_dir: str | None) -> dict:
        """Trains a network. Returns the result, and the noise scale in images if measured."""
        data = images.load(data_dir, self.image_size, self.data)
        used, epochs = round(self.images * min(1, self.epochs)), max(1, round(self.epochs))
        part = data["training"][:used]
        model = new_model(self.network, self.seed, part)
        optimizer = keras_lars.LARS(
            keras_lars.schedules.for_fit(used, epochs, self.global_batch_size),
            gradient_accumulation_steps=self.parts,
            record_noise_scale=self.parts is not None,
        )
        callbacks = recalibration(model, part.images[:RECALIBRATION_IMAGES], epochs)
        batch_size = self.global_batch_size // (self.parts or 1)
        with tempfile.TemporaryDirectory() as folder:
            if self.parts:
                monitor = keras_lars.callbacks.NoiseScaleMonitor
                callbacks.append(monitor(folder, update_freq=1, verbose=False))
            found = reached(model, optimizer, part, data["test"], batch_size, epochs, callbacks)
            return {**found, **(self._noise(folder) if self.parts else {})}

    def _noise(self, folder: str) -> dict[str, float | None]:
        """The noise scale in the last quarter of a record; None if it cannot be estimated."""
        from keras_lars._monitoring import noise, record

        rows = record.read(record.locate(folder, record.NOISE_SCALE), record.NOISE_SCALE)
        found = noise.last_quarter(noise.of_all(rows))
        return {
            name: round(self.global_batch_size * float(value), 1) if np.isfinite(value) else None
            for name, value in found._asdict().items()
        }


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A prediction of the accuracy at a batch size, from training runs that are done."""

    noise_scale: float | None  # in images; None if it could not be estimated
    global_batch_size: int
    epochs: float
    small_batch: int  # the batch size of `by_epochs`
    by_epochs: tuple[tuple[float, float], ...]  # pairs of epochs and the test accuracy they reach

    def train(self, data_dir: str | None) -> dict:
        """Predicts what an epoch is worth, and the accuracy; None if that is not possible."""
        worth, accuracy = self._predicted(self.noise_scale) if self.noise_scale else (None, None)
        return {"diverged": False, "worth": worth, "predicted_accuracy": accuracy, "seconds": 0.0}

    def _predicted(self, noise_scale: float) -> tuple[float, float | None]:
        """Interpolates the accuracy of as many epochs as these are worth, linear in their log."""
        from keras_lars._noise_scale import worth

        asked, small = (
            worth(noise_scale, batch) for batch in (self.global_batch_size, self.small_batch)
        )
        epochs, accuracies = np.array(sorted(self.by_epochs)).T
        equal = np.log(self.epochs * asked), np.log(epochs * small)
        # NaN below the shortest training, because the accuracy there is unknown.
        accuracy = float(np.interp(*equal, accuracies, left=math.nan))
        return round(asked, 4), None if math.isnan(accuracy) else round(accuracy, 4)


def runs_of(task: Task, seed: int, done: Mapping[str, dict]) -> list[Run]:
    """The training runs to predict from, the predictions, and the runs that are predicted."""
    about: dict[str, Any] = {n: getattr(task, n) for n in ("data", "network", "image_size")}
    small, measured, *larger = task.batches

    def run(kind: str, batch: int, settings: Any, epochs: float = task.epochs) -> Run:
        name = f"{task.data}-{task.network}-{kind}-{batch}-{epochs:g}_epochs-seed{seed}"
        label = {**about, "batch": batch, "kind": kind, "epochs": epochs, "seed": seed}
        return Run(name=name, label=label, settings=settings)

    def training(batch: int, epochs: float = task.epochs, parts: int | None = None) -> Training:
        return Training(task.images, seed, batch, epochs, parts, **about)

    lengths = [task.epochs * fraction for fraction in FRACTIONS]
    first = [run("small", small, training(small, epochs), epochs) for epochs in lengths]
    first.append(run("measured", measured, training(measured, parts=task.parts)))
    found = [done[each.name]["result"] for each in first if each.name in done]
    predicted: dict[int, Any] = dict.fromkeys((measured, *larger))
    if len(found) == len(first):
        by_epochs = tuple(zip(lengths, (each["test_accuracy"] for each in found)))
        noise_scale = found[-1]["noise_scale"]
        for batch in predicted:
            predicted[batch] = Prediction(noise_scale, batch, task.epochs, small, by_epochs)
    predictions = [run("prediction", batch, settings) for batch, settings in predicted.items()]
    last = [
        run("larger", batch, training(batch) if each.name in done else None)
        for batch, each in zip(larger, predictions[1:])
    ]
    return [*first, *predictions, *last]


class NoiseScale(Seeds):
    constants: ClassVar = {
        "recalibration_images": RECALIBRATION_IMAGES,
        "tasks": [dataclasses.asdict(task) for task in TASKS],
    }

    def runs(self, done: Mapping[str, dict]) -> list[Run]:
        seeds = range(1, self.seeds + 1)
        return [run for seed in seeds for task in TASKS for run in runs_of(task, seed, done)]

    def check(self, run: Run, folder: Any) -> int:
        trained = run.label["kind"] != "prediction"
        return round(images.TRAINING[str(run.label["data"])] * float(run.label["epochs"])) * trained

    @staticmethod
    def table(found: dict) -> str:
        """A Markdown table with one row per task and batch: means over the seeds, and ranges."""
        place = ["data", "network", "image_size", "batch"]
        found_by = ["noise_scale", "worth", "predicted_accuracy", "test_accuracy"]
        rows = results.frame(found).reindex(columns=[*place, "epochs", "seed", *found_by])
        whole = rows[rows["epochs"] == rows.groupby(place[:3])["epochs"].transform("max")]
        # The first known value: predictions have some columns, training runs the others.
        of_seed = whole.groupby([*place, "seed"], sort=False)[found_by].first().astype(float)
        of_seed["error"] = of_seed["predicted_accuracy"] - of_seed["test_accuracy"]
        lines = []
        for (data, network, size, batch), group in of_seed.groupby(place, sort=False):
            about = {"data": data, "network": f"`{network}`", "pixels": f"{size}"}
            cells = {
                "batch": f"{batch:,}",
                "noise scale, images": _spread(group["noise_scale"], ",.0f"),
                "worth of a pass, %": _spread(100 * group["worth"], ".0f"),
                "predicted, %": _spread(100 * group["predicted_accuracy"], ".1f"),
                "reached, %": _spread(100 * group["test_accuracy"], ".1f"),
                "predicted - reached": _spread(100 * group["error"], "+.1f"),
            }
            lines.append({**about, **cells})
        return frames.markdown(lines, texts=2)


def _spread(values: pd.Series, format: str) -> str:
    """The mean and the range of the known values; "-" if there are none."""
    known = values.dropna()
    if known.empty:
        return "-"
    ends = f" ({known.min():{format}} to {known.max():{format}})" if len(known) > 1 else ""
    some = f", {len(known)} of {len(values)} seeds" if len(known) < len(values) else ""
    return f"{known.mean():{format}}{ends}{some}"


if __name__ == "__main__":
    NoiseScale.main()
