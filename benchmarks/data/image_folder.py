"""Your own images: JPEG or PNG files in `train/CLASS/` and `val/CLASS/`."""

import functools
import math
import os
import pathlib
import random
import warnings

from benchmarks.data import image_file
from benchmarks.data.data_set import Shard, View
from benchmarks.data.encoded import EncodedImages, seeds_of
from benchmarks.lazy import tf
from benchmarks.recipe import RecipeError

FOLDERS = {"train": "train", "validation": "val"}  # the folder of each part
ENDINGS = (".jpg", ".jpeg", ".png")
# Files in each part whose first bytes are checked before training, evenly spread over all files.
# They take a second on a local disk; all of ImageNet's files would take minutes.
CHECKED = 10_000
AHEAD = 4  # batches that may have been read ahead when a training run fails


class ImageFolder(EncodedImages):
    """One file per image.

    Each epoch has a random order of all images, which does not depend on the number of workers.
    Each worker reads its share of every batch. ImageNet's mean is subtracted from the pixels.

    Args:
        classes: The names of the classes; a label is an index into them.
        files: For "train" and "validation", the path and the class of each image.
    """

    def __init__(self, classes: list[str], files: dict[str, list[tuple[str, str]]]):
        training, held_out = (len(files[part]) for part in FOLDERS)
        super().__init__("image_folder", len(classes), 3, training, held_out)
        self.class_names, self._files = classes, files

    def _epoch(
        self, seeds: "list[tf.Tensor]", batch_size: int, batches: int, shard: Shard
    ) -> "tf.data.Dataset":
        paths, labels = self._tensors["train"]
        order = self._order(seeds)[: batches * batch_size]
        per_worker = batch_size // shard.count
        own = tf.reshape(order, [batches, shard.count, per_worker])[:, shard.index]

        def read(number: "tf.Tensor") -> "tuple[tf.Tensor, tf.Tensor, tf.Tensor]":
            return number, tf.io.read_file(paths[number]), labels[number]

        numbers = tf.data.Dataset.from_tensor_slices(tf.reshape(own, [-1]))
        return numbers.map(read, num_parallel_calls=tf.data.AUTOTUNE)

    def _order(self, seeds: "list[tf.Tensor]") -> "tf.Tensor":
        return tf.random.experimental.stateless_shuffle(tf.range(self.train_images), seeds[0])

    def encoded(self, part: str) -> "tf.data.Dataset":
        return tf.data.Dataset.from_tensor_slices(self._tensors[part]).map(
            lambda path, label: (tf.io.read_file(path), label), num_parallel_calls=tf.data.AUTOTUNE
        )

    @functools.cached_property
    def _tensors(self) -> "dict[str, tuple[tf.Tensor, tf.Tensor]]":
        numbers = {name: number for number, name in enumerate(self.class_names)}
        # Outside the function of `flat_map`, which would hold its own copy. On the CPU, where
        # tf.data runs.
        with tf.init_scope(), tf.device("CPU:0"):
            return {
                part: (
                    tf.constant([path for path, _ in files]),
                    tf.constant([numbers[name] for _, name in files], tf.int32),
                )
                for part, files in self._files.items()
            }

    def unreadable(
        self, view: View, epoch: int, images: int, batch_size: int, evaluated: int
    ) -> str | None:
        """An error about the first undecodable file among those that were about to be read."""
        train, held_out = ([path for path, _ in self._files[part]] for part in FOLDERS)
        with tf.device("CPU:0"):
            epochs = tf.range(epoch, epoch + 2, dtype=tf.int64)
            now, later = (self._order(seeds_of(view.seed, each)).numpy() for each in epochs)
        ahead = [*now[images:], *later][: AHEAD * batch_size]
        for path in (*(train[number] for number in ahead), *held_out, *train[:evaluated]):
            if what := image_file.fault(pathlib.Path(path)):
                return _no_image(path, what)
        return None


def load(data_dir: str | os.PathLike | None = None) -> ImageFolder:
    """Finds the images in a folder.

    Args:
        data_dir: A folder with `train/CLASS/*` and `val/CLASS/*`. File names end in .jpg, .jpeg or
            .png, in lower or upper case. Hidden files, other files and subfolders are ignored.
            Labels follow the alphabetical order of the classes in `train`.

    Raises:
        RecipeError: If the folder is missing or has another structure, or a file is no image.
    """
    folder = _checked_folder(data_dir)
    try:
        files = {part: _files_of(folder / name) for part, name in FOLDERS.items()}
    except OSError as error:
        raise RecipeError(f"{folder} must be readable. Received: {error}") from error
    classes = {part: {name for _, name in found} for part, found in files.items()}
    train, held_out = (folder / name for name in FOLDERS.values())
    if more := sorted(classes["validation"] - classes["train"]):
        raise RecipeError(f"{held_out} must have the classes of {train}. Received: {_listed(more)}")
    if len(classes["train"]) < 2:
        raise RecipeError(
            f"{train} must hold two classes or more. Received: {_listed(sorted(classes['train']))}"
        )
    if lacking := sorted(classes["train"] - classes["validation"]):
        warnings.warn(
            f"{held_out} has no images for these classes: {_listed(lacking)}", stacklevel=2
        )
    for found in files.values():
        for path, _ in found[:: math.ceil(len(found) / CHECKED)]:
            if what := image_file.fault_of_header(pathlib.Path(path)):
                raise RecipeError(_no_image(path, what))
    return ImageFolder(sorted(classes["train"]), files)


def _checked_folder(data_dir: str | os.PathLike | None) -> pathlib.Path:
    """The folder, if it has `train` and `val`."""
    rule = "--data_dir must be a folder with images in train/CLASS/* and val/CLASS/*"
    if not data_dir:
        raise RecipeError(f"{rule}, for --data=image_folder. Received: none")
    folder = pathlib.Path(data_dir).expanduser()
    if not folder.is_dir():
        raise RecipeError(f"{rule}. Received: {folder}, which does not exist")
    missing = [name for name in FOLDERS.values() if not (folder / name).is_dir()]
    if not missing:
        return folder
    depths = ("", "*/", "*/*/")
    if infos := [info for depth in depths for info in folder.glob(f"{depth}dataset_info.json")]:
        raise RecipeError(
            f"{rule}; for data prepared by TensorFlow Datasets, use "
            f"--data=imagenet2012. Received: {folder}, which holds {infos[0].relative_to(folder)}"
        )
    raise RecipeError(f"{rule}. Received: {folder}, which has no {' and no '.join(missing)}")


def _files_of(where: pathlib.Path) -> list[tuple[str, str]]:
    """The path and the class of each image of a part, in the order of TensorFlow Datasets.

    That order is random, but always the same.
    """
    inner = sorted(path for path in where.iterdir() if not path.name.startswith("."))
    classes = [path for path in inner if path.is_dir()]
    if not classes:
        what = f"{inner[0].name} outside any class folder" if inner else "an empty folder"
        raise RecipeError(f"{where} must have a folder for each class. Received: {what}")
    files = []
    for folder in classes:
        images = sorted(
            os.path.join(folder, name)
            for name in os.listdir(folder)
            if name.lower().endswith(ENDINGS) and not name.startswith(".")
        )
        if not images:
            raise RecipeError(
                "the folder of a class must contain images (.jpg, .jpeg, .png) directly, not in "
                f"subfolders. Received: {folder}, which has none"
            )
        files += [(image, folder.name) for image in images]
    random.Random(where.name).shuffle(files)
    return files


def _no_image(path: str, what: str) -> str:
    return f"{path} must be a readable JPEG or PNG. Received: {what}"


def _listed(names: list[str]) -> str:
    """The first five names, and the number of the others."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
