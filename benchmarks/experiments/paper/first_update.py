"""The first update of a training alone, with the norms and ratios that LARS sees in it."""

import dataclasses
import time

from benchmarks import files
from benchmarks.plan import make_plan
from benchmarks.recipe import Execution, Recipe, RecipeError


def first_update(recipe: Recipe, execution: Execution) -> dict:
    """Makes one update, and leaves a run folder as `benchmarks.loop.train` does.

    Args:
        recipe: What would be trained.
        execution: How, and where to.

    Returns:
        What `result.json` holds.

    Raises:
        RecipeError: If the recipe cannot be trained, or not by LARS.
    """
    if recipe.optimizer != "lars":
        raise RecipeError(f"--optimizer must be lars to have ratios. Received: {recipe.optimizer}")
    started = time.perf_counter()
    plan = make_plan(recipe, dataclasses.replace(execution, record_trust_ratios_every=1))

    import keras
    import tensorflow as tf

    import keras_lars
    from benchmarks import loop, report

    strategy = tf.distribute.get_strategy()
    keras.backend.clear_session()
    with loop.settings(recipe):
        model = loop.make_model(plan, strategy)
        report.start_folder(plan, model, strategy)
        epoch = tf.constant(0, tf.int64)
        loss = model.fit(
            plan.data_set.training(epoch, plan.view, plan.micro_batch_size, plan.micro_batches),
            callbacks=[keras_lars.callbacks.TrustRatioMonitor(plan.folder, 1, verbose=False)],
            shuffle=False,  # it is shuffled already
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
