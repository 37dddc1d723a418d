"""Writes the tables of the pages from the committed results: `python -m benchmarks.write_pages`.

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`, and `BLOCKS` says what that is.
`--check` changes nothing, and fails if a page would change.
"""

import functools
import importlib
import json
import pathlib
import re
from collections.abc import Callable
from typing import Any

from absl import app, flags

from benchmarks import files
from benchmarks.command_line import fail, parse

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = ("README.md", "benchmarks/README.md", "docs/clusters.md")


def _read(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def _block(function: str, *results: str) -> Callable[[], str]:
    """What a function of `benchmarks` makes of files of results, as "module:function" names it.

    Its module is imported once it is needed.
    """

    def make() -> str:
        module, name = function.split(":")
        makes = getattr(importlib.import_module(f"benchmarks.{module}"), name)
        return makes(*map(_read, results))

    return make


def _figure(folder: pathlib.Path) -> str:
    found = _read(f"figures/{folder.name}/results")
    return importlib.import_module(f"benchmarks.figures.{found['figure']}").FIGURE.table(found)


_STUDY = "studies.batch_size"
_ZERO_WEIGHTS = [f"studies/zero_weights{end}" for end in ("", "_gamma", "_resnet50", "_digits")]
_CONSTANT_RATES = [f"studies/constant_rates{end}" for end in ("", "_digits")]
BLOCKS: dict[str, Callable[[], str]] = {
    "a first training": _block("collect:table", "digits_resnet50"),
    "batch sizes": _block(f"{_STUDY}.tables:report", "studies/batch_size"),
    "batch sizes, searched": _block(f"{_STUDY}.tables:search_spaces", "studies/batch_size"),
    "batch sizes, published": _block(f"{_STUDY}.published:table"),
    "learning rates": _block(f"{_STUDY}.tables:report", "studies/learning_rate"),
    "rates": _block(f"{_STUDY}.tables:by_rate_of_lars", "studies/learning_rate"),
    "zero weights": _block(f"{_STUDY}.settings_table:table", *_ZERO_WEIGHTS),
    "constant rates": _block(f"{_STUDY}.settings_table:table", *_CONSTANT_RATES),
    "first try": _block("studies.first_try:report", "studies/first_try"),
    "updates": _block("speed.tables:short", "update_cost_models"),
    "updates of models": _block("speed.tables:of_updates", "update_cost_models"),
    "updates of small variables": _block("speed.tables:of_updates", "update_cost_small"),
    "updates by size": _block("speed.tables:of_updates", "update_cost_sizes"),
    "steps": _block("speed.step:table", "step_cost"),
    "input": _block("speed.input:table", "input_pipeline"),
    "fine-tuning": _block("studies.fine_tuning:report", "studies/fine_tuning"),
    **{
        folder.name: functools.partial(_figure, folder)
        for folder in sorted((RESULTS / "figures").iterdir())
    },
}


def written(page: str) -> str:
    """The text of a page with the tables of the results."""

    def replaced(match: re.Match) -> str:
        name = match[1]
        text = BLOCKS[name]() if name in BLOCKS else match[2]
        return f"<!-- {name} -->\n{text}\n<!-- /{name} -->"

    text = (ROOT / page).read_text(encoding="utf-8")
    return re.sub(r"<!-- ([^/>][^>]*) -->\n(.*?)\n<!-- /\1 -->", replaced, text, flags=re.DOTALL)


def main(argv: list[str]) -> None:
    del argv
    try:
        for page in PAGES:
            text = written(page)
            if text == (ROOT / page).read_text(encoding="utf-8"):
                continue
            if flags.FLAGS.check:
                raise ValueError(f"{page} is not as `python -m benchmarks.write_pages` writes it")
            files.write_text(ROOT / page, text)
            print(page)
    except (OSError, ValueError) as error:
        fail(error)


if __name__ == "__main__":
    flags.DEFINE_boolean("check", False, "Fail where a page would change, in place of writing it.")
    app.run(main, flags_parser=parse)
