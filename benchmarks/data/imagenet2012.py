"""ILSVRC 2012 as TensorFlow Datasets prepares it. Each worker reads and decodes only its share."""

import os
import pathlib
from typing import Any

from benchmarks.data import prepared
from benchmarks.data.data_set import Shard
from benchmarks.data.encoded import EncodedImages
from benchmarks.lazy import tf
from benchmarks.recipe import RecipeError

# Files that are read at the same time, one image from each in turn.
FILES_AT_ONCE = 16
# JPEGs in a block that is shuffled in memory; the average JPEG has 110 kB.
SHUFFLED_AT_ONCE = 4096


class ImageNet(EncodedImages):
    """Images in TFRecord files. Each worker reads some of the files.

    Each epoch shuffles the files. Of this order, worker i of n reads every n-th file from the i-th
    on. Then blocks of `SHUFFLED_AT_ONCE` images are shuffled. Because workers read whole files, a
    worker with too few images for its share sees some of them twice, and a worker with too many
    leaves some out.

    `builder` is that of TensorFlow Datasets for the prepared data.
    """

    name = "imagenet2012"
    classes = 1000

    def __init__(self, builder: Any):
        self._features = builder.info.features
        splits = builder.info.splits
        self._files = {name: list(map(str, splits[name].filepaths)) for name in splits}
        sizes = (splits[name].num_examples for name in ("train", "validation"))
        super().__init__(self.name, self.classes, 3, *sizes)

    def _epoch(
        self, seeds: "list[tf.Tensor]", batch_size: int, batches: int, shard: Shard
    ) -> "tf.data.Dataset":
        if shard.count > len(self._files["train"]):
            raise RecipeError(
                f"there must be at most {len(self._files['train'])} workers, one for each training "
                f"file of {self.name}. Received: {shard.count}"
            )
        file_seed, image_seed = seeds
        files = tf.constant(self._files["train"])
        order = tf.random.experimental.stateless_shuffle(tf.range(tf.size(files)), file_seed)
        own = tf.gather(files, order)[shard.index :: shard.count]
        jpegs = _shuffled(self._jpegs(own), image_seed)
        if shard.count > 1:
            jpegs = jpegs.repeat()  # in case the files have too few images
        jpegs = jpegs.take(batches * batch_size // shard.count)
        return jpegs.enumerate().map(
            lambda position, jpeg: (position * shard.count + shard.index, *jpeg)
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


def _shuffled(dataset: "tf.data.Dataset", seed: "tf.Tensor") -> "tf.data.Dataset":
    """Shuffles blocks of elements. Unlike with `Dataset.shuffle`, the order is always the same."""

    def block(number: "tf.Tensor", elements: "tuple[tf.Tensor, ...]") -> "tf.data.Dataset":
        seed_of_block = tf.random.experimental.stateless_fold_in(seed, number)
        positions = tf.range(tf.size(elements[1]))
        order = tf.random.experimental.stateless_shuffle(positions, seed_of_block)
        return tf.data.Dataset.from_tensor_slices(
            tuple(tf.gather(part, order) for part in elements)
        )

    # The next block is read while this one is used.
    return dataset.batch(SHUFFLED_AT_ONCE).prefetch(1).enumerate().flat_map(block)


def load(data_dir: str | os.PathLike | None = None) -> ImageNet:
    """The images in a folder that TensorFlow Datasets has prepared, by default its own folder.

    Raises:
        RecipeError: If the data are missing or not as expected.
    """
    folder = pathlib.Path(data_dir) if data_dir else prepared.default_folder()
    versions = sorted((folder / ImageNet.name).glob("5.*/dataset_info.json"))
    if not versions and (folder / "train").is_dir():
        raise RecipeError(
            f"--data_dir must hold {ImageNet.name}/5.*, prepared by TensorFlow Datasets; for "
            "images in train/CLASS/* and val/CLASS/*, train with --data=image_folder. "
            f"Received: {folder}, which holds train"
        )
    if not versions:
        raise RecipeError(
            f"--data_dir must hold {ImageNet.name}/5.*, prepared by `tfds build imagenet2012 "
            f"--data_dir={folder}` with ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar, from "
            f"image-net.org, in {folder / 'downloads' / 'manual'}. Received: {folder}"
        )
    builder = prepared.tensorflow_datasets().builder_from_directory(versions[-1].parent)
    missing = {"train", "validation"} - set(builder.info.splits)
    if missing or builder.info.file_format.value != "tfrecord":
        raise RecipeError(
            f"{versions[-1].parent} must have the splits train and validation, as TFRecord files. "
            f"Received: {', '.join(builder.info.splits)}, as {builder.info.file_format.value}"
        )
    return ImageNet(builder)
