"""`DataSet`: the interface of all data sets. Imports TensorFlow only to make batches."""

import dataclasses

from benchmarks.lazy import tf
from benchmarks.recipe import RecipeError
from benchmarks.words import counted


@dataclasses.dataclass(frozen=True)
class View:
    """How images are shown to the network, with the values of a recipe."""

    image_size: int
    pixel_scale: float
    augmentation: str  # of training images: "none", "paper" or "extended"
    seed: int


@dataclasses.dataclass(frozen=True)
class Shard:
    """The index of a worker, and the number of workers."""

    index: int
    count: int


WHOLE = Shard(0, 1)


@dataclasses.dataclass(eq=False)
class DataSet:
    """Labeled images for training, and held-out images for validation.

    An element of each `tf.data.Dataset` is a batch: float32 images of shape `[batch, image_size,
    image_size, channels]`, and int32 labels of shape `[batch]`. From pixels of 0 to 255, the
    mean of the data set is subtracted. They are then multiplied by the `pixel_scale` of the view.

    Subclasses implement `_training` and `_held_out`. An object of this class has no images, enough
    to describe a training.
    """

    name: str
    classes: int
    channels: int
    train_images: int  # number of images
    validation_images: int
    missing: str | None = None  # why a data set that is only described has no images

    # Whether each worker reads only its own share of the data, given by `shard`.
    shares_files = False

    def training(
        self, epoch: "tf.Tensor", view: View, batch_size: int, batches: int, shard: Shard = WHOLE
    ) -> "tf.data.Dataset":
        """The batches of one epoch. Order and augmentation depend only on the seed and the epoch.

        No image occurs twice. Images that do not fill a batch are left out of the epoch. The method
        can be called in the function of `Dataset.flat_map`. Pass the result, over any number of
        epochs, to `distributed`.

        Args:
            epoch: Index of the epoch, an int64 tensor of shape ().
            view: How to show the images.
            batch_size: Images in a batch, over all workers.
            batches: Number of batches in the epoch.
            shard: The worker. Data sets with `shares_files` return its share of each batch,
                `batch_size / shard.count` images; others return whole batches.

        Raises:
            RecipeError: If the epoch needs more images than there are.
        """
        if batch_size * batches > self.train_images:
            raise RecipeError(
                f"an epoch of {self.name} must have at most its "
                f"{counted(self.train_images, 'training image')}. "
                f"Received: {counted(batches, 'batch', 'batches')} of {batch_size}"
            )
        return self._training(epoch, view, batch_size, batches, shard)

    def validation(self, view: View, batch_size: int) -> "tf.data.Dataset":
        """Every held-out image once, in a fixed order; the last batch may be short."""
        return self._held_out("validation", self.validation_images, view, batch_size)

    def training_as_held_out(self, view: View, batch_size: int, images: int) -> "tf.data.Dataset":
        """A fixed selection of training images, shown without augmentation like held-out images."""
        return self._held_out("train", min(images, self.train_images), view, batch_size)

    def _training(
        self, epoch: "tf.Tensor", view: View, batch_size: int, batches: int, shard: Shard
    ) -> "tf.data.Dataset":
        """Implements `training`, which has checked that there are enough images."""
        raise RecipeError(self.missing)

    def _held_out(self, part: str, images: int, view: View, batch_size: int) -> "tf.data.Dataset":
        """The first images of a part, "train" or "validation"."""
        raise RecipeError(self.missing)

    def distributed(
        self, epochs: "tf.data.Dataset", strategy: "tf.distribute.Strategy"
    ) -> "tf.data.Dataset | tf.distribute.DistributedDataset":
        """Prepares training batches, the result of `training` or a `flat_map` over it, for `fit`.

        `flat_map` drops the options of the data sets in it. Without options, TensorFlow would look
        for files to distribute to the workers, and distribute the epochs instead.
        """
        if not self.shares_files:
            return by_image(epochs)
        replicas = strategy.num_replicas_in_sync

        def part_of_a_worker(context: "tf.distribute.InputContext") -> "tf.data.Dataset":
            images, _ = epochs.element_spec
            return epochs.rebatch(images.shape[0] * context.num_input_pipelines // replicas)

        return strategy.distribute_datasets_from_function(part_of_a_worker)

    def unreadable(
        self, view: View, epoch: int, images: int, batch_size: int, evaluated: int
    ) -> str | None:
        """Why images could not be read by a training run that failed; None if they can be.

        It had trained on `images` images of an epoch, and also evaluates some training images.
        """
        return None


def by_image(dataset: "tf.data.Dataset") -> "tf.data.Dataset":
    """The same data set, for workers that each read all of it and keep a part of every batch."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)
