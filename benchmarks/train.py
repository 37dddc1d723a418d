"""Trains a network, and leaves a run folder: `python -m benchmarks.train`.

Without flags: the paper's ResNet-50, a quarter as wide, with LARS on scikit-learn's digits, in a
minute or two on two cores. `--optimizer=sgd` trains the rival in the same loop. Each flag overrides
one field of the recipe in `recipes.py`.

`--strategy` trains the same on several devices, or, started once for each, on several machines:

python -m benchmarks.local_cluster --workers=2 -- python -m benchmarks.train --strategy=multi_worker
"""

import dataclasses
import sys
import time

from absl import app, flags, logging

from benchmarks import STARTED, cluster
from benchmarks.command_line import parse
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
    flags.DEFINE_enum("strategy", "none", cluster.STRATEGIES, "Devices: one, all, or a cluster's.")
    flags.DEFINE_integer(
        "replicas", 2, "Replicas of --strategy=mirrored without GPUs, as logical CPUs.", 1
    )
    flags.DEFINE_float("startup_seconds", 300, "How long to wait for the other workers.", 0)
    flags.DEFINE_string("output_dir", None, "Run folder, new or empty. Default: one in runs/.")


def main(argv: list[str]) -> None:
    del argv
    logging.set_verbosity(logging.WARNING)  # TensorFlow tells of each exchange between replicas
    values = {field.name: flags.FLAGS[field.name].value for field in dataclasses.fields(Recipe)}
    try:
        recipe = override(**{name: value for name, value in values.items() if value is not None})
        name = f"{recipe.model}-{recipe.data}-{recipe.optimizer}-seed{recipe.seed}"
        output_dir = flags.FLAGS.output_dir or f"runs/{time.strftime('%Y%m%d-%H%M%S')}-{name}"
        # Before Keras starts, which takes seconds.
        is_chief = cluster.is_chief(flags.FLAGS.strategy)
        plan = make_plan(recipe, output_dir if is_chief else None)
        strategy = cluster.start(
            flags.FLAGS.strategy, flags.FLAGS.replicas, flags.FLAGS.startup_seconds
        )
        cluster.check_batch(recipe.global_batch_size, strategy)
        from benchmarks import loop

        loop.train_plan(plan, STARTED, strategy)
    except RecipeError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    define_flags()
    app.run(main, flags_parser=parse)
