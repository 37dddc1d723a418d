"""The paper's rows as runs: at full size on ImageNet, scaled down on small data."""

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from benchmarks import recipes
from benchmarks.experiments.sweep import Run
from benchmarks.lazy import keras_lars
from benchmarks.recipe import Recipe, RecipeError
from benchmarks.recipes import Row

if TYPE_CHECKING:
    from benchmarks.experiments.paper.experiment import Paper

# A training run: its label, its recipe, and the row that it repeats.
Variant = tuple[dict[str, Any], Recipe, Row | None]

EPOCHS = 100  # in all tables except the one on longer training
# Fraction of the training that a warm-up takes if the row has none. The paper's is 5 of 100 epochs.
WARMUP_FRACTION = 0.05
# Factors for the learning rates of scaled-down rows. They are not tuned. They give about the rates
# of the quick start at its batch of 64.
LEARNING_RATE_FACTORS: Mapping[tuple[str, str, str], float] = {
    # 0.2 becomes 0.00125 at a batch of 4, and by linear scaling 0.02 at 64, as in `digits_sgd`.
    ("digits", "resnet50", "sgd"): 1 / 160,
    ("digits", "resnet50", "lars"): 0.2,
}


def trained(model: str, optimizer: str) -> list[Row]:
    """The rows with a recipe for a network and an optimizer."""
    return [
        row
        for row in recipes.ROWS.values()
        if row.recipe and (row.recipe.model, row.recipe.optimizer) == (model, optimizer)
    ]


def rows_of(model: str, optimizer: str) -> list[Row]:
    """The rows of tables 1, 3 and 4."""
    return [
        row
        for row in trained(model, optimizer)
        if (row.trained.epochs, row.trained.augmentation) == (EPOCHS, "paper")
    ]


def best_rows(model: str, optimizer: str) -> dict[int, Row]:
    """The most accurate row of tables 1, 3 and 4 for each batch, in order of the batch."""
    by_accuracy = sorted(rows_of(model, optimizer), key=lambda row: row.published or 0)
    best = {row.trained.global_batch_size: row for row in by_accuracy}
    return dict(sorted(best.items()))


def longer_rows(model: str, batch: int) -> list[Row]:
    """The rows of table 5, and the row of 100 epochs to compare them with."""
    of_batch = [row for row in trained(model, "lars") if row.trained.global_batch_size == batch]
    by_epochs = sorted(of_batch, key=lambda row: row.trained.epochs)
    if not by_epochs or by_epochs[-1].trained.epochs <= EPOCHS:
        return []
    # In table 5, ResNet-50 has only extended augmentation.
    augmentation = by_epochs[-1].trained.augmentation
    return [
        row
        for row in by_epochs
        if row.trained.epochs >= EPOCHS and row.trained.augmentation == augmentation
    ]


def recipe_of(recipe: Recipe, asked: "Paper") -> Recipe:
    """The recipe of a row on the requested data set, with the requested changes.

    If the number of epochs changes, the warm-up keeps its fraction of them.
    """
    recipe = recipes.scaled_down(recipe, asked.data)
    factor = LEARNING_RATE_FACTORS.get((recipe.data, recipe.model, recipe.optimizer), 1.0)
    epochs = asked.epochs or asked.preset.epochs or recipe.epochs
    given: dict[str, Any] = {"width": asked.width, "image_size": asked.image_size}
    return dataclasses.replace(
        recipe,
        learning_rate=_rounded(recipe.learning_rate * factor),
        start_learning_rate=_rounded(recipe.start_learning_rate * factor),
        epochs=epochs,
        warmup_epochs=recipe.warmup_epochs * epochs / recipe.epochs,
        **{name: value for name, value in given.items() if value is not None},
    )


def recipe_at(batch: int, optimizer: str, asked: "Paper") -> tuple[Recipe, Row | None]:
    """The recipe of the best row of a batch, and that row.

    If SGD has no row for the batch, returns `scaled` and None.
    """
    row = best_rows(asked.model, optimizer).get(batch)
    if row is None and optimizer != "sgd":
        raise RecipeError(f"no row of {asked.model} with {optimizer} has a batch of {batch}")
    return (recipe_of(row.trained, asked) if row else scaled(batch, asked)), row


def scaled(batch: int, asked: "Paper") -> Recipe:
    """A recipe for SGD by linear scaling from its smallest batch, with a warm-up.

    A normalization sees as many samples as in the row of LARS.
    """
    smallest = next(iter(best_rows(asked.model, "sgd").values())).trained
    samples = best_rows(asked.model, "lars")[batch].trained.virtual_batch_size
    larger = dataclasses.replace(smallest, global_batch_size=batch, virtual_batch_size=samples)
    before, recipe = recipe_of(smallest, asked), recipe_of(larger, asked)
    rate = keras_lars.schedules.linear_scaling(
        before.learning_rate, recipe.global_batch_size, before.global_batch_size
    )
    return with_warmup(dataclasses.replace(recipe, learning_rate=_rounded(rate)))


def with_warmup(recipe: Recipe) -> Recipe:
    """The recipe with its own warm-up, or else with one that starts at 0."""
    if recipe.warmup_epochs:
        return recipe
    epochs = WARMUP_FRACTION * recipe.epochs
    return dataclasses.replace(recipe, warmup_epochs=epochs, start_learning_rate=0.0)


def batches(optimizer: str, asked: "Paper") -> tuple[int, ...]:
    """The batches, as in the paper's rows, that an optimizer is trained at.

    Raises RecipeError if a requested batch is not that of a row.
    """
    chosen = asked.preset.sgd if optimizer == "sgd" else asked.preset.lars
    if asked.batches is None or not chosen:
        return chosen
    known = {
        recipe_of(row.trained, asked).global_batch_size: batch
        for batch, row in best_rows(asked.model, "lars").items()  # SGD has rows at some of them
    }
    for batch in asked.batches:
        if batch not in known:
            raise RecipeError(
                f"--batches must be batches of the paper's rows on {asked.data}: "
                f"{', '.join(map(str, sorted(known)))}. Received: {batch}"
            )
    return tuple(known[batch] for batch in asked.batches)


def make_run(label: Mapping[str, str | float], recipe: Recipe, row: Row | None = None) -> Run:
    """A run of a recipe, which may be that of a row. Its name follows from its label and seed."""
    parts = [_part(name, value) for name, value in label.items()]
    return Run(
        name="-".join([*parts, f"seed{recipe.seed}"]),
        label=label,
        settings=recipe,
        row=row.name if row else "",
        published=row.published if row else None,
        source=row.source if row else "",
    )


def _part(name: str, value: str | float) -> str:
    text = value if isinstance(value, str) else f"{name} {value:g}"
    return re.sub(r"[^a-z0-9.]+", "_", text.lower())


def _rounded(rate: float) -> float:
    """The rate to six digits, because folder names contain it and products have rounding errors."""
    return float(f"{rate:.6g}")
