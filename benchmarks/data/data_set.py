"""`DataSet`: what a training needs of its data. Imports TensorFlow only to make batches."""

import abc
import dataclasses

from benchmarks.lazy import tf
from benchmarks.recipe import RecipeError
from benchmarks.words import counted


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """How images are shown to the network; the values are those of a recipe."""

    image_size: int
    pixel_scale: float
    augmentation: str  # of training images: "none", "paper" or "extended"
    seed: int


@dataclasses.dataclass(frozen=True)
class Shard:
    """Which worker of how many."""

    index: int
    count: int


WHOLE = Shard(0, 1)


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a training got, to find what it was about to read."""

    epoch: int
    images: int  # of that epoch that it has trained on
    batch_size: int
    evaluated: int  # training images that it also evaluates


class DataSet(abc.ABC):
    """Labelled images, a training part and a held-out part.

    An element of each `tf.data.Dataset` is a batch: float32 images of shape `[batch, image_size,
    image_size, channels]`, and int32 labels of shape `[batch]`. Pixels are 0 to 255, less the mean
    of the data set, times the `pixel_scale` of the view.
    """

    name: str
    classes: int
    channels: int
    train_images: int  # how many
    validation_images: int
    missing: str | None = None  # why there are no images, of a data set that is only described

    def training(
        self, epoch: "tf.Tensor", view: View, batch_size: int, batches: int, shard: Shard = WHOLE
    ) -> "tf.data.Dataset":
        """The batches of one epoch, their order and augmentation a function of seed and epoch.

        No image occurs twice; those for which there is no room are left out of the epoch. It can
        be called in the function of `Dataset.flat_map`. The result, over any number of epochs, goes
        to `distributed`.

        Args:
            epoch: Which one, an int64 tensor of shape ().
            view: How to show the images.
            batch_size: Images in a batch, on all workers together.
            batches: How many batches the epoch has.
            shard: The worker. Data sets with `shares_files` give it its part of each batch,
                `batch_size / shard.count` images; others give it all.

        Raises:
            RecipeError: If the epoch is of more images than there are.
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
        """So many training images, always the same ones, shown as held-out images are."""
        return self._held_out("train", min(images, self.train_images), view, batch_size)

    @abc.abstractmethod
    def _training(
        self, epoch: "tf.Tensor", view: View, batch_size: int, batches: int, shard: Shard
    ) -> "tf.data.Dataset":
        """As `training`, with as many images as there are, at the most."""

    @abc.abstractmethod
    def _held_out(self, part: str, images: int, view: View, batch_size: int) -> "tf.data.Dataset":
        """The first images of a part, "train" or "validation"."""

    @property
    def shares_files(self) -> bool:
        """Whether each worker reads its own part of the data set, given by `shard`."""
        return False

    def distributed(
        self, epochs: "tf.data.Dataset", strategy: "tf.distribute.Strategy"
    ) -> "tf.data.Dataset | tf.distribute.DistributedDataset":
        """Training batches as `fit` takes them under a strategy.

        Args:
            epochs: What `training` returned, or a `flat_map` over it, which forgets the options of
                the data sets inside: TensorFlow would then look for files to distribute to workers,
                and distribute the epochs in their place.
            strategy: The strategy that is trained under.
        """
        if not self.shares_files:
            return by_image(epochs)
        replicas = strategy.num_replicas_in_sync

        def part_of_a_worker(context: "tf.distribute.InputContext") -> "tf.data.Dataset":
            images, _ = epochs.element_spec
            return epochs.rebatch(images.shape[0] * context.num_input_pipelines // replicas)

        return strategy.distribute_datasets_from_function(part_of_a_worker)

    def unreadable(self, view: View, progress: Progress) -> str | None:
        """Why images could not be read, after a training has failed; None if they can be.

        Args:
            view: How they were shown.
            progress: How far it got.
        """
        return None


def by_image(dataset: "tf.data.Dataset") -> "tf.data.Dataset":
    """The same, for workers that all read all of it, and each keep a part of every batch."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)
