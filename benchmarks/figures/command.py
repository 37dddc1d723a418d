"""The command of a figure: its flags, the trainings, the files, and the picture."""

import dataclasses
import pathlib
import re
import sys
from collections.abc import Callable

from absl import app, flags

from benchmarks.command_line import fail, parse, results_of
from benchmarks.figures import presets, results, sweep, tables
from benchmarks.figures.point import Point
from benchmarks.figures.presets import Preset
from benchmarks.figures.request import Request
from benchmarks.recipe import DATA_SETS, Execution, RecipeError
from benchmarks.words import counted

INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h, as `benchmarks.train` has it


@dataclasses.dataclass(frozen=True, kw_only=True)
class FigureCommand:
    """A figure of the paper.

    Attributes:
        name: Of its module.
        points: What it trains.
        draw: Draws results into a PNG file.
        table: Results as a Markdown table.
        rows: Results as rows of the CSV file.
        train: As `benchmarks.loop.train`, which is the default.
        updates: How many `train` makes, if not all of them.
        studies: Those that one of has to be chosen.
        flags: Which of `batches`, `learning_rates` and `layers` it has.
    """

    name: str
    points: Callable[[Request, Preset], list[Point]]
    draw: Callable[[dict, pathlib.Path], None]
    table: Callable[[dict], str] = tables.of_groups
    rows: Callable[[dict], list[dict]] = results.rows
    train: sweep.Train | None = None
    updates: int | None = None
    studies: tuple[str, ...] = ()
    flags: tuple[str, ...] = ("batches",)

    @property
    def models(self) -> tuple[str, ...]:
        return presets.models_of(*(self.studies or (self.name,)))


def main(figure: FigureCommand) -> None:
    """Runs the command, and exits: 0 if all is done, 1 at a mistake, 75 if it was interrupted."""
    define_flags(figure)
    app.run(lambda _: sys.exit(_run(figure)), flags_parser=parse)


class _Numbers(flags.ArgumentParser):
    """Numbers with commas between them."""

    def __init__(self, kind: type, minimum: float):
        super().__init__()
        self.kind, self.minimum = kind, minimum
        self.syntactic_help = f"{kind.__name__}s with commas between them"

    def parse(self, argument: str | tuple) -> tuple:
        if isinstance(argument, tuple):
            return argument
        try:
            values = tuple(self.kind(text) for text in argument.split(","))
        except ValueError:
            raise ValueError(f"it must be {self.syntactic_help}") from None
        if not all(self.minimum <= value < float("inf") for value in values):
            raise ValueError(f"each must be a finite number of at least {self.minimum:g}")
        if len(set(values)) < len(values):
            raise ValueError("each must be there once")
        return values


def define_flags(figure: FigureCommand) -> None:
    flags.DEFINE_enum(
        "data", None, DATA_SETS, "Data set. Default: fashion_mnist, and digits for resnet50."
    )
    flags.DEFINE_enum("model", figure.models[0], figure.models, "Network.")
    if figure.studies:
        flags.DEFINE_enum("study", figure.studies[0], figure.studies, "What is varied.")
    flags.DEFINE_string("output_dir", None, "Default: runs/figures/NAME-DATA, and what else tells.")
    flags.DEFINE_string("data_dir", None, "Where the data set is.")
    flags.DEFINE_integer("epochs", None, "Of all points; warm-ups keep their share.", 1)
    flags.DEFINE_float("width", None, "Multiplies filters and units of every hidden layer.", 0)
    flags.DEFINE_integer("image_size", None, "In pixels.", 1)
    flags.DEFINE_integer("micro_batch_size", 0, "Images at once; 0 is the whole batch.", 0)
    _define_numbers("seeds", int, 0, "One training each, of every point.")
    if "batches" in figure.flags:
        _define_numbers("batches", int, 1, "Global batch sizes, as they are trained.")
    if "learning_rates" in figure.flags:
        _define_numbers("learning_rates", float, 0, "Peak learning rates.")
    if "layers" in figure.flags:
        flags.DEFINE_string("layers", None, "Regular expression for names of variables.")
    flags.DEFINE_boolean("dry_run", False, "Print what would be trained, and exit.")
    flags.DEFINE_string("show", None, "A results.json to draw again, without training.")
    flags.DEFINE_string("plot", None, "File for the picture. Default: figure.png beside results.")


def _define_numbers(name: str, kind: type, minimum: float, help: str) -> None:
    flags.DEFINE(_Numbers(kind, minimum), name, None, help)


def _run(figure: FigureCommand) -> int:
    try:
        if flags.FLAGS.show:
            path = pathlib.Path(flags.FLAGS.show)
            found = results.read(path, figure.name)
            with results_of(path, "--show"):
                _finish(figure, found, path.parent)
        else:
            request = _request(figure)
            preset = presets.find(request.study or figure.name, request.size, request.model)
            _train(figure, request, preset)
    except (RecipeError, OSError) as error:
        fail(error)
    except KeyboardInterrupt as interruption:
        reason = str(interruption) or "interrupted"
        print(f"{reason}; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    return 0


def _request(figure: FigureCommand) -> Request:
    if flags.FLAGS["layers"].value if "layers" in flags.FLAGS else None:
        try:
            re.compile(flags.FLAGS.layers)
        except (re.error, OverflowError, RecursionError) as error:
            raise RecipeError(
                f"--layers must be a regular expression: {error}. Received: {flags.FLAGS.layers}"
            ) from error
    fields = [field.name for field in dataclasses.fields(Request)]
    given = {name: flags.FLAGS[name].value for name in fields if name in flags.FLAGS}
    given["data"] = given["data"] or presets.DEFAULT_DATA[given["model"]]
    return Request(**given)


def _train(figure: FigureCommand, request: Request, preset: Preset) -> None:
    points = figure.points(request, preset)
    if flags.FLAGS.dry_run:
        print(_listed(points))
        return
    folder = pathlib.Path(flags.FLAGS.output_dir or _default_folder(figure, request))
    execution = Execution(
        data_dir=flags.FLAGS.data_dir,
        micro_batch_size=flags.FLAGS.micro_batch_size,
        evaluate_training_images=preset.training_images,
    )
    settings = {
        **dataclasses.asdict(request),
        "micro_batch_size": execution.micro_batch_size,
        "evaluate_training_images": execution.evaluate_training_images,
    }
    layers = request.layers or preset.layers

    def gathered(finished: list[sweep.Run]) -> dict:
        return results.gather(figure.name, settings, len(points), finished, layers)

    def save(finished: list[sweep.Run]) -> None:
        found = gathered(finished)
        results.write(found, figure.rows(found), folder)

    finished = sweep.run(
        points,
        folder,
        execution,
        figure.train,
        records_per_epoch=preset.records_per_epoch,
        updates=figure.updates,
        save=save,
    )
    _finish(figure, gathered(finished), folder)


def _default_folder(figure: FigureCommand, request: Request) -> str:
    model = () if request.model == figure.models[0] else (request.model,)
    return "runs/figures/" + "-".join(
        filter(None, [figure.name, request.study, *model, request.data])
    )


def _finish(figure: FigureCommand, found: dict, folder: pathlib.Path) -> None:
    """Prints the table, and draws."""
    if not found["points"]:
        raise RecipeError(f"there are no results yet. Received: {folder}")
    missing = found["planned"] - len(found["points"])
    print(figure.table(found))
    path = pathlib.Path(flags.FLAGS.plot or folder / "figure.png")
    figure.draw(found, path)
    print(f"\n{path}" + (f", without {counted(missing, 'point')} not trained yet" * (missing > 0)))


def _listed(points: list[Point]) -> str:
    """The points as a table."""
    lines = [
        [
            point.name,
            point.recipe.optimizer,
            point.row,
            *(
                tables.text(getattr(point.recipe, name))
                for name in ("global_batch_size", "learning_rate", "warmup_epochs", "epochs")
            ),
            tables.text(point.published),
        ]
        for point in points
    ]
    header = ("point", "optimizer", "row", "batch", "learning rate", "warm-up", "epochs")
    return tables.markdown([*header, "published, ImageNet, %"], lines, texts=3)
