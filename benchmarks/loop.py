"""Trains a recipe: `train(recipe, output_dir)`. Reads no flags."""

import math
import os
import sys
import time

import keras
import tensorflow as tf
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


def train_plan(plan: Plan, started: float, strategy: tf.distribute.Strategy | None = None) -> dict:
    """As `train`, for a plan that is made already.

    Args:
        plan: What to train. Without a folder it is trained, and nothing printed or written.
        started: The `time.perf_counter()` from which `seconds` are counted.
        strategy: Over which replicas to train; one device by default.
    """
    recipe = plan.recipe
    strategy = strategy or tf.distribute.get_strategy()
    # Weights are drawn, and sums are added up, the same way each time.
    keras.utils.set_random_seed(recipe.seed)
    tf.config.experimental.enable_op_determinism()

    images = plan.images
    image_shape = (recipe.image_size, recipe.image_size, images.train_images.shape[-1])
    schedule = _schedule(plan)
    with strategy.scope():
        model = MODELS[recipe.model](image_shape, images.classes, recipe.width)
        model = keras_lars.multi_worker.prepare(model)
        try:
            optimizer = OPTIMIZERS[recipe.optimizer](recipe, schedule)
        except ValueError as error:
            raise RecipeError(str(error)) from error
        model.compile(
            optimizer,
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
    if plan.output_dir is None:
        return _result(plan, _fit(plan, model, schedule))

    print(report.summary(plan, model, strategy), flush=True)
    report.start_folder(plan, model, strategy)
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
    callbacks = [
        # Those of each replica differ, and one is validated and saved.
        keras_lars.callbacks.AverageStatistics(),
        _LearningRate(schedule),
        keras.callbacks.TerminateOnNaN(),
    ]
    if plan.output_dir is not None:
        callbacks.append(keras.callbacks.CSVLogger(plan.output_dir / "history.csv"))
    verbose = 1 if sys.stdout.isatty() else 2
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
        callbacks=callbacks,
        verbose=0 if plan.output_dir is None else verbose,
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
