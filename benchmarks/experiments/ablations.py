"""One thing of a training varied: `python -m benchmarks.experiments.ablations --ablation=NAME`.

longer: more epochs at a large batch, table 5 of the paper. warmup: with and without one, of SGD and
of LARS, which the paper never ran. exclusions: bias and normalization without decay, without
adaptation. momentum_form: where rate and ratio stand in the momentum; see `keras_lars.LARS`.
"""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import pandas as pd

from benchmarks import recipes
from benchmarks.experiments import plots, results
from benchmarks.experiments.experiment import main
from benchmarks.experiments.paper import plots as paper_plots
from benchmarks.experiments.paper import rows
from benchmarks.experiments.paper.experiment import ALEXNETS, RESNET, Paper, Preset, both, lars
from benchmarks.recipe import RecipeError
from benchmarks.recipes import Row, paper
from benchmarks.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLES = {
    "longer": "Longer training at a large batch",
    "warmup": "Warm-up, with SGD and with LARS",
    "exclusions": "Bias and normalization in weight decay and adaptation",
    "momentum_form": "Where rate and ratio stand in the momentum",
}
OF_LARS = {
    ALEXNETS: (Preset(lars(8192)), Preset(lars(8192), seeds=(0, 1), epochs=6)),
    RESNET: (Preset(lars(8192)), Preset(lars(8192), seeds=(0, 1))),
}
EXCLUSIONS = {
    "all decayed and adapted": ("none", "none"),
    "no decay of bias and normalization": ("bias_or_normalization", "none"),
    "no adaptation of bias and normalization": ("none", "bias_or_normalization"),
    "neither of bias and normalization": ("bias_or_normalization", "bias_or_normalization"),
}
MOMENTUM_FORMS = ("classic", "learning_rate_outside", "ratio_outside")


class Ablations(Paper):
    name = "ablations"
    presets: ClassVar = {
        "longer": {
            ALEXNETS[:1]: (Preset(lars(32768)), Preset(lars(32768), seeds=(0,))),
            (*ALEXNETS[1:], *RESNET): (Preset(lars(16384)), Preset(lars(16384))),
        },
        "warmup": {
            ALEXNETS: (Preset(both(8192)), Preset(both(8192), seeds=(0, 1), epochs=6)),
            RESNET: (Preset(both(8192)), Preset(both(8192), seeds=(0, 1))),
        },
        "exclusions": OF_LARS,
        "momentum_form": OF_LARS,
    }

    def variants(self, optimizer: str, batch: int) -> Iterator[rows.Variant]:
        if self.ablation == "longer":
            yield from self._longer(batch)
            return
        recipe, row = rows.recipe_at(batch, optimizer, self)
        first = {}
        if self.ablation == "warmup":
            first = {"optimizer": paper_plots.OPTIMIZERS[optimizer]}
            varied = {
                "warm-up": rows.with_warmup(recipe),
                "no warm-up": dataclasses.replace(recipe, warmup_epochs=0.0),
            }
        elif self.ablation == "exclusions":
            varied = {
                variant: dataclasses.replace(
                    recipe,
                    exclude_from_weight_decay=decay,
                    exclude_from_layer_adaptation=adaptation,
                )
                for variant, (decay, adaptation) in EXCLUSIONS.items()
            }
        else:
            varied = {
                form: dataclasses.replace(recipe, momentum_form=form) for form in MOMENTUM_FORMS
            }
        for variant, of_variant in varied.items():
            label = {**first, "variant": variant, "batch": recipe.global_batch_size}
            yield label, of_variant, row if of_variant == recipe else None

    def _longer(self, batch: int) -> Iterator[rows.Variant]:
        if self.epochs:
            raise RecipeError(
                f"--epochs must not be given with --ablation=longer. Received: {self.epochs}"
            )
        longer = longer_rows(self.model, batch)
        if not longer:
            raise RecipeError(
                f"--batches must be one of table 5 for {self.model} with --ablation=longer. "
                f"Received: the row of a batch of {batch}"
            )
        for row in longer:
            recipe = rows.recipe_of(row, self)
            yield {"epochs": recipe.epochs, "batch": recipe.global_batch_size}, recipe, row

    @staticmethod
    def plot(found: dict, path: pathlib.Path) -> None:
        table, ablation = results.frame(found), found["settings"]["ablation"]
        figure, (axis,) = paper_plots.panels(table, TITLES[ablation], 1, 1, size=(8.5, 5.4))
        if ablation == "longer":
            _plot_longer(axis, table)
        else:
            for index, group in enumerate(results.by_seed(table)):
                label = paper_plots.words(group["label"].iloc[0])
                paper_plots.accuracy_by_epoch(axis, group, label, plots.color(index))
            axis.set(xlabel="epoch", ylim=(0, None))
        axis.set(ylabel=paper_plots.ACCURACY)
        plots.legend(axis, table["diverged"].any())
        plots.save(figure, path)


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
    longest = max(candidates, key=lambda row: row.trained.epochs, default=None)
    if longest is None or longest.trained.epochs == rows.EPOCHS:
        return []
    # Table 5 has ResNet-50 with extended augmentation alone.
    return sorted(
        (row for row in candidates if row.trained.augmentation == longest.trained.augmentation),
        key=lambda row: row.trained.epochs,
    )


def _plot_longer(axis: "Axes", table: pd.DataFrame) -> None:
    label, color = f"LARS, batch {table['batch'].iloc[0]}", paper_plots.COLORS["lars"]
    paper_plots.accuracy_by(axis, table, "epochs", label, color)
    known = table[table["published"].notna()].drop_duplicates("epochs")
    if len(known):
        sources = dict.fromkeys(source.split(",")[0] for source in known["source"])
        # Scaled down they stand at the epochs that theirs became.
        lengths = [recipes.find(row).trained.epochs for row in known["row"]]
        span = f"{min(lengths)} to {counted(max(lengths), 'epoch')}"
        label = f"published, ImageNet, {span}: {', '.join(sources)}, table 5"
        plots.published(axis, list(known["epochs"]), list(known["published"]), label, color)
    axis.set(xlabel="epochs of the training")


if __name__ == "__main__":
    main(Ablations)
