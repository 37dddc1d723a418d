"""Accuracy by learning rate at a batch, and where it diverges: table 1 and figure 4 of the paper.

python -m benchmarks.figures.accuracy_by_learning_rate [--learning_rates=1,3,10]
"""

import dataclasses
import pathlib

from benchmarks.figures import drawing, results, rows
from benchmarks.figures.command import FigureCommand, main
from benchmarks.figures.point import Point
from benchmarks.figures.presets import Preset
from benchmarks.figures.request import Request
from benchmarks.recipe import Recipe
from benchmarks.recipes import Row


def points(request: Request, preset: Preset) -> list[Point]:
    found = []
    for optimizer, batch in rows.by_optimizer_and_batch(request, preset):
        recipe, _ = rows.recipe_at(batch, optimizer, request, preset)
        known = _known(batch, optimizer, request, preset)
        tried = preset.learning_rates.get(optimizer, ())
        # In small, rates of rows say nothing.
        given = tried if request.size == "small" else (*known, *tried)
        for rate in sorted(request.learning_rates or dict.fromkeys(given)):
            label = {
                "optimizer": drawing.OPTIMIZERS[optimizer],
                "batch": recipe.global_batch_size,
                "learning rate": rate,
            }
            row, asked = known.get(rate, (None, dataclasses.replace(recipe, learning_rate=rate)))
            found += rows.points(label, asked, row, request, preset)
    return found


def _known(
    batch: int, optimizer: str, request: Request, preset: Preset
) -> dict[float, tuple[Row, Recipe]]:
    """The rows of a batch by their learning rate, with their recipes."""
    if request.size == "small":
        return {}
    return {
        row.recipe.learning_rate: (row, rows.recipe_of(row, request, preset))
        for row in rows.rows_at(request.model, optimizer, batch)
    }


def draw(found: dict, path: pathlib.Path) -> None:
    optimizers = list(dict.fromkeys(p["label"]["optimizer"] for p in found["points"]))
    title = "Accuracy by learning rate, at large batches"
    figure, axes = drawing.panels(found, title, 1, len(optimizers), sharey=True)
    for optimizer, axis in zip(optimizers, axes):
        chosen = [p for p in found["points"] if p["label"]["optimizer"] == optimizer]
        batches = list(dict.fromkeys(p["label"]["batch"] for p in chosen))
        for index, batch in enumerate(batches):
            of_batch = [p for p in chosen if p["label"]["batch"] == batch]
            by_rate = {g[0]["label"]["learning rate"]: g for g in results.groups(of_batch)}
            color = drawing.color(index)
            drawing.summary(axis, by_rate, f"batch {batch}", color=color)
            _published(axis, of_batch, color)
        axis.set(title=optimizer, xlabel="peak learning rate")
        drawing.log_axis(axis, sorted({p["label"]["learning rate"] for p in chosen}))
        drawing.legend(axis, chosen)
    # Last: it ends the search for limits, and they are those of all panels.
    axes[0].set(ylabel=drawing.ACCURACY, ylim=(0, None))
    drawing.save(figure, path)


def _published(axis, points: list[dict], color: str) -> None:
    known = {p["label"]["learning rate"]: p for p in points if p["published"] is not None}
    if known:
        source = next(iter(known.values()))["source"].split(";")[0]
        label = f"published: {source}"
        accuracies = [point["published"] for point in known.values()]
        drawing.published(axis, list(known), accuracies, label, color)


FIGURE = FigureCommand(
    name="accuracy_by_learning_rate",
    points=points,
    draw=draw,
    flags=("batches", "learning_rates"),
)

if __name__ == "__main__":
    main(FIGURE)
