"""Writes the tables on the pages from the committed results: `python -m benchmarks.write_pages`.

A table is between `<!-- NAME -->` and `<!-- /NAME -->`; `BLOCKS` maps the names to tables.
`--check` changes nothing, and fails if a page is out of date.
"""

import json
import pathlib
import pkgutil
import re
from collections.abc import Callable
from typing import Any

from absl import flags

from benchmarks import experiments, files
from benchmarks.command_line import UsageError, run

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PLACES = ("README.md", "benchmarks/README.md", "docs/*.md", "benchmarks/results/*/README.md")
PAGES = [path.relative_to(ROOT).as_posix() for place in PLACES for path in sorted(ROOT.glob(place))]


def _read(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def _block(function: str, *names: str) -> Callable[[], str]:
    """Applies a function of `benchmarks`, given as "module:function", to result files.

    The module is imported only when the block is written.
    """
    return lambda: pkgutil.resolve_name(f"benchmarks.{function}")(*map(_read, names))


def _batch_size(function: str, *names: str) -> Callable[[], str]:
    """Applies a function of `experiments.small.tables` to results by batch size."""
    return _block(f"experiments.small.tables:{function}", *(f"studies/{name}" for name in names))


def _table(experiment: str, name: str) -> Callable[[], str]:
    """The table of an experiment."""
    return lambda: experiments.find(experiment).table(_read(name))


# The last two repeat parts of torch, and replace the earlier measurements.
_H100 = [
    f"speed/h100/{name}" for name in ("tensorflow", "jax", "torch", "torch_large", "torch_update")
]
_ENDS = ("", "_gamma", "_resnet50", "_digits")
BLOCKS: dict[str, Callable[[], str]] = {
    "a first training": _block("collect:table", "studies/digits_resnet50"),
    "batch sizes": _batch_size("report", "batch_size"),
    "batch sizes, searched": _batch_size("search_spaces", "batch_size"),
    "batch sizes, published": _block("experiments.small.published:table"),
    "second round": _batch_size("by_network", "second_round"),
    "CIFAR-10": _batch_size("by_network", "cifar10"),
    "CIFAR-10, lower rates": _batch_size("by_network", "cifar10_lower_rates"),
    "CIFAR-10, higher rates": _batch_size("by_network", "cifar10_higher_rates"),
    "digits by batch size": _batch_size("report", "digits_by_batch"),
    "digits by batch size in short": _batch_size("accuracies", "digits_by_batch"),
    "learning rates": _batch_size("report", "learning_rate"),
    "rates": _batch_size("by_rate_of_lars", "learning_rate"),
    "zero weights": _batch_size("by_setting", *(f"zero_weights{end}" for end in _ENDS)),
    "constant rates": _batch_size("by_setting", "constant_rates", "constant_rates_digits"),
    "updates": _block("speed.tables:short", "speed/update_cost_models"),
    "updates of models": _block("speed.tables:of_updates", "speed/update_cost_models"),
    "updates of small variables": _block("speed.tables:of_updates", "speed/update_cost_small"),
    "updates by size": _block("speed.tables:of_updates", "speed/update_cost_sizes"),
    "H100": _block("speed.accelerator_tables:table", *_H100),
    "trainings on an H100": _block("speed.accelerator_tables:trainings", *_H100),
    "trainings on an H100 in short": _block("speed.accelerator_tables:trainings_in_short", *_H100),
    "clusters": _block("speed.tables:clusters", "speed/update_clusters"),
    "launches": _block("speed.launches:table", "speed/launches"),
    "steps": _block("speed.step:table", "speed/step_cost"),
    "noise steps": _block("speed.step:table", "speed/noise_scale_step"),
    "noise steps of larger images": _block("speed.step:table", "speed/noise_scale_step_112"),
    "input": _block("speed.input:table", "speed/input_pipeline"),
    "first try": _table("first_try", "studies/first_try"),
    "rule and range test": _table("learning_rate_choice", "studies/learning_rate_choice"),
    "linear probing": _table("linear_probe", "studies/linear_probe"),
    "noise scale": _table("noise_scale", "studies/noise_scale"),
    "fine-tuning": _table("fine_tuning", "studies/fine_tuning"),
    **{
        folder.name: _table(folder.name.split("-")[0], f"figures/{folder.name}/results")
        for folder in sorted((RESULTS / "figures").iterdir())
        if folder.is_dir()
    },
}


def written(page: str) -> str:
    """The text of a page, with its tables written from the results."""

    def replaced(match: re.Match) -> str:
        name = match[1]
        text = f"{BLOCKS[name]()}\n" if name in BLOCKS else match[2]
        return f"<!-- {name} -->\n{text}<!-- /{name} -->"

    text = (ROOT / page).read_text(encoding="utf-8")
    return re.sub(r"<!-- ([^/>][^>]*) -->\n(.*?)<!-- /\1 -->", replaced, text, flags=re.DOTALL)


def main(argv: list[str]) -> None:
    for page in PAGES:
        text = written(page)
        if text == (ROOT / page).read_text(encoding="utf-8"):
            continue
        if flags.FLAGS.check:
            raise UsageError(f"{page} is out of date; run `python -m benchmarks.write_pages`")
        files.write_text(ROOT / page, text)
        print(page)


if __name__ == "__main__":
    flags.DEFINE_boolean("check", False, "Fail if a page is out of date; write nothing.")
    run(main)
