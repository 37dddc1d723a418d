"""`Paper`: an experiment that trains the paper's rows, each with a run folder."""

import contextlib
import dataclasses
import gc
import pathlib
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pandas as pd

from benchmarks import run_folder
from benchmarks.command_line import given, read_json
from benchmarks.experiments import results, tables
from benchmarks.experiments.experiment import Experiment
from benchmarks.experiments.paper import rows
from benchmarks.experiments.sweep import Run
from benchmarks.plan import make_plan
from benchmarks.recipe import DATA_SETS, Execution, Recipe, RecipeError
from benchmarks.settings import setting
from benchmarks.words import counted

ALEXNETS, RESNET = ("alexnet_bn", "alexnet"), ("resnet50",)
NETWORKS = {"alexnet_bn": "AlexNet-BN", "alexnet": "AlexNet", "resnet50": "ResNet-50"}
DATA = {
    "imagenet2012": "ImageNet",
    "fashion_mnist": "Fashion-MNIST",
    "digits": "digits",
    "image_folder": "a folder of images",
    "synthetic": "noise",
}
OPTIMIZERS = {"sgd": "SGD", "lars": "LARS"}
COLORS = {"sgd": "#d1620a", "lars": "#1f5fa8"}
ACCURACY = "accuracy on held-out images, %"
# Those on which the rows are trained as they are; on others they are scaled down.
FULL_SIZE = ("imagenet2012", "image_folder", "synthetic")
# Where none is asked for. ResNet-50 on the digits is the quick start.
DEFAULT_DATA = {"alexnet_bn": "fashion_mnist", "alexnet": "fashion_mnist", "resnet50": "digits"}
DIGITS = 5  # of the numbers of histories and norms that are kept
RECORDS = 200  # of norms and ratios that are kept, of a variable in a run


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paper(Experiment):
    """An experiment on the paper's rows. What is not asked for is as the preset has it.

    Attributes:
        presets: What it shows.
        label: Of "optimizer" and "batch", what sets trainings apart.
        updates: How many a run has, if not all that its recipe has.
    """

    figure: ClassVar[str] = "figure.png"
    keeps_results: ClassVar[bool] = False
    presets: ClassVar[Presets]
    label: ClassVar[tuple[str, ...]] = ("optimizer", "batch")
    updates: ClassVar[int | None] = None

    model: str = setting("Network.", "alexnet_bn", choices=NETWORKS)
    data: str = setting(
        "Data set. Default: fashion_mnist, and digits for resnet50.", choices=DATA_SETS
    )
    micro_batch_size: int = setting("Images at once; 0 is the whole batch.", 0)
    epochs: int | None = setting("Of all trainings; warm-ups keep their fraction.", None, minimum=1)
    width: float | None = setting("Multiplies filters and units of every hidden layer.", None)
    image_size: int | None = setting("In pixels.", None, minimum=1)
    seeds: tuple[int, ...] | None = setting("One training each, of every label.", None, below=2**32)
    batches: tuple[int, ...] | None = setting(
        "Global batch sizes, as they are trained.", None, minimum=1
    )

    @classmethod
    def from_flags(cls) -> "Paper":
        asked = given(cls)
        return cls(**{"data": DEFAULT_DATA[asked["model"]], **asked})

    @property
    def variation(self) -> str:
        """Which of several experiments in one it is."""
        return ""

    @property
    def known_presets(self) -> Presets:
        return self.presets

    @property
    def scaled_down(self) -> bool:
        return self.data not in FULL_SIZE

    @property
    def preset(self) -> Preset:
        """What is shown.

        Raises:
            RecipeError: If the experiment is not one of that network.
        """
        known = {model: of for models, of in self.known_presets.items() for model in models}
        if self.model not in known:
            name = self.variation or self.name
            raise RecipeError(
                f"--model must be one of {', '.join(known)} for {name}. Received: {self.model}"
            )
        return known[self.model][self.scaled_down]

    @property
    def shown_layers(self) -> str:
        """Regular expression for the variables whose norms are kept."""
        return self.preset.layers

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, "evaluate_training_images": self.preset.training_images}

    @property
    def folder(self) -> str:
        model = "" if self.model == "alexnet_bn" else self.model
        return "-".join(filter(None, [super().folder, self.variation, model, self.data]))

    # What is trained.

    def variants(self, optimizer: str, batch: int) -> Iterator[rows.Variant]:
        """What is trained at a batch of the paper: by default its best row."""
        recipe, row = rows.recipe_at(batch, optimizer, self)
        label = {"optimizer": OPTIMIZERS[optimizer], "batch": recipe.global_batch_size}
        yield {name: label[name] for name in self.label}, recipe, row

    def runs(self, done: Mapping[str, dict]) -> list[Run]:
        del done
        return [
            rows.make_run(
                label,
                dataclasses.replace(recipe, seed=seed),
                row if self.scaled_down else rows.exactly(row, recipe),
            )
            for optimizer in self.preset.batches
            for batch in rows.batches(optimizer, self)
            for label, recipe, row in self.variants(optimizer, batch)
            for seed in self.seeds or self.preset.seeds
        ]

    def check(self, run: Run, folder: pathlib.Path) -> int:
        try:
            plan = make_plan(run.settings, self.execution(run, folder))
        except RecipeError as error:
            raise RecipeError(f"{run.name}: {error}") from error
        return (self.updates or plan.updates) * run.settings.global_batch_size

    def execution(self, run: Run, folder: pathlib.Path) -> Execution:
        return Execution(
            output_dir=str(folder / "runs" / run.name),
            data_dir=self.data_dir,
            micro_batch_size=self.micro_batch_size,
            evaluate_training_images=self.preset.training_images,
            resume=True,
            save_model=False,
        )

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

    # What is kept of it.

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

    def _norms(self, folder: pathlib.Path) -> dict[str, dict[str, list]]:
        """By variable, its norms and ratio by epoch, thinned."""
        layers = self.shown_layers
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
                for column in ("epoch", *results.NORMS)
            }
        return columns

    table = staticmethod(tables.by_seed)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


# --- what plots have in common --------------------------------------------------------------------


def by_training(found: dict) -> pd.DataFrame:
    """A row for each training, with its accuracy in percent, to be drawn."""
    table = results.frame(found)
    percent = 100 * table["validation_accuracy"].astype(float)
    return table.assign(percent=percent, failed=table["diverged"].astype(bool))


def by_epoch(found: dict) -> pd.DataFrame:
    """A row for each epoch of each training, with its accuracy in percent, to be drawn."""
    table = results.by_epoch(found)
    return table.assign(percent=100 * table["val_accuracy"])


def title(what: str, found: dict) -> str:
    """What is shown, and the network, the data set and how long, in words."""
    first = found["rows"][0]["settings"]
    width = "" if first["width"] == 1 else f" (width {first['width']:g})"
    size = first["image_size"]
    lengths = sorted({row["settings"]["epochs"] for row in found["rows"]})
    span = f"{lengths[0]} to " if len(lengths) > 1 else ""
    trained = f", {span}{counted(lengths[-1], 'epoch')}"
    only_one = all(row["result"]["updates"] == 1 for row in found["rows"])
    return (
        f"{what}\n{NETWORKS.get(first['model'], first['model'])}{width} on {DATA[first['data']]}, "
        f"{size}x{size} pixels{'' if only_one else trained}"
    )


def words(label: Mapping[str, str | float]) -> str:
    """A label, for a legend."""
    return ", ".join(
        value if isinstance(value, str) else f"{name} {value:g}" for name, value in label.items()
    )
