"""Compares the speed of the input with that of training: `python -m benchmarks.speed.input`.

Measures images per second of decoding, of the whole input, of the training step on one batch, and
of input and training together, each for `--seconds` after a warm-up. Without ImageNet, use
`python -m benchmarks.data.fake_imagenet`, which writes JPEGs of similar size.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator

from benchmarks import data, environment, frames
from benchmarks.data import augmentation, image_file
from benchmarks.data.data_set import View
from benchmarks.data.encoded import EncodedImages
from benchmarks.lazy import keras, keras_lars, tf
from benchmarks.recipe import RecipeError
from benchmarks.settings import FlagSettings, setting
from benchmarks.speed import command
from benchmarks.speed.step import compiled, recipe_field

WARMUP_BATCHES = 2
SCALE = 1 / 256
# JPEGs held in memory, to measure decoding without reading files.
DECODED = 256
NAMES = {
    "decode": "decoding and cropping alone",
    "input": "whole input alone",
    "step": "training step alone",
    "both": "both together",
}


@dataclasses.dataclass(frozen=True)
class Settings(FlagSettings):
    """What to measure; the fields are flags."""

    data: str = recipe_field("data")
    data_dir: str | None = setting("Folder of the data set.", None)
    model: str = recipe_field("model", "resnet50")
    width: float = recipe_field("width")
    image_size: int = setting("Image height and width in pixels.", 224, minimum=8)
    augmentation: str = recipe_field("augmentation")
    batch_size: int = setting("Images per batch.", 64, minimum=1)
    precision: str = recipe_field("precision")
    seconds: float = setting("Seconds to measure each part.", 20.0, minimum=0.001)


def measure(settings: Settings) -> dict:
    """The images and seconds of each part, with versions and device.

    Raises:
        RecipeError: If the data are missing, or fewer than a batch.
    """
    data_set = data.load(settings.data, settings.data_dir)
    if settings.batch_size > data_set.train_images:
        raise RecipeError(
            f"--batch_size must be at most {data_set.train_images}, the number of training images "
            f"in {settings.data}. Received: {settings.batch_size}"
        )
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()  # as in a training run
    keras.config.set_dtype_policy(settings.precision)
    view = View(settings.image_size, SCALE, settings.augmentation, seed=0)
    rates = {}
    if isinstance(data_set, EncodedImages):
        decoded = _decoded(data_set, view, settings.batch_size)
        rates["decode"] = _rate(settings, lambda: next(decoded))
    of_epoch = data_set.train_images // settings.batch_size
    epochs = tf.data.Dataset.range(tf.int64.max).flat_map(
        lambda epoch: data_set.training(epoch, view, settings.batch_size, of_epoch)
    )
    batches = iter(epochs)
    rates["input"] = _rate(settings, lambda: next(batches))
    image_shape = (settings.image_size, settings.image_size, data_set.channels)
    lars = keras_lars.LARS(0.1, momentum=0.9, weight_decay=5e-4)
    model = compiled(lars, settings.model, image_shape, data_set.classes, width=settings.width)
    batch = next(batches)
    rates["step"] = _rate(settings, lambda: model.train_on_batch(*batch))
    rates["both"] = _rate(settings, lambda: model.train_on_batch(*next(batches)))
    keras.config.set_dtype_policy("float32")
    return {
        "settings": dataclasses.asdict(settings),
        **environment.record("tensorflow"),
        "measured": rates,
    }


def _rate(settings: Settings, take_batch: Callable) -> dict:
    for _ in range(WARMUP_BATCHES):
        take_batch()
    batches, started = 0, time.perf_counter()
    while (seconds := time.perf_counter() - started) < settings.seconds:
        take_batch()
        batches += 1
    return {"images": batches * settings.batch_size, "seconds": round(seconds, 3)}


def _decoded(data_set: EncodedImages, view: View, batch_size: int) -> Iterator:
    """An iterator over batches of images that are only decoded, from memory."""
    strings = [string for string, _ in data_set.encoded("train").take(DECODED)]

    def decode(number: tf.Tensor, string: tf.Tensor) -> tf.Tensor:
        height_and_width = image_file.height_and_width(string)
        seed = tf.stack([tf.constant(0, tf.int64), number])
        window, _ = augmentation.training_window(height_and_width, view, seed)
        return image_file.decode(string, window, view.image_size)

    dataset = tf.data.Dataset.from_tensor_slices(tf.stack(strings)).repeat().enumerate()
    return iter(dataset.map(decode, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size))


def table(results: dict) -> str:
    """A Markdown table of the speeds, and which part is the bottleneck."""
    rates = {key: x["images"] / x["seconds"] for key, x in results["measured"].items()}
    rows = [{"part": NAMES[key], "images per second": f"{rate:.1f}"} for key, rate in rates.items()]
    slower, faster = sorted(("input", "step"), key=rates.__getitem__)
    return (
        f"{frames.markdown(rows)}\n\n"
        f"The {NAMES[slower].removesuffix(' alone')} is the bottleneck. The "
        f"{NAMES[faster].removesuffix(' alone')} is {rates[faster] / rates[slower]:.2f} times as "
        "fast."
    )


if __name__ == "__main__":
    command.main(Settings, lambda settings: [measure(settings)], table)
