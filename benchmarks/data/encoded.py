"""Images that are decoded as they are shown: what ImageNet and folders of images have in common."""

import abc

from benchmarks.data import augmentation, image_file
from benchmarks.data.data_set import DataSet, Shard, View, by_image
from benchmarks.lazy import tf
from benchmarks.recipe import RecipeError
from benchmarks.words import counted

# Of ImageNet's training images, red, green and blue. Source: Simonyan and Zisserman's VGG models.
MEAN = (123.68, 116.779, 103.939)


class EncodedImages(DataSet):
    """Images in files, of which each worker reads and decodes only its part.

    Both sides of an image are scaled to 256 pixels and a crop is shown, as the authors did; see
    `augmentation` for where this differs.
    """

    channels = 3

    @property
    def shares_files(self) -> bool:
        return True

    @abc.abstractmethod
    def encoded(self, part: str) -> "tf.data.Dataset":
        """Images as strings, and their labels, always in the same order.

        Args:
            part: `"train"` or `"validation"`.
        """

    @abc.abstractmethod
    def _epoch(
        self, seeds: "list[tf.Tensor]", batch_size: int, batches: int, shard: Shard
    ) -> "tf.data.Dataset":
        """A worker's images of an epoch, in order: a number, what `_read` takes, and a label.

        The number identifies the image among all of the epoch, on all workers.

        Args:
            seeds: Two, which determine the order.
            batch_size: As in `training`, like the rest.
        """

    def _read(self, image: "tf.Tensor") -> "tf.Tensor":
        """The content of a file, a string."""
        return image

    def _training(
        self, epoch: "tf.Tensor", view: View, batch_size: int, batches: int, shard: Shard
    ) -> "tf.data.Dataset":
        if batch_size % shard.count:
            raise RecipeError(
                f"a batch must be a multiple of the {counted(shard.count, 'worker')}. "
                f"Received: {batch_size}"
            )
        seed = tf.stack([tf.constant(view.seed, tf.int64), epoch])
        *of_order, of_images = tf.unstack(tf.random.experimental.stateless_split(seed, 3))

        def show(
            number: "tf.Tensor", image: "tf.Tensor", label: "tf.Tensor"
        ) -> "tuple[tf.Tensor, tf.Tensor]":
            string = self._read(image)
            seed = tf.random.experimental.stateless_fold_in(of_images, number)
            height_and_width = image_file.height_and_width(string)
            window, is_mirrored = augmentation.training_window(height_and_width, view, seed)
            pixels = image_file.decode(string, window, view.image_size)
            return _centred(augmentation.mirrored(pixels, is_mirrored), view), label

        images = self._epoch(of_order, batch_size, batches, shard)
        shown = images.map(show, num_parallel_calls=tf.data.AUTOTUNE)
        shown = shown.batch(batch_size // shard.count, drop_remainder=True)
        # Large batches are gigabytes: one is ready while the next is made.
        return shown.apply(tf.data.experimental.assert_cardinality(batches)).prefetch(1)

    def _held_out(self, part: str, images: int, view: View, batch_size: int) -> "tf.data.Dataset":
        def show(string: "tf.Tensor", label: "tf.Tensor") -> "tuple[tf.Tensor, tf.Tensor]":
            height_and_width = image_file.height_and_width(string)
            window = augmentation.held_out_window(height_and_width, view.image_size)
            return _centred(image_file.decode(string, window, view.image_size), view), label

        strings = self.encoded(part).take(images)
        strings = strings.apply(tf.data.experimental.assert_cardinality(images))
        shown = strings.map(show, num_parallel_calls=tf.data.AUTOTUNE)
        return by_image(shown.batch(batch_size).prefetch(1))


def _centred(pixels: "tf.Tensor", view: View) -> "tf.Tensor":
    return (pixels - MEAN) * view.pixel_scale
