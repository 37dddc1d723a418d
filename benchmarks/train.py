"""Trains a network and writes a run folder: `python -m benchmarks.train`.

Without flags, trains the paper's ResNet-50 at a quarter of its width, with LARS, on scikit-learn's
digits. That takes a minute or two on two cores. `--recipe=NAME` trains a recipe of the list that
`--list_recipes` prints. `--data=fashion_mnist` or `--data=digits` scales it down, and
`--data=image_folder --data_dir=DIR` trains it on your own images. Each other flag overrides one
field of the recipe, or sets how it is run. `--dry_run` prints what would be done. It needs no data,
except for your own images.

`--strategy` trains on several devices, or on several machines if the command runs on each of them:

python -m benchmarks.local_cluster --workers=2 -- python -m benchmarks.train --strategy=multi_worker

Exit status: 0 if the training finished, 1 if it cannot run (a wrong flag, missing data), 3 if it
diverged, 75 if it was interrupted. The same command with `--resume` continues an interrupted run.
"""

import sys
import time

from absl import flags, logging

from benchmarks import STARTED, cluster, recipes, run_folder
from benchmarks.command_line import define_flags_of, given, interrupt_at_sigterm, run
from benchmarks.plan import Plan, make_plan
from benchmarks.recipe import Execution, Recipe, RecipeError

DIVERGED, INTERRUPTED = 3, 75  # the latter is EX_TEMPFAIL of sysexits.h


def main(argv: list[str]) -> int:
    """Runs the command. Returns its exit status."""
    logging.set_verbosity(logging.WARNING)  # TensorFlow logs each exchange between replicas
    if flags.FLAGS.list_recipes:
        print(recipes.listing(recipes.ROWS.values()))
        return 0
    if flags.FLAGS.dry_run and flags.FLAGS.recipe:
        row = recipes.find(flags.FLAGS.recipe)
        print(f"As published:\n{recipes.details(row)}\n", flush=True)
        if row.recipe is None:
            return 0
        print("What would be done:", flush=True)
    return _run(plan_of_flags())


def plan_of_flags() -> Plan:
    """The plan that the flags ask for. Needs no Keras, which takes seconds to import."""
    recipe = recipes.override(flags.FLAGS.recipe, **given(Recipe))
    if flags.FLAGS.resume and flags.FLAGS.output_dir is None:
        raise RecipeError("--resume needs the --output_dir of the run. Received: none")
    name = f"{recipe.model}-{recipe.data}-{recipe.optimizer}-seed{recipe.seed}"
    folder = f"runs/{time.strftime('%Y%m%d-%H%M%S')}-{name}"
    execution = Execution(**{"output_dir": folder, **given(Execution)})
    is_chief = cluster.is_chief(flags.FLAGS.strategy)
    return make_plan(recipe, execution, is_chief, described=flags.FLAGS.dry_run)


def _run(plan: Plan) -> int:
    """Trains, or describes the training. Returns the exit status."""
    if (result := run_folder.result(plan.folder)) is not None:
        if plan.is_chief:
            if not flags.FLAGS.dry_run:
                run_folder.delete_backup(plan.folder)  # if the process was killed before it did
            print(f"already finished; see {plan.folder}")
        return DIVERGED if result.get("diverged") else 0
    # Imported late, because Keras takes seconds.
    from benchmarks import loop
    from keras_lars import multi_worker

    asked = flags.FLAGS
    interrupt_at_sigterm()
    try:
        # A worker can be lost at any time, even while workers start or the model is built.
        with multi_worker._lost_workers_named():
            strategy = cluster.start(asked.strategy, asked.replicas, asked.startup_seconds)
            if asked.dry_run:
                loop.describe(plan, strategy)
                return 0
            return DIVERGED if loop.train_plan(plan, STARTED, strategy)["diverged"] else 0
    except (KeyboardInterrupt, multi_worker.WorkerLostError) as interruption:
        # Each worker names a default folder by its own clock. Only that of the chief is written.
        is_known = plan.is_chief or asked.output_dir
        print(
            f"{str(interruption) or 'interrupted'}; to continue, run the same command with "
            f"--resume --output_dir={plan.folder if is_known else 'FOLDER_OF_THE_FIRST_WORKER'}",
            file=sys.stderr,
        )
        return INTERRUPTED


if __name__ == "__main__":
    flags.DEFINE_string("recipe", None, "Name of a recipe; see --list_recipes.")
    flags.DEFINE_boolean("list_recipes", False, "Print one line per recipe, and exit.")
    flags.DEFINE_boolean("dry_run", False, "Print what would be done, and exit.")
    define_flags_of(Recipe)
    define_flags_of(Execution)
    flags.DEFINE_enum(
        "strategy",
        "none",
        cluster.STRATEGIES,
        "Devices to train on: one (none), all of this machine (mirrored), cluster (multi_worker).",
    )
    flags.DEFINE_integer(
        "replicas", 2, "Logical CPUs for --strategy=mirrored on a machine without GPUs.", 1, 1024
    )
    flags.DEFINE_float("startup_seconds", 300, "Seconds to wait for the other workers.", 0)
    run(main)
