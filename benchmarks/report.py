"""What a training tells: the lines before and after it, and the files in its run folder."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable
from typing import Any

import keras
import sklearn
import tensorflow as tf
from matplotlib.figure import Figure

from benchmarks import cluster, environment
from benchmarks.plan import Plan
from benchmarks.recipes import RecipeError

POINTS = 500  # of the learning rate in the plot


def summary(plan: Plan, model: keras.Model, strategy: tf.distribute.Strategy) -> str:
    """What will be done, a line for each thing."""
    recipe, images = plan.recipe, plan.images
    height, width, channels = model.input_shape[1:]
    hyperparameters = ["momentum", "weight_decay"]
    hyperparameters += ["trust_coefficient"] if recipe.optimizer == "lars" else []
    rows = {
        "model": f"{recipe.model} of width {recipe.width:g}, {convolutions(model)} convolutions, "
        f"{trainable_parameters(model):,} trainable parameters",
        "data": f"{recipe.data}, {len(images.train_labels):,} training and "
        f"{len(images.validation_labels):,} held-out images of {height}x{width}x{channels}, "
        f"{images.classes} classes",
        "batch": f"{recipe.global_batch_size} images, {plan.updates_per_epoch} updates an epoch, "
        f"{recipe.epochs} epochs, {plan.updates} updates",
        "learning rate": f"{recipe.start_learning_rate:g} to {recipe.learning_rate:g} in "
        f"{plan.warmup_updates} updates, then to 0 by polynomial decay of power "
        f"{recipe.decay_power:g}",
        "optimizer": ", ".join(
            [recipe.optimizer, *(f"{name} {getattr(recipe, name):g}" for name in hyperparameters)]
        ),
        "seed": str(recipe.seed),
        "devices": "{replicas} replicas on {workers} workers, {strategy}".format(
            **cluster.summary(strategy)
        ),
        "output": str(plan.output_dir),
    }
    return "\n".join(f"{name:<14}{text}" for name, text in rows.items())


def conclusion(plan: Plan, result: dict) -> str:
    """What was reached, in a line."""
    if result["diverged"]:
        return (
            f"diverged: the loss was not finite in epoch {result['epochs']} of "
            f"{plan.recipe.epochs}; see {plan.output_dir}"
        )
    return (
        f"{result['validation_accuracy']:.1%} of the held-out images right after "
        f"{plan.updates} updates in {result['seconds']:.0f} s; see {plan.output_dir}"
    )


def start_folder(plan: Plan, model: keras.Model, strategy: tf.distribute.Strategy) -> None:
    """Makes the run folder, with `config.json` in it."""
    config = {
        "recipe": dataclasses.asdict(plan.recipe),
        "updates_per_epoch": plan.updates_per_epoch,
        "updates": plan.updates,
        "warmup_updates": plan.warmup_updates,
        "trainable_parameters": trainable_parameters(model),
        "distribution": cluster.summary(strategy),
        "versions": {
            **environment.versions("tensorflow"),
            "scikit-learn": sklearn.__version__,
        },
        "device": environment.device(),
    }
    try:
        plan.output_dir.mkdir(parents=True, exist_ok=True)
        write_json(plan.output_dir / "config.json", config)
    except OSError as error:
        raise RecipeError(f"--output_dir cannot be written: {error}") from error


def write_history(plan: Plan, history: dict, schedule: Callable[[int], Any]) -> None:
    """Writes `history.json`, a list for each quantity with a number for each epoch, and the plot.

    Args:
        plan: What was trained.
        history: Of `Model.fit`.
        schedule: The learning rate at an update.
    """
    write_json(plan.output_dir / "history.json", history)
    updates = range(0, plan.updates, math.ceil(plan.updates / POINTS))
    epochs = range(1, len(history["loss"]) + 1)

    figure = Figure(figsize=(12, 3.5), layout="constrained")
    loss, accuracy, learning_rate = figure.subplots(1, 3)
    for axes, quantity in ((loss, "loss"), (accuracy, "accuracy")):
        axes.plot(epochs, history[quantity], label="training")
        axes.plot(epochs, history[f"val_{quantity}"], label="held out")
        axes.set(xlabel="epoch", ylabel=quantity)
        axes.legend()
    loss.set_yscale("log")
    accuracy.set_ylim(0, 1)
    rates = [float(schedule(update)) for update in updates]
    learning_rate.plot([update / plan.updates_per_epoch for update in updates], rates)
    learning_rate.set(xlabel="epoch", ylabel="learning rate")
    figure.savefig(plan.output_dir / "plot.png", dpi=120)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes JSON, with null for numbers that are not finite: JSON has no other word for them."""
    path.write_text(json.dumps(_finite(value), indent=1) + "\n", encoding="utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def trainable_parameters(model: keras.Model) -> int:
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def convolutions(model: keras.Model) -> int:
    return sum(isinstance(layer, keras.layers.Conv2D) for layer in model.layers)
