"""Norms of weights and gradients at the first update, layer by layer: table 2 of the paper.

python -m benchmarks.experiments.norm_ratios [--data=imagenet2012]
"""

import dataclasses
import pathlib
import time

import pandas as pd

from benchmarks import files, frames
from benchmarks.experiments import plots, results
from benchmarks.experiments.paper.experiment import Paper
from benchmarks.lazy import keras_lars, tf
from benchmarks.plan import make_plan
from benchmarks.recipe import Execution, Recipe, RecipeError

TITLES = {
    "weight_norm": "norm of the weights",
    "gradient_norm": "norm of the gradient",
    "ratio": "their ratio",
}
TABLE_2 = pathlib.Path(__file__).parent / "paper" / "table_2.csv"
SOURCE = "arXiv 1708.03888, table 2"
NOTE = (
    f"Published: {SOURCE}, AlexNet-BN, with the names of weights and biases swapped. The paper "
    "prints the initial norm of the weights under the name of the biases, and vice versa. The "
    "weights of conv1 start with a standard deviation of 0.01, so their norm is "
    "0.01 * sqrt(96 * 363) = 1.87. Its biases start at 0.01, so their norm is 0.01 * sqrt(96) = "
    "0.098. The printed gradient norm of conv5's biases, 0.0002, contradicts the printed ratio of "
    "69, from which it would be 0.0023."
)


def norms(found: dict) -> pd.DataFrame:
    """One row per run and variable, with the published values."""
    table = results.by_record(found).drop_duplicates(["name", "variable"], ignore_index=True)
    gradient = table["gradient_norm"].astype(float)
    table["ratio"] = table["weight_norm"] / gradient.where(gradient != 0)
    of_paper = table_2().add_prefix("published_").reindex(table["variable"]).set_index(table.index)
    return table.join(of_paper.where(table["settings"].str["model"] == "alexnet_bn"))


def table_2() -> pd.DataFrame:
    """The published values, by variable."""
    return pd.read_csv(TABLE_2, comment="#", index_col="variable")


def _text(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return "" if pd.isna(value) else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def first_update(recipe: Recipe, execution: Execution) -> dict:
    """Like `benchmarks.loop.train`, but makes only one update, of LARS, and records the norms."""
    if recipe.optimizer != "lars":
        raise RecipeError(f"--optimizer must be lars for ratios. Received: {recipe.optimizer}")
    started = time.perf_counter()
    plan = make_plan(recipe, dataclasses.replace(execution, record_trust_ratios_every=1))

    from benchmarks import loop, report

    with loop.compiled_model(plan) as model:
        report.write_config(plan, model)
        epoch = tf.constant(0, tf.int64)
        loss = model.fit(
            plan.data_set.training(epoch, plan.view, plan.micro_batch_size, plan.micro_batches),
            callbacks=[keras_lars.callbacks.TrustRatioMonitor(plan.folder, 1, verbose=False)],
            shuffle=False,  # the data are already shuffled
            verbose=2,
        ).history["loss"]
    files.write_json(plan.folder / "history.json", {"loss": loss})
    result = {
        "validation_accuracy": None,
        "validation_accuracy_at_half_time": None,
        "epochs": 0,
        "updates": 1,
        "diverged": False,
        "diverged_at_update": None,
        "resumed_at_update": None,
        "seconds": round(time.perf_counter() - started, 1),
    }
    files.write_json(plan.folder / "result.json", result)
    return result


class NormRatios(Paper):
    label = ("batch",)
    updates = 1
    train_recipe = staticmethod(first_update)

    @staticmethod
    def table(found: dict) -> str:
        table = norms(found)
        names = ["variable", "batch", "seed", *TITLES, *(f"published_{name}" for name in TITLES)]
        cells = {name.replace("_", " "): table[name].map(_text) for name in names}
        note = f"\n\n{NOTE}" if table["published_ratio"].notna().any() else ""
        return frames.markdown(pd.DataFrame(cells)) + note

    @staticmethod
    def plot(found: dict, path: pathlib.Path) -> None:
        table = norms(found)
        by_variable = table.groupby("variable", sort=False)
        variables = list(by_variable.groups)
        colors = [plots.CYCLE[name.endswith("bias")] for name in variables]
        title = Paper.title("Norms at the first update", found)
        size = (max(9, 0.55 * len(variables)), 10 / 3)
        quantities = table.melt(["variable", "failed"], list(TITLES), "quantity")
        with plots.panels(path, title, quantities, "quantity", 1, size, sharex=True) as panels:
            for (axis, _), (column, words) in zip(panels, TITLES.items()):
                reached = by_variable[column].agg(["mean", "min", "max"]).astype(float)
                spread = [reached["mean"] - reached["min"], reached["max"] - reached["mean"]]
                axis.bar(variables, reached["mean"].fillna(0), yerr=spread, color=colors, width=0.7)
                of_paper = by_variable[f"published_{column}"].first()
                if of_paper.notna().any():
                    label = f"published, ImageNet: {SOURCE}, names corrected"
                    axis.plot(variables, of_paper, "D", color="#444444", mfc="none", label=label)
                axis.set(yscale="log", ylabel=words, title="")
                axis.grid(axis="x", visible=False)
            (first, _), *_, (last, _) = panels
            if first.get_legend_handles_labels()[0]:
                first.legend(fontsize="small", loc="upper right")
            # Make room for the legend above the highest mark.
            first.set_ylim(top=first.get_ylim()[1] * 6)
            last.tick_params(axis="x", rotation=90 if len(variables) > 20 else 45)


if __name__ == "__main__":
    NormRatios.main()
