"""The sizes of published data sets, for dry runs without their files."""

from typing import NamedTuple, NoReturn

from benchmarks.data.data_set import DataSet
from benchmarks.recipe import RecipeError


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
    """A data set without its images, enough to describe a training.

    Args:
        name: One of `NUMBERS`.
        missing: Why there are no images.
    """

    def __init__(self, name: str, missing: str):
        self.name, self.missing = name, missing
        for field, number in NUMBERS[name]._asdict().items():
            setattr(self, field, number)

    def _refuse(self, *arguments: object, **named: object) -> NoReturn:
        raise RecipeError(self.missing)

    training = validation = training_as_held_out = _training = _held_out = _refuse
