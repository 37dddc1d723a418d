"""The numbers of published data sets, which are known where their files are not."""

from typing import TYPE_CHECKING, NamedTuple

from benchmarks.data.data_set import WHOLE, DataSet, Shard, View
from benchmarks.recipe import RecipeError

if TYPE_CHECKING:
    import tensorflow as tf


class Numbers(NamedTuple):
    classes: int
    channels: int
    train_images: int
    validation_images: int


NUMBERS = {
    "fashion_mnist": Numbers(10, 1, 60_000, 10_000),
    "imagenet2012": Numbers(1000, 3, 1_281_167, 50_000),
}


class Known(DataSet):
    """A data set without its images: enough to say what a training would be.

    Args:
        name: One of `NUMBERS`.
        missing: Why there are no images.
    """

    def __init__(self, name: str, missing: str):
        self.name, self.missing = name, missing
        numbers = NUMBERS[name]
        self.classes, self.channels = numbers.classes, numbers.channels
        self.train_images = numbers.train_images
        self.validation_images = numbers.validation_images

    def training(
        self, epoch: "tf.Tensor", view: View, batch_size: int, batches: int, shard: Shard = WHOLE
    ) -> "tf.data.Dataset":
        raise RecipeError(self.missing)

    def validation(self, view: View, batch_size: int) -> "tf.data.Dataset":
        raise RecipeError(self.missing)

    def training_as_held_out(self, view: View, batch_size: int, images: int) -> "tf.data.Dataset":
        raise RecipeError(self.missing)
