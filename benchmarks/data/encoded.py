"""Encoded images that are decoded batch by batch: the base of ImageNet and image folders."""

from benchmarks.data import augmentation, image_file
from benchmarks.data.data_set import DataSet, Shard, View, by_image
from benchmarks.lazy import tf
from benchmarks.recipe import RecipeError

# Red, green and blue means of ImageNet's training images. Source: Simonyan and Zisserman's VGG.
MEAN = (123.68, 116.779, 103.939)


class EncodedImages(DataSet):
    """Images in files. Each worker reads and decodes only its share.

    Both sides of an image are scaled to 256 pixels and a crop is shown, as in the paper;
    `augmentation` describes the differences.
    """

    shares_files = True

    def encoded(self, part: str) -> "tf.data.Dataset":
        """All encoded images of "train" or "validation" with their labels, in a fixed order."""
        raise NotImplementedError

    def _epoch(
        self, seeds: "list[tf.Tensor]", batch_size: int, batches: int, shard: Shard
    ) -> "tf.data.Dataset":
        """A worker's encoded images of an epoch, in order, each with a number and a label.

        The number is unique in the epoch, over all workers. Two seeds determine the order.
        """
        raise NotImplementedError

    def _training(
        self, epoch: "tf.Tensor", view: View, batch_size: int, batches: int, shard: Shard
    ) -> "tf.data.Dataset":
        if batch_size % shard.count:
            raise RecipeError(
                f"a batch must be a multiple of {shard.count}, the number of workers. "
                f"Received: {batch_size}"
            )
        *order_seeds, image_seed = seeds_of(view.seed, epoch)

        def show(
            number: "tf.Tensor", string: "tf.Tensor", label: "tf.Tensor"
        ) -> "tuple[tf.Tensor, tf.Tensor]":
            seed = tf.random.experimental.stateless_fold_in(image_seed, number)
            height_and_width = image_file.height_and_width(string)
            window, is_mirrored = augmentation.training_window(height_and_width, view, seed)
            pixels = image_file.decode(string, window, view.image_size)
            return _centred(augmentation.mirrored(pixels, is_mirrored), view), label

        images = self._epoch(order_seeds, batch_size, batches, shard)
        shown = images.map(show, num_parallel_calls=tf.data.AUTOTUNE)
        shown = shown.batch(batch_size // shard.count, drop_remainder=True)
        # Large batches take gigabytes, so only one is prefetched.
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


def seeds_of(seed: int, epoch: "tf.Tensor") -> "list[tf.Tensor]":
    """Two seeds for the order of the images in an epoch, and one for their crops."""
    both = tf.stack([tf.constant(seed, tf.int64), epoch])
    return tf.unstack(tf.random.experimental.stateless_split(both, 3))


def _centred(pixels: "tf.Tensor", view: View) -> "tf.Tensor":
    return (pixels - MEAN) * view.pixel_scale
