"""`Paper`: an experiment that trains the paper's rows, each with a run folder."""

import contextlib
import dataclasses
import gc
import pathlib
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from absl import flags

from benchmarks import run_folder
from benchmarks.command_line import read_json
from benchmarks.experiments import tables
from benchmarks.experiments.experiment import Experiment, define_numbers
from benchmarks.experiments.paper import plots, rows
from benchmarks.experiments.sweep import Run
from benchmarks.plan import make_plan
from benchmarks.recipe import DATA_SETS, Execution, Recipe, RecipeError

ALEXNETS, RESNET = ("alexnet_bn", "alexnet"), ("resnet50",)
# Those on which the rows are trained as they are; on others they are scaled down.
FULL_SIZE = ("imagenet2012", "image_folder", "synthetic")
# Where none is asked for. ResNet-50 on the digits is the quick start.
DEFAULT_DATA = {"alexnet_bn": "fashion_mnist", "alexnet": "fashion_mnist", "resnet50": "digits"}
DIGITS = 5  # of the numbers of histories and norms that are kept
RECORDS = 200  # of norms and ratios that are kept, of a variable in a run
NORMS = ("weight_norm", "gradient_norm", "trust_ratio")


@dataclasses.dataclass(frozen=True)
class Preset:
    """What an experiment shows unless flags say otherwise.

    Batches are those of the paper's rows, also where these are scaled down: on Fashion-MNIST a
    batch of 512 becomes one of 128, on the digits one of 8,192 becomes one of 128. Of smaller
    batches on the digits a normalization would see two or four samples.

    Attributes:
        batches: By optimizer, the batches of the paper's rows that are trained.
        seeds: One training each, of every label.
        epochs: Of every training; None is those of the row.
        learning_rates: By optimizer, those tried at each batch, beside the ones of its rows.
        layers: Regular expression for the variables that are drawn.
        records_per_epoch: How often norms and ratios are recorded.
        training_images: How many are evaluated each epoch as held-out ones are.
    """

    batches: Mapping[str, tuple[int, ...]]
    seeds: tuple[int, ...] = (1,)
    epochs: int | None = None
    learning_rates: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    layers: str = ""
    records_per_epoch: int = 0
    training_images: int = 0


# By networks, the preset for the rows as they are, and the one for them scaled down.
Presets = Mapping[tuple[str, ...], tuple[Preset, Preset]]


def both(*batches: int) -> dict[str, tuple[int, ...]]:
    """The same batches for both optimizers."""
    return {"sgd": batches, "lars": batches}


def lars(*batches: int) -> dict[str, tuple[int, ...]]:
    return {"lars": batches}


def _asked(help: str) -> Any:
    return dataclasses.field(default=None, metadata={"help": help})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paper(Experiment):
    """An experiment on the paper's rows. What is not asked for is as the preset has it.

    Attributes:
        presets: What it shows, by ablation where it has some.
        label: Of "optimizer" and "batch", what sets trainings apart.
        updates: How many a run has, if not all that its recipe has.
    """

    plot_flags: ClassVar[tuple[str, ...]] = ("plot",)
    figure: ClassVar[str] = "figure.png"
    keeps_results: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Presets]]
    label: ClassVar[tuple[str, ...]] = ("optimizer", "batch")
    updates: ClassVar[int | None] = None

    model: str
    data: str
    ablation: str = ""
    micro_batch_size: int = 0
    epochs: int | None = _asked("Of all trainings; warm-ups keep their fraction.")
    width: float | None = _asked("Multiplies filters and units of every hidden layer.")
    image_size: int | None = _asked("In pixels.")
    seeds: tuple[int, ...] | None = _asked("One training each, of every label.")
    batches: tuple[int, ...] | None = _asked("Global batch sizes, as they are trained.")
    learning_rates: tuple[float, ...] | None = _asked("Peak learning rates.")
    layers: str | None = _asked("Regular expression for names of variables.")

    @classmethod
    def models(cls) -> list[str]:
        """The networks that it has presets for; the first one is the default."""
        every = [model for of in cls.presets.values() for models in of for model in models]
        return list(dict.fromkeys(every))

    @property
    def scaled_down(self) -> bool:
        return self.data not in FULL_SIZE

    @property
    def preset(self) -> Preset:
        """What is shown.

        Raises:
            RecipeError: If the experiment is not one of that network.
        """
        known = {m: of for models, of in self.presets[self.ablation].items() for m in models}
        if self.model not in known:
            name = self.ablation or self.name
            raise RecipeError(
                f"--model must be one of {', '.join(known)} for {name}. Received: {self.model}"
            )
        return known[self.model][self.scaled_down]

    def variants(self, optimizer: str, batch: int) -> Iterator[rows.Variant]:
        """What is trained at a batch of the paper: by default its best row."""
        recipe, row = rows.recipe_at(batch, optimizer, self)
        label = {"optimizer": plots.OPTIMIZERS[optimizer], "batch": recipe.global_batch_size}
        yield {name: label[name] for name in self.label}, recipe, row

    def runs(self, done: Mapping[str, dict]) -> list[Run]:
        del done
        return [
            run
            for optimizer in self.preset.batches
            for batch in rows.batches(optimizer, self)
            for label, recipe, row in self.variants(optimizer, batch)
            for run in rows.runs(label, recipe, row, self)
        ]

    def check(self, run: Run, folder: pathlib.Path) -> int:
        try:
            plan = make_plan(run.settings, self.execution(run, folder))
        except RecipeError as error:
            raise RecipeError(f"{run.name}: {error}") from error
        return (self.updates or plan.updates) * run.settings.global_batch_size

    def train(self, run: Run, folder: pathlib.Path) -> dict:
        """Trains; what it prints goes to a file beside its folder."""
        execution = self.execution(run, folder)
        if records := self.preset.records_per_epoch:
            every = max(1, make_plan(run.settings, execution).updates_per_epoch // records)
            execution = dataclasses.replace(execution, record_trust_ratios_every=every)
        log = folder / "runs" / f"{run.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file):
            print(time.strftime("%Y-%m-%d %H:%M:%S"))
            self.train_recipe(run.settings, execution)
        found = self.find(run, folder)
        assert found is not None
        return found

    @staticmethod
    def train_recipe(recipe: Recipe, execution: Execution) -> dict:
        import keras

        from benchmarks import loop

        # Or each run would keep the graphs of all before it.
        keras.backend.clear_session()
        gc.collect()
        return loop.train(recipe, execution)

    def find(self, run: Run, folder: pathlib.Path) -> dict | None:
        path = folder / "runs" / run.name
        result = run_folder.result(path)
        if result is None:
            return None
        config = read_json(path / "config.json", "--output_dir")
        return {
            "settings": dataclasses.asdict(run.settings),
            "result": result,
            "history": _rounded(read_json(path / "history.json", "--output_dir")),
            "norms": self._norms(path),
            **{name: config[name] for name in ("versions", "device")},
        }

    def execution(self, run: Run, folder: pathlib.Path) -> Execution:
        return Execution(
            output_dir=str(folder / "runs" / run.name),
            data_dir=self.data_dir,
            micro_batch_size=self.micro_batch_size,
            evaluate_training_images=self.preset.training_images,
            resume=True,
            save_model=False,
        )

    def _norms(self, folder: pathlib.Path) -> dict[str, dict[str, list]]:
        """By variable, its norms and ratio by epoch, thinned."""
        layers = self.layers or self.preset.layers
        records = run_folder.read_table(folder / "trust_ratios.csv")
        names = dict.fromkeys(record["variable"] for record in records)
        chosen = [name for name in names if re.search(layers, name)]
        if names and not chosen:
            raise RecipeError(f"--layers must match one of {', '.join(names)}. Received: {layers}")
        columns = {}
        for name in chosen:
            of_variable = [record for record in records if record["variable"] == name]
            kept = of_variable[:: -(-len(of_variable) // RECORDS)]
            columns[name] = {
                column: [_rounded(record[column]) for record in kept]
                for column in ("epoch", *NORMS)
            }
        return columns

    # The command.

    @classmethod
    def define_flags(cls) -> None:
        models, fields = cls.models(), {field.name: field for field in dataclasses.fields(cls)}
        helps = {name: field.metadata["help"] for name, field in fields.items() if field.metadata}
        data = "Data set. Default: fashion_mnist, and digits for resnet50."
        flags.DEFINE_enum("data", None, DATA_SETS, data)
        flags.DEFINE_enum("model", models[0], models, "Network.")
        if ablations := list(filter(None, cls.presets)):
            flags.DEFINE_enum("ablation", ablations[0], ablations, "What is varied.")
        flags.DEFINE_integer("epochs", None, helps["epochs"], 1)
        flags.DEFINE_float("width", None, helps["width"], 0)
        flags.DEFINE_integer("image_size", None, helps["image_size"], 1)
        flags.DEFINE_integer("micro_batch_size", 0, "Images at once; 0 is the whole batch.", 0)
        define_numbers("seeds", int, 0, helps["seeds"])
        define_numbers("batches", int, 1, helps["batches"])

    @classmethod
    def from_flags(cls) -> "Paper":
        if flags.FLAGS.data is None:
            flags.FLAGS["data"].value = DEFAULT_DATA[flags.FLAGS.model]
        asked = super().from_flags()
        assert isinstance(asked, Paper)
        try:
            re.compile(asked.layers or "")
        except (re.error, OverflowError, RecursionError) as error:
            raise RecipeError(
                f"--layers must be a regular expression: {error}. Received: {asked.layers}"
            ) from error
        return asked

    @property
    def settings(self) -> dict[str, Any]:
        of_all = [field.name for field in dataclasses.fields(Experiment)]
        asked = {n: value for n, value in dataclasses.asdict(self).items() if n not in of_all}
        return {**asked, "evaluate_training_images": self.preset.training_images}

    @property
    def folder(self) -> str:
        model = "" if self.model == self.models()[0] else self.model
        return "-".join(filter(None, [super().folder, self.ablation, model, self.data]))

    table = staticmethod(tables.by_seed)
    csv_rows = staticmethod(rows.flat)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
