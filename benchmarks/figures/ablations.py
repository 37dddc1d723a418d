"""One thing of a training varied: `python -m benchmarks.figures.ablations --study=NAME`.

longer: more epochs at a large batch, table 5 of the paper. warmup: with and without one, of SGD and
of LARS, which the paper never ran. exclusions: bias and normalization without decay, without
adaptation. momentum_form: where rate and ratio stand in the momentum; see `keras_lars.LARS`.
"""

import dataclasses
import pathlib

from benchmarks import recipes
from benchmarks.figures import drawing, presets, results, rows
from benchmarks.figures.command import FigureCommand, main
from benchmarks.figures.point import Point
from benchmarks.figures.presets import Preset
from benchmarks.figures.request import Request
from benchmarks.recipe import Recipe, RecipeError
from benchmarks.recipes import Row, paper
from benchmarks.words import counted

TITLES = {
    "longer": "Longer training at a large batch",
    "warmup": "Warm-up, with SGD and with LARS",
    "exclusions": "Bias and normalization in weight decay and adaptation",
    "momentum_form": "Where rate and ratio stand in the momentum",
}
_MOMENTUM_FORMS = ("classic", "learning_rate_outside", "ratio_outside")


def points(request: Request, preset: Preset) -> list[Point]:
    study = {
        "longer": _longer,
        "warmup": _warmup,
        "exclusions": _exclusions,
        "momentum_form": _momentum_forms,
    }[request.study]
    found = []
    for optimizer, batch in rows.by_optimizer_and_batch(request, preset):
        for label, recipe, row in study(optimizer, batch, request, preset):
            label = {**label, "batch": recipe.global_batch_size}
            found += rows.points(label, recipe, row, request, preset)
    return found


def _longer(optimizer: str, batch: int, request: Request, preset: Preset) -> list[tuple]:
    if request.epochs:
        raise RecipeError(
            f"--epochs must not be given with --study=longer. Received: {request.epochs}"
        )
    variants = []
    for row in longer_rows(request.model, batch):
        recipe = rows.recipe_of(row, request, preset)
        variants.append(({"epochs": recipe.epochs}, recipe, row))
    if not variants:
        raise RecipeError(
            f"--batches must be one of table 5 for {request.model} with --study=longer. "
            f"Received: the row of a batch of {batch}"
        )
    return variants


def longer_rows(model: str, batch: int) -> list[Row]:
    """The rows of table 5, and the one of 100 epochs that goes with them."""
    candidates = [
        row
        for row in paper.ROWS
        if row.recipe is not None
        and (row.recipe.model, row.recipe.optimizer) == (model, "lars")
        and row.recipe.global_batch_size == batch
        and row.recipe.epochs >= rows.EPOCHS
    ]
    longest = max(candidates, key=lambda row: row.recipe.epochs, default=None)
    if longest is None or longest.recipe.epochs == rows.EPOCHS:
        return []
    # Table 5 has ResNet-50 with extended augmentation alone.
    return sorted(
        (row for row in candidates if row.recipe.augmentation == longest.recipe.augmentation),
        key=lambda row: row.recipe.epochs,
    )


def _warmup(optimizer: str, batch: int, request: Request, preset: Preset) -> list[tuple]:
    recipe, row = rows.recipe_at(batch, optimizer, request, preset)
    name = drawing.OPTIMIZERS[optimizer]
    variants = {"warm-up": rows.with_warmup(recipe), "no warm-up": rows.without_warmup(recipe)}
    return [
        ({"optimizer": name, "variant": variant}, varied, _if_same(varied, recipe, row))
        for variant, varied in variants.items()
    ]


def _exclusions(optimizer: str, batch: int, request: Request, preset: Preset) -> list[tuple]:
    recipe, row = rows.recipe_at(batch, optimizer, request, preset)
    variants = {
        "all decayed and adapted": ("none", "none"),
        "no decay of bias and normalization": ("bias_or_normalization", "none"),
        "no adaptation of bias and normalization": ("none", "bias_or_normalization"),
        "neither of bias and normalization": ("bias_or_normalization", "bias_or_normalization"),
    }
    found = []
    for variant, (decay, adaptation) in variants.items():
        varied = dataclasses.replace(
            recipe, exclude_from_weight_decay=decay, exclude_from_layer_adaptation=adaptation
        )
        found.append(({"variant": variant}, varied, _if_same(varied, recipe, row)))
    return found


def _momentum_forms(optimizer: str, batch: int, request: Request, preset: Preset) -> list[tuple]:
    recipe, row = rows.recipe_at(batch, optimizer, request, preset)
    found = []
    for form in _MOMENTUM_FORMS:
        varied = dataclasses.replace(recipe, momentum_form=form)
        found.append(({"variant": form}, varied, _if_same(varied, recipe, row)))
    return found


def _if_same(varied: Recipe, recipe: Recipe, row: Row | None) -> Row | None:
    return row if varied == recipe else None


def draw(found: dict, path: pathlib.Path) -> None:
    study = found["settings"]["study"]
    figure, (axis,) = drawing.panels(found, TITLES[study], 1, 1)
    figure.set_size_inches(8.5, 5.4)
    (_draw_longer if study == "longer" else _draw_variants)(found, axis)
    axis.set(ylabel=drawing.ACCURACY)
    drawing.legend(axis, found["points"])
    drawing.save(figure, path)


def _draw_variants(found: dict, axis) -> None:
    for index, group in enumerate(results.groups(found["points"])):
        drawing.curves(
            axis,
            group,
            lambda history: drawing.percent(history["val_accuracy"]),
            drawing.words(group[0]["label"]),
            color=drawing.color(index),
        )
    axis.set(xlabel="epoch", ylim=(0, None))


def _draw_longer(found: dict, axis) -> None:
    by_epochs = {g[0]["label"]["epochs"]: g for g in results.groups(found["points"])}
    batch = found["points"][0]["label"]["batch"]
    drawing.summary(axis, by_epochs, f"LARS, batch {batch}", color=drawing.COLORS["lars"])
    known = {epochs: g[0] for epochs, g in by_epochs.items() if g[0]["published"] is not None}
    if known:
        sources = dict.fromkeys(point["source"].split(",")[0] for point in known.values())
        accuracies = [point["published"] for point in known.values()]
        # In small they stand at the epochs that theirs became.
        lengths = [recipes.find(point["row"]).recipe.epochs for point in known.values()]
        label = (
            f"published, ImageNet, {min(lengths)} to {counted(max(lengths), 'epoch')}: "
            f"{', '.join(sources)}, table 5"
        )
        drawing.published(axis, list(known), accuracies, label, drawing.COLORS["lars"])
    axis.set(xlabel="epochs of the training")


FIGURE = FigureCommand(
    name="ablations", points=points, draw=draw, studies=presets.STUDIES, flags=("batches",)
)

if __name__ == "__main__":
    main(FIGURE)
