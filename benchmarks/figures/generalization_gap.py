"""Loss on training and on held-out images, both seen alike, and their gap: figure 1 of the paper.

python -m benchmarks.figures.generalization_gap [--batches=128,2048]

Training images are evaluated at the end of each epoch without dropout and augmentation: the loss
that training itself reports is with both, and of the weights as they were on the way.
"""

import pathlib

from benchmarks.figures import drawing, results, rows, tables
from benchmarks.figures.command import FigureCommand, main
from benchmarks.figures.point import Point
from benchmarks.figures.presets import Preset
from benchmarks.figures.request import Request


def points(request: Request, preset: Preset) -> list[Point]:
    found = []
    for optimizer, batch in rows.by_optimizer_and_batch(request, preset):
        recipe, row = rows.recipe_at(batch, optimizer, request, preset)
        label = {"batch": recipe.global_batch_size}
        found += rows.points(label, recipe, row, request, preset)
    return found


def gap(history: dict) -> list[float | None]:
    """Loss on held-out images less that on training images, by epoch."""
    return [
        None if train is None or held_out is None else held_out - train
        for train, held_out in zip(history["train_loss"], history["val_loss"])
    ]


QUANTITIES = {
    "loss on training images": lambda history: history["train_loss"],
    "loss on held-out images": lambda history: history["val_loss"],
    "gap: held-out less training": gap,
}


def table(found: dict) -> str:
    cells = []
    for group in results.groups(found["points"]):
        last = []
        for quantity in QUANTITIES.values():
            ends = [quantity(p["history"])[-1] for p in group if not p["result"]["diverged"]]
            ends = [end for end in ends if end is not None]
            last.append(f"{sum(ends) / len(ends):.3f}" if ends else "")
        label = f"{group[0]['label']['batch']:g}"
        cells.append([label, str(len(group)), *last, tables.accuracy(group)])
    header = ["batch", "seeds", *QUANTITIES, "accuracy, %"]
    return tables.markdown(header, cells, texts=0)


def draw(found: dict, path: pathlib.Path) -> None:
    title = "Loss without dropout and augmentation, SGD"
    figure, axes = drawing.panels(found, title, 1, len(QUANTITIES))
    for axis, (name, quantity) in zip(axes, QUANTITIES.items()):
        for index, group in enumerate(results.groups(found["points"])):
            label = drawing.words(group[0]["label"])
            drawing.curves(axis, group, quantity, label, color=drawing.color(index))
        axis.set(title=name, xlabel="epoch", ylabel="cross-entropy, nats")
        drawing.legend(axis, found["points"])
    for axis in axes[:2]:
        axis.set_yscale("log")
    _same_limits(*axes[:2])
    drawing.save(figure, path)


def _same_limits(first, second) -> None:
    both = [*first.get_ylim(), *second.get_ylim()]
    for axis in (first, second):
        axis.set_ylim(min(both), max(both))


FIGURE = FigureCommand(name="generalization_gap", points=points, draw=draw, table=table)

if __name__ == "__main__":
    main(FIGURE)
