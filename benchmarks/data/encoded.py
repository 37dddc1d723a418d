"""Images that are decoded as they are shown: what ImageNet and folders of images have in common."""

import abc
from types import ModuleType
from typing import TYPE_CHECKING

from benchmarks.data import augmentation, jpeg
from benchmarks.data.data_set import WHOLE, DataSet, Shard, View, by_image
from benchmarks.recipe import RecipeError
from benchmarks.words import counted

if TYPE_CHECKING:
    import tensorflow as tf

# Of ImageNet's training images, red, green and blue. Source: Simonyan and Zisserman's VGG models.
MEAN = (123.68, 116.779, 103.939)


class EncodedImages(DataSet):
    """Images in files, of which each worker reads and decodes its share only.

    Both sides of an image are scaled to 256 pixels and a crop is shown, as the authors did; see
    `jpeg` for where this differs.

    Attributes:
        codec: The module with `height_and_width` and `decode` for these files.
    """

    channels = 3
    codec: ModuleType = jpeg

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

        The number tells the image from all others of the epoch, on all workers.

        Args:
            seeds: Two, that tell the order.
            batch_size: As in `training`, and so are the others.
        """

    def _read(self, image: "tf.Tensor") -> "tf.Tensor":
        """The content of a file, a string."""
        return image

    def training(
        self, epoch: "tf.Tensor", view: View, batch_size: int, batches: int, shard: Shard = WHOLE
    ) -> "tf.data.Dataset":
        import tensorflow as tf

        self.check(batch_size, batches)
        if batch_size % shard.count:
            raise RecipeError(
                f"a batch must be a multiple of the {counted(shard.count, 'worker')}. "
                f"Received: {batch_size}"
            )
        seed = tf.stack([tf.constant(view.seed, tf.int64), epoch])
        *of_order, of_images = tf.unstack(tf.random.experimental.stateless_split(seed, 3))

        def show(number, image, label):
            string = self._read(image)
            seed = tf.random.experimental.stateless_fold_in(of_images, number)
            height_and_width = self.codec.height_and_width(string)
            window, is_mirrored = jpeg.training_window(height_and_width, view, seed)
            pixels = self.codec.decode(string, window, view.image_size)
            return _centred(augmentation.mirrored(pixels, is_mirrored), view), label

        images = self._epoch(of_order, batch_size, batches, shard)
        shown = images.map(show, num_parallel_calls=tf.data.AUTOTUNE)
        shown = shown.batch(batch_size // shard.count, drop_remainder=True)
        # Large batches are gigabytes: one is ready while the next is made.
        return shown.apply(tf.data.experimental.assert_cardinality(batches)).prefetch(1)

    def validation(self, view: View, batch_size: int) -> "tf.data.Dataset":
        return self._held_out("validation", self.validation_images, view, batch_size)

    def training_as_held_out(self, view: View, batch_size: int, images: int) -> "tf.data.Dataset":
        return self._held_out("train", min(images, self.train_images), view, batch_size)

    def _held_out(self, part, images, view, batch_size) -> "tf.data.Dataset":
        import tensorflow as tf

        def show(string, label):
            window = jpeg.held_out_window(self.codec.height_and_width(string), view.image_size)
            return _centred(self.codec.decode(string, window, view.image_size), view), label

        strings = self.encoded(part).take(images)
        strings = strings.apply(tf.data.experimental.assert_cardinality(images))
        shown = strings.map(show, num_parallel_calls=tf.data.AUTOTUNE)
        return by_image(shown.batch(batch_size).prefetch(1))


def _centred(pixels, view):
    return (pixels - MEAN) * view.pixel_scale
