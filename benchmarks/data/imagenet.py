"""ILSVRC 2012 as TensorFlow Datasets prepares it, read so that a worker decodes only its part."""

import os
import pathlib
from typing import Any

from benchmarks.data import prepared
from benchmarks.data.data_set import Shard
from benchmarks.data.encoded import EncodedImages
from benchmarks.lazy import tf
from benchmarks.recipe import RecipeError
from benchmarks.words import counted

# Files that are read at once, an image from each in turn.
FILES_AT_ONCE = 16
# JPEGs, of 110 kB on average, that are shuffled at once.
SHUFFLED_AT_ONCE = 4096


class ImageNet(EncodedImages):
    """Images in TFRecord files, a part of which each worker reads.

    The files of an epoch are in a random order, of which worker i of n reads every n-th from the
    i-th on. Then so many images at once are put into a random order. Parts are whole files: a
    worker with too few images for its part of the epoch sees some of them twice, and one with more
    leaves some out.

    Args:
        builder: Of TensorFlow Datasets, which has prepared it.
    """

    name = "imagenet2012"
    classes = 1000

    def __init__(self, builder: Any):
        self._features = builder.info.features
        splits = builder.info.splits
        self._files = {name: list(map(str, splits[name].filepaths)) for name in splits}
        self.train_images = splits["train"].num_examples
        self.validation_images = splits["validation"].num_examples

    def _epoch(
        self, seeds: "list[tf.Tensor]", batch_size: int, batches: int, shard: Shard
    ) -> "tf.data.Dataset":
        self._check_shard(shard)
        of_files, of_order = seeds
        files = tf.constant(self._files["train"])
        order = tf.random.experimental.stateless_shuffle(tf.range(tf.size(files)), of_files)
        jpegs = self._jpegs(tf.gather(files, order)[shard.index :: shard.count])
        jpegs = _shuffled(jpegs, of_order)
        if shard.count > 1:
            jpegs = jpegs.repeat()  # for a part that is too short
        jpegs = jpegs.take(batches * batch_size // shard.count)
        return jpegs.enumerate().map(
            lambda position, image_and_label: (
                position * shard.count + shard.index,
                *image_and_label,
            )
        )

    def encoded(self, part: str) -> "tf.data.Dataset":
        return self._jpegs(tf.constant(self._files[part]))

    def _jpegs(self, files: "tf.Tensor") -> "tf.data.Dataset":
        decoders = {"image": prepared.tensorflow_datasets().decode.SkipDecoding()}

        def parse(record: "tf.Tensor") -> "tuple[tf.Tensor, tf.Tensor]":
            example = self._features.deserialize_example(record, decoders=decoders)
            return example["image"], tf.cast(example["label"], tf.int32)

        records = tf.data.Dataset.from_tensor_slices(files).interleave(
            tf.data.TFRecordDataset,
            cycle_length=FILES_AT_ONCE,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        return records.map(parse, num_parallel_calls=tf.data.AUTOTUNE)

    def _check_shard(self, shard: Shard) -> None:
        if shard.count > len(self._files["train"]):
            raise RecipeError(
                f"workers must be no more than the {counted(len(self._files['train']), 'file')} of "
                f"{self.name}. Received: {shard.count}"
            )


def _shuffled(dataset: "tf.data.Dataset", seed: "tf.Tensor") -> "tf.data.Dataset":
    """Many elements at once in random order; unlike `Dataset.shuffle`, the same each time."""

    def block(number: "tf.Tensor", elements: "tuple[tf.Tensor, ...]") -> "tf.data.Dataset":
        seed_of_block = tf.random.experimental.stateless_fold_in(seed, number)
        positions = tf.range(tf.size(elements[1]))
        order = tf.random.experimental.stateless_shuffle(positions, seed_of_block)
        return tf.data.Dataset.from_tensor_slices(
            tuple(tf.gather(part, order) for part in elements)
        )

    # The next ones are read while these are shown.
    return dataset.batch(SHUFFLED_AT_ONCE).prefetch(1).enumerate().flat_map(block)


def load(data_dir: str | os.PathLike | None = None) -> ImageNet:
    """The 1,281,167 images to train on, and the 50,000 that are held out.

    Args:
        data_dir: Folder in which TensorFlow Datasets has prepared them; by default its own.

    Raises:
        RecipeError: If they are not there.
    """
    folder = pathlib.Path(data_dir) if data_dir else prepared.default_folder()
    versions = sorted((folder / ImageNet.name).glob("5.*/dataset_info.json"))
    if not versions and (folder / "train").is_dir():
        raise RecipeError(
            f"--data_dir must hold {ImageNet.name}/5.*, prepared by TensorFlow Datasets; images in "
            "train/CLASS/* and val/CLASS/* are trained on with --data=image_folder. "
            f"Received: {folder}, which holds train"
        )
    if not versions:
        raise RecipeError(
            f"--data_dir must hold {ImageNet.name}/5.*, prepared by `tfds build imagenet2012 "
            f"--data_dir={folder}` with ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar, from "
            f"image-net.org, in {folder / 'downloads' / 'manual'}. Received: {folder}"
        )
    builder = prepared.read(versions[-1].parent)
    missing = {"train", "validation"} - set(builder.info.splits)
    if missing or builder.info.file_format.value != "tfrecord":
        raise RecipeError(
            f"{versions[-1].parent} must have the splits train and validation, as TFRecord files. "
            f"Received: {', '.join(builder.info.splits)}, as {builder.info.file_format.value}"
        )
    return ImageNet(builder)
