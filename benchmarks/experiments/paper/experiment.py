"""`Paper`: an experiment that trains the paper's rows, one run folder each."""

import collections
import contextlib
import dataclasses
import gc
import math
import pathlib
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pandas as pd

from benchmarks import files, frames, recipes, run_folder
from benchmarks.command_line import given, read_json
from benchmarks.experiments import results
from benchmarks.experiments.experiment import Experiment
from benchmarks.experiments.paper import rows
from benchmarks.experiments.sweep import Run
from benchmarks.lazy import keras
from benchmarks.plan import make_plan
from benchmarks.recipe import DATA_SETS, Execution, Recipe, RecipeError
from benchmarks.settings import setting
from benchmarks.words import counted

NETWORKS = {"alexnet_bn": "AlexNet-BN", "alexnet": "AlexNet", "resnet50": "ResNet-50"}
DATA = {
    "imagenet2012": "ImageNet",
    "fashion_mnist": "Fashion-MNIST",
    "digits": "digits",
    "image_folder": "a folder of images",
    "synthetic": "noise",
}
COLORS = {"SGD": "#d1620a", "LARS": "#1f5fa8"}
# The default data sets. ResNet-50 on the digits is the quick start.
DEFAULT_DATA = {"alexnet_bn": "fashion_mnist", "alexnet": "fashion_mnist", "resnet50": "digits"}
DIGITS = 5  # significant digits of the histories and norms that are kept
RECORDS = 200  # records of norms and trust ratios that are kept for a variable in a run


@dataclasses.dataclass(frozen=True)
class Preset:
    """What an experiment trains by default. Batches are those of the paper's rows."""

    sgd: tuple[int, ...] = ()  # batches to train with SGD
    lars: tuple[int, ...] = ()  # batches to train with LARS
    seeds: tuple[int, ...] = (1,)  # to train each variant with
    epochs: int | None = None  # of every training; None for those of the row
    # Learning rates to try at each batch besides those of its rows.
    sgd_rates: tuple[float, ...] = ()
    lars_rates: tuple[float, ...] = ()
    layers: str = ""  # regular expression for the variables to plot
    records_per_epoch: int = 0  # of norms and trust ratios
    training_images: int = 0  # to evaluate in each epoch


# By experiment or ablation and by size, "full" or "scaled down": the presets by network.
PRESETS: dict[tuple[str, str], dict[str, Preset]] = collections.defaultdict(dict)
for _line in files.csv_lines(pathlib.Path(__file__).with_name("presets.csv"), Preset):
    _of_size = PRESETS[_line.pop("name"), _line.pop("size")]
    _of_size |= dict.fromkeys(_line.pop("models").split(), Preset(**_line))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paper(Experiment):
    """An experiment on the paper's rows. The preset supplies what the flags leave open."""

    figure: ClassVar[str] = "figure.png"
    keeps_results: ClassVar[bool] = False
    label: ClassVar[tuple[str, ...]] = ("optimizer", "batch")  # what distinguishes training runs
    updates: ClassVar[int | None] = None  # of a run, if not those of its recipe

    model: str = setting("Network to train.", "alexnet_bn", choices=NETWORKS)
    data: str = setting(
        "Data set to train on. Default: digits for resnet50, else fashion_mnist.",
        choices=DATA_SETS,
    )
    micro_batch_size: int = setting("Images per micro-batch. 0: the whole batch.", 0)
    epochs: int | None = setting(
        "Epochs of every training. Warm-ups keep their fraction of them.", None, minimum=1
    )
    width: float | None = setting("Factor for the filters and units of every hidden layer.", None)
    image_size: int | None = setting("Image height and width in pixels.", None, minimum=1)
    seeds: tuple[int, ...] | None = setting("Seeds to train each variant with.", None, below=2**32)
    batches: tuple[int, ...] | None = setting(
        "Global batch sizes, after scaling down.", None, minimum=1
    )

    @classmethod
    def from_flags(cls) -> "Paper":
        asked = given(cls)
        return cls(**{"data": DEFAULT_DATA[asked["model"]], **asked})

    @property
    def variation(self) -> str:
        """Which variation of the experiment it is, if there are several."""
        return ""

    @property
    def scaled_down(self) -> bool:
        return self.data in recipes.SCALES

    @property
    def preset(self) -> Preset:
        """The preset for the network and the data. Raises RecipeError if there is none."""
        name = self.variation or self.name
        known = PRESETS[name, "scaled down" if self.scaled_down else "full"]
        if self.model not in known:
            raise RecipeError(
                f"--model must be one of {', '.join(known)} for {name}. Received: {self.model}"
            )
        return known[self.model]

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, "evaluate_training_images": self.preset.training_images}

    @property
    def folder(self) -> str:
        model = "" if self.model == "alexnet_bn" else self.model
        return "-".join(filter(None, [super().folder, self.variation, model, self.data]))

    # What is trained.

    def variants(self, optimizer: str, batch: int) -> Iterator[rows.Variant]:
        """The variants to train at a batch of the paper; by default its best row."""
        recipe, row = rows.recipe_at(batch, optimizer, self)
        label = {"optimizer": optimizer.upper(), "batch": recipe.global_batch_size}
        yield {name: label[name] for name in self.label}, recipe, row

    def runs(self, done: Mapping[str, dict]) -> list[Run]:
        return [
            rows.make_run(
                label,
                dataclasses.replace(recipe, seed=seed),
                # At full size a changed recipe is not that of the row.
                row if row and (self.scaled_down or row.recipe == recipe) else None,
            )
            for optimizer in ("sgd", "lars")
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
        """Trains a run. Its output goes to a log file beside its folder."""
        execution = self.execution(run, folder)
        if records := self.preset.records_per_epoch:
            every = max(1, make_plan(run.settings, execution).updates_per_epoch // records)
            execution = dataclasses.replace(execution, record_trust_ratios_every=every)
        log = folder / "runs" / f"{run.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file):
            print(time.strftime("%Y-%m-%d %H:%M:%S"))
            # Otherwise the graphs of all earlier runs would stay in memory.
            keras.backend.clear_session()
            gc.collect()
            self.train_recipe(run.settings, execution)
        found = self.find(run, folder)
        assert found is not None
        return found

    @staticmethod
    def train_recipe(recipe: Recipe, execution: Execution) -> dict:
        from benchmarks import loop

        return loop.train(recipe, execution)

    # What is kept of the runs.

    def find(self, run: Run, folder: pathlib.Path) -> dict | None:
        path = folder / "runs" / run.name
        result = run_folder.result(path)
        if result is None:
            return None
        config, history = (
            read_json(path / f"{name}.json", "--output_dir") for name in ("config", "history")
        )
        return {
            "settings": dataclasses.asdict(run.settings),
            "result": result,
            "history": {name: list(map(_rounded, values)) for name, values in history.items()},
            "norms": self._norms(path),
            **{name: config[name] for name in ("versions", "device")},
        }

    def _norms(self, folder: pathlib.Path) -> dict[str, dict[str, list]]:
        """The norms and trust ratios of each variable by epoch, at most `RECORDS` of each."""
        records = pd.DataFrame(run_folder.read_table(folder / "trust_ratios.csv"), dtype=object)
        if records.empty:
            return {}
        found, layers = {}, self.preset.layers
        for name, of_variable in records.groupby("variable", sort=False):
            if re.search(layers, name):
                kept = of_variable.iloc[:: math.ceil(len(of_variable) / RECORDS)]
                found[name] = kept[["epoch", *results.NORMS]].map(_rounded).to_dict("list")
        if not found:
            names = ", ".join(records["variable"].unique())
            raise RecipeError(f"--layers must match one of {names}. Received: {layers}")
        return found

    # What is shown.

    @staticmethod
    def table(found: dict) -> str:
        """One row per label, over all of its seeds: settings, accuracy, published accuracy."""
        table = results.frame(found)
        lines = [_cells(group) for _, group in table.groupby("line", sort=False)]
        texts = sum(isinstance(value, str) for value in table["label"].iloc[0].values())
        text = frames.markdown(lines, texts)
        sources = dict.fromkeys(
            part for source in table["source"] for part in source.split("; ") if part
        )
        return text + (f"\n\nPublished: {'; '.join(sources)}." if sources else "")

    @staticmethod
    def title(what: str, found: dict) -> str:
        """The title of a plot: what it shows, network, data set, epochs and image size."""
        first = found["rows"][0]["settings"]
        network, size = NETWORKS[first["model"]], first["image_size"]
        if first["width"] != 1:
            network += f" (width {first['width']:g})"
        text = f"{what}\n{network} on {DATA[first['data']]}, {size}x{size} pixels"
        if all(row["result"]["updates"] == 1 for row in found["rows"]):
            return text
        lengths = [row["settings"]["epochs"] for row in found["rows"]]
        span = f"{min(lengths)} to " * (min(lengths) < max(lengths))
        return f"{text}, {span}{counted(max(lengths), 'epoch')}"


def _cells(group: pd.DataFrame) -> dict[str, str]:
    first = group.iloc[0]
    recipe = first["settings"]
    values = {
        **first["label"],
        "learning rate": recipe["learning_rate"],
        "warm-up, epochs": recipe["warmup_epochs"],
        "epochs": recipe["epochs"],
        "seeds": len(group),
        "accuracy, %": accuracy(group),
        "published, ImageNet, %": first["published"],
    }
    return {name: results.cell(value) for name, value in values.items()}


def accuracy(group: pd.DataFrame) -> str:
    """Mean and range of the accuracy on held-out images, and the updates of divergences."""
    reached = 100 * group.loc[~group["failed"], "validation_accuracy"].astype(float)
    updates = sorted(group.loc[group["failed"], "diverged_at_update"])
    parts = []
    if len(reached):
        spread = f" ({reached.min():.1f} to {reached.max():.1f})" if len(reached) > 1 else ""
        parts.append(f"{reached.mean():.1f}{spread}")
    if updates:
        parts.append(f"diverged at update {', '.join(f'{update:.0f}' for update in updates)}")
    return "; ".join(parts)


def _rounded(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
