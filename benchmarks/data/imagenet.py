"""ILSVRC 2012 as TensorFlow Datasets prepares it, read so that a worker decodes its share only."""

import os
import pathlib
from typing import TYPE_CHECKING, Any

from benchmarks.data import augmentation, jpeg, prepared
from benchmarks.data.data_set import WHOLE, DataSet, Shard, View, by_image
from benchmarks.recipe import RecipeError

if TYPE_CHECKING:
    import tensorflow as tf

# Of the training images, red, green and blue. Source: Simonyan and Zisserman's VGG models.
MEAN = (123.68, 116.779, 103.939)
# Files that are read at once, an image from each in turn.
FILES_AT_ONCE = 16
# JPEGs, of 110 kB in the mean, that are put into another order at once.
SHUFFLED_AT_ONCE = 4096


class ImageNet(DataSet):
    """Images in TFRecord files, a part of which each worker reads.

    Both sides of an image are scaled to 256 pixels and a crop is shown, as the authors did; see
    `jpeg` for where this differs. The files of an epoch are in a random order, of which worker i of
    n reads every n-th from the i-th on. Then so many images at once are put into a random order.
    Shares are of whole files: a worker with too few images for its part of the epoch sees some of
    them twice, and one with more leaves some out.

    Args:
        builder: Of TensorFlow Datasets, which has prepared it.
    """

    name = "imagenet2012"
    classes = 1000
    channels = 3

    def __init__(self, builder: Any):
        self._features = builder.info.features
        splits = builder.info.splits
        self._files = {name: list(map(str, splits[name].filepaths)) for name in splits}
        self.train_images = splits["train"].num_examples
        self.validation_images = splits["validation"].num_examples

    @property
    def shares_files(self) -> bool:
        return True

    def training(
        self, epoch: "tf.Tensor", view: View, batch_size: int, batches: int, shard: Shard = WHOLE
    ) -> "tf.data.Dataset":
        import tensorflow as tf

        self.check(batch_size, batches)
        self._check_shard(shard, batch_size)
        images_of_batch = batch_size // shard.count
        seed = tf.stack([tf.constant(view.seed, tf.int64), epoch])
        of_files, of_order, of_images = tf.unstack(tf.random.experimental.stateless_split(seed, 3))
        files = tf.constant(self._files["train"])
        order = tf.random.experimental.stateless_shuffle(tf.range(tf.size(files)), of_files)
        jpegs = self._jpegs(tf.gather(files, order)[shard.index :: shard.count])
        jpegs = _shuffled(jpegs, of_order)
        if shard.count > 1:
            jpegs = jpegs.repeat()  # for a share that is too short
        jpegs = jpegs.take(batches * images_of_batch)

        def show(position, image, label):
            position = position * shard.count + shard.index
            seed = tf.random.experimental.stateless_fold_in(of_images, position)
            height_and_width = tf.image.extract_jpeg_shape(image)[:2]
            window, is_mirrored = jpeg.training_window(height_and_width, view, seed)
            pixels = jpeg.decode(image, window, view.image_size)
            return _centred(augmentation.mirrored(pixels, is_mirrored), view), label

        shown = jpegs.enumerate().map(
            lambda position, image_and_label: show(position, *image_and_label),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        shown = shown.batch(images_of_batch, drop_remainder=True)
        # Large batches are gigabytes: one is ready while the next is made.
        return shown.apply(tf.data.experimental.assert_cardinality(batches)).prefetch(1)

    def validation(self, view: View, batch_size: int) -> "tf.data.Dataset":
        return self._held_out("validation", self.validation_images, view, batch_size)

    def training_as_held_out(self, view: View, batch_size: int, images: int) -> "tf.data.Dataset":
        return self._held_out("train", min(images, self.train_images), view, batch_size)

    def _held_out(self, split, images, view, batch_size) -> "tf.data.Dataset":
        import tensorflow as tf

        def show(image, label):
            height_and_width = tf.image.extract_jpeg_shape(image)[:2]
            window = jpeg.held_out_window(height_and_width, view.image_size)
            return _centred(jpeg.decode(image, window, view.image_size), view), label

        jpegs = self.jpegs(split).take(images)
        jpegs = jpegs.apply(tf.data.experimental.assert_cardinality(images))
        shown = jpegs.map(show, num_parallel_calls=tf.data.AUTOTUNE)
        return by_image(shown.batch(batch_size).prefetch(1))

    def jpegs(self, split: str) -> "tf.data.Dataset":
        """Images as JPEG strings, and their labels, always in the same order.

        Args:
            split: `"train"` or `"validation"`.
        """
        import tensorflow as tf

        return self._jpegs(tf.constant(self._files[split]))

    def _jpegs(self, files: "tf.Tensor") -> "tf.data.Dataset":
        import tensorflow as tf

        decoders = {"image": prepared.tensorflow_datasets().decode.SkipDecoding()}

        def parse(record):
            example = self._features.deserialize_example(record, decoders=decoders)
            return example["image"], tf.cast(example["label"], tf.int32)

        records = tf.data.Dataset.from_tensor_slices(files).interleave(
            tf.data.TFRecordDataset,
            cycle_length=FILES_AT_ONCE,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        return records.map(parse, num_parallel_calls=tf.data.AUTOTUNE)

    def _check_shard(self, shard: Shard, batch_size: int) -> None:
        if batch_size % shard.count:
            raise RecipeError(
                f"a batch must be a multiple of the {shard.count} workers. Received: {batch_size}"
            )
        if shard.count > len(self._files["train"]):
            raise RecipeError(
                f"workers must be no more than the {len(self._files['train'])} files of "
                f"{self.name}. Received: {shard.count}"
            )


def _shuffled(dataset, seed):
    """Many elements at once in another order; unlike `Dataset.shuffle`, the same each time."""
    import tensorflow as tf

    def block(number, elements):
        seed_of_block = tf.random.experimental.stateless_fold_in(seed, number)
        positions = tf.range(tf.size(elements[1]))
        order = tf.random.experimental.stateless_shuffle(positions, seed_of_block)
        return tf.data.Dataset.from_tensor_slices(
            tuple(tf.gather(part, order) for part in elements)
        )

    # The next ones are read while these are shown.
    return dataset.batch(SHUFFLED_AT_ONCE).prefetch(1).enumerate().flat_map(block)


def _centred(pixels, view):
    return (pixels - MEAN) * view.pixel_scale


def load(data_dir: str | os.PathLike | None = None) -> ImageNet:
    """The 1,281,167 images to train on, and the 50,000 that are held out.

    Args:
        data_dir: Folder in which TensorFlow Datasets has prepared them; by default its own.

    Raises:
        RecipeError: If they are not there.
    """
    folder = pathlib.Path(data_dir) if data_dir else prepared.default_folder()
    versions = sorted((folder / ImageNet.name).glob("5.*/dataset_info.json"))
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
