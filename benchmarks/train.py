"""Trains a network, and leaves a run folder: `python -m benchmarks.train`.

Without flags: the paper's ResNet-50, a quarter as wide, with LARS on scikit-learn's digits, in a
minute or two on two cores. `--optimizer=sgd` trains the rival in the same loop. Each flag overrides
one field of the recipe in `recipes.py`.
"""

import dataclasses
import sys
import time

from absl import app, flags

from benchmarks import STARTED
from benchmarks.plan import make_plan
from benchmarks.recipes import Recipe, RecipeError, override


def define_flags() -> None:
    """A flag for each field of a recipe. None is "as the recipe has it"."""
    define = {int: flags.DEFINE_integer, float: flags.DEFINE_float, str: flags.DEFINE_string}
    for field in dataclasses.fields(Recipe):
        if choices := field.metadata["choices"]:
            flags.DEFINE_enum(field.name, None, choices, field.metadata["help"])
        else:
            define[field.type](field.name, None, field.metadata["help"])
    flags.DEFINE_string("output_dir", None, "Run folder, new or empty. Default: one in runs/.")


def parse(argv: list[str]) -> list[str]:
    """Parses flags, with one line and no help text where one is wrong."""
    try:
        rest = flags.FLAGS(argv)
        if len(rest) > 1:
            raise flags.Error(f"unknown argument {rest[1]}")
        return rest
    except flags.Error as error:
        sys.exit(f"error: {' '.join(str(error).split())}")


def main(argv: list[str]) -> None:
    del argv
    values = {field.name: flags.FLAGS[field.name].value for field in dataclasses.fields(Recipe)}
    try:
        recipe = override(**{name: value for name, value in values.items() if value is not None})
        name = f"{recipe.model}-{recipe.data}-{recipe.optimizer}-seed{recipe.seed}"
        output_dir = flags.FLAGS.output_dir or f"runs/{time.strftime('%Y%m%d-%H%M%S')}-{name}"
        plan = make_plan(recipe, output_dir)  # before Keras starts, which takes seconds
        from benchmarks import loop

        loop.train_plan(plan, STARTED)
    except RecipeError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    define_flags()
    app.run(main, flags_parser=parse)
