"""Writes a small stand-in for ImageNet: `python -m benchmarks.data.fake_imagenet --data_dir=DIR`.

It has the format of TensorFlow Datasets' `imagenet2012`, to test and time the input pipeline. The
JPEGs are crops of the two photographs that scikit-learn ships. Labels are random, so nothing can be
learned.
"""

import math
import pathlib

import numpy as np
import sklearn.datasets
from absl import flags

from benchmarks.command_line import run
from benchmarks.data.imagenet2012 import ImageNet
from benchmarks.data.prepared import tensorflow_datasets
from benchmarks.recipe import RecipeError

VERSION = "5.1.0"
README = """This is not ImageNet.

It was made by `python -m benchmarks.data.fake_imagenet`: crops of the two photographs that
scikit-learn ships, with random labels, in the format of TensorFlow Datasets' `imagenet2012`. Use it
to measure how fast images are read. Training on it is meaningless.
"""


def write(folder: pathlib.Path, images: int, height: int, width: int, files: int = 8) -> None:
    """Writes the folder, the future `--data_dir`, with a fifth as many held-out images in addition.

    Raises:
        RecipeError: If the folder already has an ImageNet, or the images would be too large.
    """
    photographs = sklearn.datasets.load_sample_images().images
    limits = np.min([photograph.shape[:2] for photograph in photographs], axis=0)
    if height > limits[0] or width > limits[1]:
        raise RecipeError(
            f"--image_height and --image_width must be at most {limits[0]} and {limits[1]}. "
            f"Received: {height} and {width}"
        )
    generator = np.random.default_rng(0)
    splits = {
        name: list(_examples(photographs, count, height, width, generator))
        for name, count in (("train", images), ("validation", max(1, images // 5)))
    }
    write_examples(folder, splits, files)


def write_examples(folder: pathlib.Path, splits: dict[str, list[dict]], files: int) -> None:
    """Writes examples with ImageNet's features, and a README that says that they are fake.

    Raises:
        RecipeError: If the folder already has an ImageNet.
    """
    tfds = tensorflow_datasets()
    target = folder / ImageNet.name
    if target.exists():
        raise RecipeError(f"--data_dir must hold no {ImageNet.name} yet. Received: {folder}")
    path = target / VERSION
    path.mkdir(parents=True)
    (target / "README").write_text(README, encoding="utf-8")
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(num_classes=ImageNet.classes),
            "file_name": tfds.features.Text(),
        }
    )
    identity = tfds.core.dataset_info.DatasetIdentity(
        ImageNet.name, VERSION, data_dir=path, module_name=__name__
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features, description=README)
    writer = tfds.core.SequentialWriter(info, math.ceil(len(splits["train"]) / files))
    writer.initialize_splits([*splits])
    writer.add_examples(splits)
    writer.close_all()


def _examples(photographs, count, height, width, generator):
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        y = generator.integers(photograph.shape[0] - height + 1)
        x = generator.integers(photograph.shape[1] - width + 1)
        yield {
            "image": photograph[y : y + height, x : x + width],
            "label": int(generator.integers(ImageNet.classes)),
            "file_name": f"fake_{number:06}.JPEG",
        }


def main(argv: list[str]) -> None:
    given = flags.FLAGS
    folder = pathlib.Path(given.data_dir)
    write(folder, given.images, given.image_height, given.image_width)
    print(f"{folder / ImageNet.name / VERSION} holds fake images; see the README beside it")


if __name__ == "__main__":
    flags.DEFINE_string("data_dir", None, "Folder to write to, for use as --data_dir later.")
    flags.DEFINE_integer(
        "images", 300, "Number of training images. A fifth as many held-out images are added.", 8
    )
    flags.DEFINE_integer("image_height", 375, "Image height in pixels.", 1)
    flags.DEFINE_integer("image_width", 500, "Image width in pixels.", 1)
    flags.mark_flag_as_required("data_dir")
    run(main)
