"""Accuracy by batch: SGD with linear scaling and warm-up, beside LARS: tables 1, 3 and 4.

python -m benchmarks.figures.accuracy_by_batch_size [--model=resnet50] [--data=imagenet2012]
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
        if optimizer == "sgd" and batch != next(iter(rows.best_rows(request.model, "sgd"))):
            # Its rows were tuned at each batch; here the rate follows from that of the smallest.
            recipe, row = rows.scaled(batch, request, preset), None
        else:
            recipe, row = rows.recipe_at(batch, optimizer, request, preset)
        name = drawing.OPTIMIZERS[optimizer]
        label = {"optimizer": name, "batch": recipe.global_batch_size}
        found += rows.points(label, recipe, row, request, preset)
    return found


def draw(found: dict, path: pathlib.Path) -> None:
    model = found["points"][0]["recipe"]["model"]
    names = {"sgd": "SGD, linear scaling and warm-up", "lars": "LARS"}
    figure, (axis,) = drawing.panels(found, "Accuracy by global batch", 1, 1)
    figure.set_size_inches(9, 5.6)
    ticks = {p["label"]["batch"] for p in found["points"]}
    for optimizer, name in names.items():
        chosen = [p for p in found["points"] if p["recipe"]["optimizer"] == optimizer]
        by_batch = {g[0]["label"]["batch"]: g for g in results.groups(chosen)}
        if by_batch:
            drawing.summary(axis, by_batch, name, color=drawing.COLORS[optimizer])
        best = rows.best_rows(model, optimizer)
        of_paper = [row.published for row in best.values()]
        sources = dict.fromkeys(row.source.split(";")[0] for row in best.values())
        label = f"published, ImageNet, {drawing.OPTIMIZERS[optimizer]}, tuned: {', '.join(sources)}"
        drawing.published(axis, list(best), of_paper, label, drawing.COLORS[optimizer])
        ticks |= set(best)
    drawing.log_axis(axis, sorted(ticks))
    axis.set(xlabel="global batch, images", ylabel=drawing.ACCURACY, ylim=(0, None))
    drawing.legend(axis, found["points"])
    drawing.save(figure, path)


FIGURE = FigureCommand(name="accuracy_by_batch_size", points=points, draw=draw)

if __name__ == "__main__":
    main(FIGURE)
