"""The paper's rows as runs: as they are on ImageNet, scaled down elsewhere."""

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from benchmarks import recipes
from benchmarks.experiments.sweep import Run
from benchmarks.recipe import Recipe, RecipeError
from benchmarks.recipes import Row, paper

if TYPE_CHECKING:
    from benchmarks.experiments.paper.experiment import Paper

# A training: its label, its recipe, and the row that it is.
Variant = tuple[dict[str, Any], Recipe, Row | None]

EPOCHS = 100  # of all tables but the one on longer training
# Of a warm-up where the row has none, of the training: the paper's is 5 of 100 epochs.
WARMUP_FRACTION = 0.05
# Scaled down, learning rates of rows are multiplied by these. They are not tuned: they lead to
# about the rates of the quick start at its batch of 64.
LEARNING_RATE_FACTORS: Mapping[tuple[str, str, str], float] = {
    # 0.2 at a batch of 4 becomes 0.02 at one of 64 by linear scaling, as in `digits_sgd`.
    ("digits", "resnet50", "sgd"): 1 / 160,
    ("digits", "resnet50", "lars"): 0.2,
}


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
    return [row for row in rows_of(model, optimizer) if row.trained.global_batch_size == batch]


def best_rows(model: str, optimizer: str) -> dict[int, Row]:
    """By batch, in order, the row that reached most."""
    best: dict[int, Row] = {}
    for row in sorted(rows_of(model, optimizer), key=lambda row: row.published or 0):
        best[row.trained.global_batch_size] = row
    return dict(sorted(best.items()))


def recipe_of(row: Row, asked: "Paper") -> Recipe:
    """The recipe of a row on the data set that is asked for, with what else is asked for.

    A number of epochs takes the warm-up with it, which keeps its fraction of the training.
    """
    recipe = recipes.override(row.name, data=asked.data)
    factor = _factor(recipe)
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


def recipe_at(batch: int, optimizer: str, asked: "Paper") -> tuple[Recipe, Any]:
    """The recipe of the best row of a batch, with that row.

    Where SGD has none, that of its smallest batch by linear scaling and warm-up, with None.
    """
    best = best_rows(asked.model, optimizer)
    if batch in best:
        return recipe_of(best[batch], asked), best[batch]
    if optimizer != "sgd":
        raise RecipeError(f"no row of {asked.model} with {optimizer} has a batch of {batch}")
    return scaled(batch, asked), None


def scaled(batch: int, asked: "Paper") -> Recipe:
    """SGD at a batch by linear scaling from its smallest one, with a warm-up."""
    from keras_lars.schedules import linear_scaling  # late, as Keras takes seconds to start

    smallest = next(iter(best_rows(asked.model, "sgd").values()))
    recipe = recipe_of(smallest, asked)
    template = _at_batch(smallest, batch, asked)
    rate = linear_scaling(
        recipe.learning_rate, template.global_batch_size, recipe.global_batch_size
    )
    return with_warmup(dataclasses.replace(template, learning_rate=_rounded(rate)))


def _at_batch(row: Row, batch: int, asked: "Paper") -> Recipe:
    """The recipe of a row at the batch of others, whose normalization sees as many samples."""
    other = best_rows(asked.model, "lars")[batch].trained
    samples = other.virtual_batch_size
    moved = dataclasses.replace(row.trained, global_batch_size=batch, virtual_batch_size=samples)
    small = moved if asked.data == moved.data else recipes.scaled_down(moved, asked.data)
    return dataclasses.replace(
        recipe_of(row, asked),
        global_batch_size=small.global_batch_size,
        virtual_batch_size=small.virtual_batch_size,
    )


def with_warmup(recipe: Recipe) -> Recipe:
    """With its own warm-up, or if it has none with one that starts at 0."""
    if recipe.warmup_epochs:
        return recipe
    epochs = WARMUP_FRACTION * recipe.epochs
    return dataclasses.replace(recipe, warmup_epochs=epochs, start_learning_rate=0.0)


def batches(optimizer: str, asked: "Paper") -> tuple[int, ...]:
    """The batches of rows that an optimizer is trained at.

    Raises:
        RecipeError: If one that is asked for is that of no row.
    """
    chosen = asked.preset.batches.get(optimizer, ())
    if asked.batches is None or not chosen:
        return chosen
    known = {
        recipe_of(row, asked).global_batch_size: batch
        for name in ("sgd", "lars")
        for batch, row in best_rows(asked.model, name).items()
    }
    for batch in asked.batches:
        if batch not in known:
            raise RecipeError(
                f"--batches must be of {', '.join(map(str, sorted(known)))}, which are those of "
                f"the paper's rows on {asked.data}. Received: {batch}"
            )
    return tuple(known[batch] for batch in asked.batches)


def runs(
    label: Mapping[str, str | float],
    recipe: Recipe,
    row: Row | None,
    asked: "Paper",
) -> list[Run]:
    """A run for each seed. Scaled down it stands for its row; else it does if it is that."""
    if row and not asked.scaled_down:
        row = row if dataclasses.replace(recipe, seed=row.trained.seed) == row.recipe else None
    return [
        make_run(label, dataclasses.replace(recipe, seed=seed), row)
        for seed in asked.seeds or asked.preset.seeds
    ]


def make_run(label: Mapping[str, str | float], recipe: Recipe, row: Row | None = None) -> Run:
    """A run with a name of its own.

    Args:
        label: What sets it apart.
        recipe: What is trained.
        row: The published row that it stands for, if it does.
    """
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


def flat(found: dict) -> list[dict]:
    """A line for each run, for the CSV file."""
    fields = ["data", "model", "width", "image_size", "optimizer", "global_batch_size"]
    fields += ["learning_rate", "epochs", "warmup_epochs", "seed"]
    reached = ("validation_accuracy", "diverged", "diverged_at_update", "updates", "seconds")
    return [
        {
            "point": row["name"],
            **{name: row["settings"][name] for name in fields},
            **{name: row["result"][name] for name in reached},
            **{name: row[name] for name in ("published", "row", "source")},
        }
        for row in found["rows"]
    ]


def _factor(recipe: Recipe) -> float:
    key = (recipe.data, recipe.model, recipe.optimizer)
    return LEARNING_RATE_FACTORS.get(key, 1.0)


def _rounded(rate: float) -> float:
    """Without the last digits, which are products' noise: it is in names of folders."""
    return float(f"{rate:.6g}")
