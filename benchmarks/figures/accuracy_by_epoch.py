"""Accuracy by epoch at small and large batches, without and with LARS: figures 3 and 5.

python -m benchmarks.figures.accuracy_by_epoch [--model=resnet50] [--data=imagenet2012]
"""

import pathlib

from benchmarks.figures import drawing, results, rows
from benchmarks.figures.command import FigureCommand, main
from benchmarks.figures.point import Point
from benchmarks.figures.presets import Preset
from benchmarks.figures.request import Request


def points(request: Request, preset: Preset) -> list[Point]:
    found = []
    for optimizer, batch in rows.by_optimizer_and_batch(request, preset):
        recipe, row = rows.recipe_at(batch, optimizer, request, preset)
        name = drawing.OPTIMIZERS[optimizer]
        label = {"optimizer": name, "batch": recipe.global_batch_size}
        found += rows.points(label, recipe, row, request, preset)
    return found


def draw(found: dict, path: pathlib.Path) -> None:
    optimizers = list(dict.fromkeys(p["label"]["optimizer"] for p in found["points"]))
    batches = sorted({p["label"]["batch"] for p in found["points"]})
    title = "Accuracy by epoch, at small and large batches"
    figure, axes = drawing.panels(found, title, 1, len(optimizers), sharey=True)
    for optimizer, axis in zip(optimizers, axes):
        chosen = [p for p in found["points"] if p["label"]["optimizer"] == optimizer]
        for group in results.groups(chosen):
            color = drawing.color(batches.index(group[0]["label"]["batch"]))
            rate = group[0]["recipe"]["learning_rate"]
            drawing.curves(
                axis,
                group,
                lambda history: drawing.percent(history["val_accuracy"]),
                f"{drawing.words(group[0]['label'], 'batch')}, rate {rate:g}",
                color=color,
            )
            _published(axis, group[0], color)
        axis.set(title=optimizer, xlabel="epoch")
        drawing.legend(axis, chosen)
    # Last: it ends the search for limits, and they are those of all panels.
    axes[0].set(ylabel=drawing.ACCURACY, ylim=(0, None))
    drawing.save(figure, path)


def _published(axis, point: dict, color: str) -> None:
    """The end of the published training; in small it says nothing."""
    recipe = point["recipe"]
    if recipe["data"] == "imagenet2012" and point["published"] is not None:
        label = f"published: {point['source'].split(';')[0]}"
        drawing.published(axis, [recipe["epochs"]], [point["published"]], label, color)


FIGURE = FigureCommand(name="accuracy_by_epoch", points=points, draw=draw)

if __name__ == "__main__":
    main(FIGURE)
