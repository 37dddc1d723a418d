"""Varies one setting: `python -m benchmarks.experiments.ablations --ablation=NAME`.

longer: more epochs at a large batch, as in table 5 of the paper. warmup: SGD and LARS with and
without warm-up, which the paper does not compare. exclusions: bias and normalization parameters
without weight decay or without layer adaptation. momentum_form: where the learning rate and the
trust ratio enter the momentum; see `keras_lars.LARS`.
"""

import dataclasses
import pathlib
from collections.abc import Iterator

from benchmarks import files, recipes
from benchmarks.experiments import plots, results
from benchmarks.experiments.paper import experiment as paper
from benchmarks.experiments.paper import rows
from benchmarks.experiments.paper.experiment import Paper
from benchmarks.recipe import Recipe, RecipeError
from benchmarks.settings import setting
from benchmarks.words import counted

TITLES = {
    "longer": "Longer training at a large batch",
    "warmup": "Warm-up, with SGD and with LARS",
    "exclusions": "Bias and normalization in weight decay and adaptation",
    "momentum_form": "Where rate and ratio stand in the momentum",
}
_FILE = pathlib.Path(__file__).parent / "paper" / "ablations.csv"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ablations(Paper):
    ablation: str = setting("The setting to vary.", "longer", choices=TITLES)

    @property
    def variation(self) -> str:
        return self.ablation

    def variants(self, optimizer: str, batch: int) -> Iterator[rows.Variant]:
        if self.ablation == "longer":
            yield from self._longer(batch)
            return
        recipe, row = rows.recipe_at(batch, optimizer, self)
        warmup = self.ablation == "warmup"
        of_all = rows.with_warmup(recipe) if warmup else recipe
        first = {"optimizer": optimizer.upper()} if warmup else {}
        for fields in files.csv_lines(_FILE, Recipe):
            if fields.pop("ablation") != self.ablation:
                continue
            label = {**first, "variant": fields.pop("variant"), "batch": recipe.global_batch_size}
            varied = dataclasses.replace(of_all, **fields)
            yield label, varied, row if varied == recipe else None

    def _longer(self, batch: int) -> Iterator[rows.Variant]:
        if self.epochs:
            raise RecipeError(
                f"--epochs must not be given with --ablation=longer. Received: {self.epochs}"
            )
        longer = rows.longer_rows(self.model, batch)
        if not longer:
            raise RecipeError(
                f"--batches must be batches of table 5 for {self.model} with --ablation=longer. "
                f"Received: the row for a batch of {batch}"
            )
        for row in longer:
            recipe = rows.recipe_of(row.trained, self)
            yield {"epochs": recipe.epochs, "batch": recipe.global_batch_size}, recipe, row

    @staticmethod
    def plot(found: dict, path: pathlib.Path) -> None:
        ablation = found["settings"]["ablation"]
        title = Paper.title(TITLES[ablation], found)
        if ablation == "longer":
            _plot_longer(found, title, path)
            return
        table = results.by_epoch(found)
        with plots.panels(path, title, table, size=(8.5, 5.4), bottom=0) as ((axis, _),):
            plots.lines(axis, table, "epoch", "percent")
            axis.set(xlabel="epoch", ylabel=plots.ACCURACY)
            plots.legend(axis, table)


def _plot_longer(found: dict, title: str, path: pathlib.Path) -> None:
    table, color = results.frame(found), paper.COLORS["LARS"]
    table["line"] = [f"LARS, batch {batch}" for batch in table["batch"]]
    with plots.panels(path, title, table, size=(8.5, 5.4)) as ((axis, _),):
        plots.lines(axis, table, "epochs", "percent", color=color, marker="o")
        known = table[table["published"].notna()].drop_duplicates("epochs")
        if len(known):
            sources = dict.fromkeys(source.split(",")[0] for source in known["source"])
            # Scaled down, the points are drawn at the scaled-down epochs.
            lengths = [recipes.find(row).trained.epochs for row in known["row"]]
            span = f"{min(lengths)} to {counted(max(lengths), 'epoch')}"
            label = f"published, ImageNet, {span}: {', '.join(sources)}, table 5"
            plots.published(axis, list(known["epochs"]), list(known["published"]), label, color)
        axis.set(xlabel="epochs", ylabel=plots.ACCURACY)
        plots.legend(axis, table)


if __name__ == "__main__":
    Ablations.main()
