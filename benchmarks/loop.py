"""Trains a recipe: `train(recipe, output_dir)`. Reads no flags."""

import math
import os
import sys
import time

import keras
from keras.optimizers.schedules import LearningRateSchedule, PolynomialDecay

import keras_lars
from benchmarks import data, report
from benchmarks.models import MODELS
from benchmarks.plan import Plan, make_plan
from benchmarks.recipes import Recipe, RecipeError


def train(recipe: Recipe, output_dir: str | os.PathLike) -> dict:
    """Trains a recipe and leaves a run folder.

    Args:
        recipe: What to train.
        output_dir: The run folder: new, or empty. It will hold `config.json`, `history.csv`,
            `history.json`, `plot.png`, `model.keras` and `result.json`.

    Returns:
        What `result.json` holds: the accuracy on the held-out images at the end and at half time
        (None where there was none), epochs, seconds, and whether it diverged.

    Raises:
        RecipeError: If the recipe cannot be trained. The folder is untouched then.
    """
    started = time.perf_counter()
    return train_plan(make_plan(recipe, output_dir), started)


def train_plan(plan: Plan, started: float) -> dict:
    """As `train`, for a plan that is made already.

    Args:
        plan: What to train.
        started: The `time.perf_counter()` from which `seconds` are counted.
    """
    recipe = plan.recipe
    # Weights are drawn, and sums are added up, the same way each time.
    keras.utils.set_random_seed(recipe.seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()

    images = plan.images
    image_shape = (recipe.image_size, recipe.image_size, images.train_images.shape[-1])
    model = MODELS[recipe.model](image_shape, images.classes, recipe.width)
    try:
        schedule = _schedule(plan)
        optimizer = OPTIMIZERS[recipe.optimizer](recipe, schedule)
    except ValueError as error:
        raise RecipeError(str(error)) from error
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )

    print(report.summary(plan, model), flush=True)
    report.start_folder(plan, model)
    history = _fit(plan, model, schedule)
    model.save(plan.output_dir / "model.keras")
    result = _result(plan, history)
    report.write_history(plan, history, schedule)
    result["seconds"] = round(time.perf_counter() - started, 1)
    report.write_json(plan.output_dir / "result.json", result)
    print(report.conclusion(plan, result), flush=True)
    return result


def _fit(plan: Plan, model: keras.Model, schedule: LearningRateSchedule) -> dict:
    recipe = plan.recipe
    return model.fit(
        data.training_batches(
            plan.images, recipe.image_size, recipe.global_batch_size, recipe.epochs, recipe.seed
        ),
        epochs=recipe.epochs,
        steps_per_epoch=plan.updates_per_epoch,
        validation_data=data.validation_batches(
            plan.images, recipe.image_size, recipe.global_batch_size
        ),
        shuffle=False,  # it is shuffled already
        callbacks=[
            _LearningRate(schedule),
            keras.callbacks.CSVLogger(plan.output_dir / "history.csv"),
            keras.callbacks.TerminateOnNaN(),
        ],
        verbose=1 if sys.stdout.isatty() else 2,
    ).history


def _schedule(plan: Plan) -> LearningRateSchedule:
    recipe = plan.recipe
    decay = PolynomialDecay(
        recipe.learning_rate,
        decay_steps=plan.updates - plan.warmup_updates,
        end_learning_rate=0.0,
        power=recipe.decay_power,
    )
    return keras_lars.schedules.WarmUp(decay, plan.warmup_updates, recipe.start_learning_rate)


def _lars(recipe: Recipe, schedule: LearningRateSchedule) -> keras.optimizers.Optimizer:
    return keras_lars.LARS(schedule, recipe.momentum, recipe.weight_decay, recipe.trust_coefficient)


def _sgd(recipe: Recipe, schedule: LearningRateSchedule) -> keras.optimizers.Optimizer:
    # Keras refuses an integer 0 here.
    optimizer = keras.optimizers.SGD(
        schedule, momentum=float(recipe.momentum), weight_decay=recipe.weight_decay
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


OPTIMIZERS = {"lars": _lars, "sgd": _sgd}


class _LearningRate(keras.callbacks.Callback):
    """Logs the learning rate of the last update of each epoch."""

    def __init__(self, schedule: LearningRateSchedule):
        super().__init__()
        self.schedule = schedule

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        logs["learning_rate"] = float(self.schedule(self.model.optimizer.iterations - 1))


def _result(plan: Plan, history: dict) -> dict:
    accuracy = history["val_accuracy"]
    half = plan.recipe.epochs // 2
    reached = 0 < half <= len(accuracy)  # not in a single epoch, nor where it diverged before
    return {
        "validation_accuracy": accuracy[-1],
        "validation_accuracy_at_half_time": accuracy[half - 1] if reached else None,
        "epochs": len(accuracy),
        "diverged": not math.isfinite(history["loss"][-1]),
    }
