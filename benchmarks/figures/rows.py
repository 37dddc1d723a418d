"""The paper's rows as points: as they are on ImageNet, in small elsewhere."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks import recipes
from benchmarks.figures import point, presets
from benchmarks.figures.point import Point
from benchmarks.figures.presets import Preset
from benchmarks.figures.request import Request
from benchmarks.recipe import Recipe, RecipeError
from benchmarks.recipes import Row, paper

EPOCHS = 100  # of all tables but the one on longer training


def rows_of(model: str, optimizer: str) -> list[Row]:
    """The rows of tables 1, 3 and 4 for a network and an optimizer."""
    return [
        row
        for row in paper.ROWS
        if row.recipe is not None
        and (row.recipe.model, row.recipe.optimizer) == (model, optimizer)
        and (row.recipe.epochs, row.recipe.augmentation) == (EPOCHS, "paper")
    ]


def rows_at(model: str, optimizer: str, batch: int) -> list[Row]:
    """Those of one batch, which differ in the learning rate."""
    return [row for row in rows_of(model, optimizer) if row.recipe.global_batch_size == batch]


def best_rows(model: str, optimizer: str) -> dict[int, Row]:
    """By batch, in order, the row that reached most."""
    best: dict[int, Row] = {}
    for row in sorted(rows_of(model, optimizer), key=lambda row: row.published):
        best[row.recipe.global_batch_size] = row
    return dict(sorted(best.items()))


def recipe_of(row: Row, request: Request, preset: Preset) -> Recipe:
    """The recipe of a row on the data set that is asked for, with what else is asked for.

    A number of epochs takes the warm-up with it, which keeps its share of the training.
    """
    recipe = recipes.override(row.name, data=request.data)
    factor = _factor(recipe)
    epochs = request.epochs or preset.epochs or recipe.epochs
    given = {"width": request.width, "image_size": request.image_size}
    return dataclasses.replace(
        recipe,
        learning_rate=_rounded(recipe.learning_rate * factor),
        start_learning_rate=_rounded(recipe.start_learning_rate * factor),
        epochs=epochs,
        warmup_epochs=recipe.warmup_epochs * epochs / recipe.epochs,
        **{name: value for name, value in given.items() if value is not None},
    )


def recipe_at(batch: int, optimizer: str, request: Request, preset: Preset) -> tuple[Recipe, Any]:
    """The recipe of the best row of a batch, with that row.

    Where SGD has none, that of its smallest batch by linear scaling and warm-up, with None.
    """
    best = best_rows(request.model, optimizer)
    if batch in best:
        return recipe_of(best[batch], request, preset), best[batch]
    if optimizer != "sgd":
        raise RecipeError(f"no row of {request.model} with {optimizer} has a batch of {batch}")
    return scaled(batch, request, preset), None


def scaled(batch: int, request: Request, preset: Preset) -> Recipe:
    """SGD at a batch by linear scaling from its smallest one, with a warm-up."""
    from keras_lars.schedules import linear_scaling  # late, as Keras takes seconds to start

    smallest = next(iter(best_rows(request.model, "sgd").values()))
    recipe = recipe_of(smallest, request, preset)
    template = _at_batch(smallest, batch, request, preset)
    rate = linear_scaling(
        recipe.learning_rate, template.global_batch_size, recipe.global_batch_size
    )
    return with_warmup(dataclasses.replace(template, learning_rate=_rounded(rate)))


def _at_batch(row: Row, batch: int, request: Request, preset: Preset) -> Recipe:
    """The recipe of a row at the batch of others, whose normalization sees as many samples."""
    other = best_rows(request.model, "lars")[batch].recipe
    samples = other.virtual_batch_size
    moved = dataclasses.replace(row.recipe, global_batch_size=batch, virtual_batch_size=samples)
    small = moved if request.data == moved.data else recipes.scaled_down(moved, request.data)
    return dataclasses.replace(
        recipe_of(row, request, preset),
        global_batch_size=small.global_batch_size,
        virtual_batch_size=small.virtual_batch_size,
    )


def with_warmup(recipe: Recipe) -> Recipe:
    """With its own warm-up, or if it has none with one that starts at 0."""
    if recipe.warmup_epochs:
        return recipe
    epochs = presets.WARMUP_SHARE * recipe.epochs
    return dataclasses.replace(recipe, warmup_epochs=epochs, start_learning_rate=0.0)


def without_warmup(recipe: Recipe) -> Recipe:
    return dataclasses.replace(recipe, warmup_epochs=0.0)


def batches(optimizer: str, request: Request, preset: Preset) -> tuple[int, ...]:
    """The batches of rows that an optimizer is trained at.

    Raises:
        RecipeError: If one that is asked for is that of no row.
    """
    chosen = preset.batches.get(optimizer, ())
    if request.batches is None or not chosen:
        return chosen
    known = {
        recipe_of(row, request, preset).global_batch_size: batch
        for name in ("sgd", "lars")
        for batch, row in best_rows(request.model, name).items()
    }
    for batch in request.batches:
        if batch not in known:
            raise RecipeError(
                f"--batches must be of {', '.join(map(str, sorted(known)))}, which are those of "
                f"the paper's rows on {request.data}. Received: {batch}"
            )
    return tuple(known[batch] for batch in request.batches)


def by_optimizer_and_batch(request: Request, preset: Preset) -> Iterator[tuple[str, int]]:
    for optimizer in preset.batches:
        for batch in batches(optimizer, request, preset):
            yield optimizer, batch


def points(
    label: Mapping[str, str | float],
    recipe: Recipe,
    row: Row | None,
    request: Request,
    preset: Preset,
) -> list[Point]:
    """A point for each seed. In small it stands for its row; else it does if it is that."""
    if row and request.size == "paper":
        row = row if dataclasses.replace(recipe, seed=row.recipe.seed) == row.recipe else None
    return [
        point.make(label, dataclasses.replace(recipe, seed=seed), row)
        for seed in request.seeds or preset.seeds
    ]


def _factor(recipe: Recipe) -> float:
    key = (recipe.data, recipe.model, recipe.optimizer)
    return presets.LEARNING_RATE_FACTORS.get(key, 1.0)


def _rounded(rate: float) -> float:
    """Without the last digits, which are products' noise: it is in names of folders."""
    return float(f"{rate:.6g}")
