"""The paper's recipes in small: on a data set and at a size that a laptop can train on."""

import dataclasses
import math

from benchmarks.recipe import Recipe, RecipeError


@dataclasses.dataclass(frozen=True)
class Small:
    """What becomes of a recipe on a data set."""

    image_size: int
    width: float
    epochs_divisor: int  # of the warm-up as well
    batch_divisor: int


SMALL = {
    "fashion_mnist": Small(image_size=14, width=0.25, epochs_divisor=10, batch_divisor=4),
    "digits": Small(image_size=8, width=0.25, epochs_divisor=5, batch_divisor=64),
}


def in_small(recipe: Recipe, data: str) -> Recipe:
    """A recipe of ImageNet on another data set.

    Epochs and warm-up, and batch and virtual batch, are divided by the same number, so that the
    warm-up keeps its share of the training. Learning rates stay: they were tuned for other data,
    and for no small ones. `synthetic` stands for ImageNet, and changes nothing else.

    Raises:
        RecipeError: If the recipe is not one of ImageNet.
    """
    if data == "synthetic":
        return dataclasses.replace(recipe, data=data)
    if recipe.data not in ("imagenet2012", "synthetic"):
        raise RecipeError(
            f"--data must be that of the recipe, {recipe.data}, unless the recipe is one of "
            f"imagenet2012. Received: {data}"
        )
    if data not in SMALL:
        return dataclasses.replace(recipe, data=data)
    small = SMALL[data]
    batch = max(1, recipe.global_batch_size // small.batch_divisor)
    virtual = recipe.virtual_batch_size and max(2, recipe.virtual_batch_size // small.batch_divisor)
    return dataclasses.replace(
        recipe,
        data=data,
        image_size=small.image_size,
        width=small.width,
        pixel_scale=1 / 256,
        augmentation="none",
        epochs=math.ceil(recipe.epochs / small.epochs_divisor),
        warmup_epochs=recipe.warmup_epochs / small.epochs_divisor,
        global_batch_size=batch,
        virtual_batch_size=virtual,
    )
