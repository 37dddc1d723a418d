"""What a training run prints before and after it, and most files of its run folder."""

import dataclasses
import math

import keras
from matplotlib.figure import Figure

from benchmarks import cluster, environment, estimate, files, optimizers, run_folder, words
from benchmarks.plan import Plan
from benchmarks.words import counted

POINTS = 500  # at which the plot shows the learning rate
INITIAL_STATISTICS = 0.05  # largest fraction of them that may remain at the end of a training run


def summary(plan: Plan, model: keras.Model) -> str:
    """A description of the training, one line per topic."""
    recipe, data_set = plan.recipe, plan.data_set
    height, width, channels = model.input_shape[1:]
    devices = cluster.summary(model.distribute_strategy)
    replicas = devices["replicas"]
    convolutions = sum(isinstance(layer, keras.layers.Conv2D) for layer in model.layers)
    rows = {
        "model": f"{recipe.model} of width {recipe.width:g}, "
        f"{counted(convolutions, 'convolution')}, "
        f"{counted(estimate.trainable_parameters(model), 'trainable parameter', spec=',')}, "
        f"{recipe.precision}",
        "data": f"{recipe.data}, {data_set.train_images:,} training and "
        f"{counted(data_set.validation_images, 'held-out image', spec=',')} of "
        f"{height}x{width}x{channels}, {counted(data_set.classes, 'class', 'classes')}, "
        f"augmentation {recipe.augmentation}",
        **({"missing data": data_set.missing} if data_set.missing else {}),
        "batch": f"{counted(recipe.global_batch_size, 'image')}, "
        f"{counted(plan.updates_per_epoch, 'update')} per epoch, "
        f"{counted(recipe.epochs, 'epoch')}, {counted(plan.updates, 'update')}",
        "learning rate": _learning_rate(plan),
        "optimizer": _optimizer(plan),
        "seed": str(recipe.seed),
        "devices": f"{counted(replicas, 'replica')} on "
        f"{counted(devices['workers'], 'worker')}, {devices['strategy']}",
        "micro-batch": f"{counted(plan.micro_batch_size, 'image')}, {plan.micro_batches} per "
        f"update; {_normalization(plan, model, replicas)}",
        "memory": f"about {estimate.memory_bytes(plan, model, replicas) / 1e9:.2g} GB per "
        "replica, without the data",
        "time": f"about {words.duration(estimate.training_seconds(plan, model, replicas))}, "
        "if it never waits for data",
        "output": str(plan.folder),
    }
    return "\n".join(f"{name:<14}{text}" for name, text in rows.items())


def _learning_rate(plan: Plan) -> str:
    recipe = plan.recipe
    ramp = (
        f"{recipe.start_learning_rate:g} to {recipe.learning_rate:g} in "
        f"{counted(plan.warmup_updates, 'update')} with power {recipe.warmup_power:g}, then "
        if plan.warmup_updates
        else f"{recipe.learning_rate:g}, "
    )
    if recipe.decay == "constant":
        return ramp + "constant"
    power = f" of power {recipe.decay_power:g}" if recipe.decay == "polynomial" else ""
    start = "" if recipe.shift_decay else ", counted from update 0"
    return f"{ramp}{recipe.decay} decay{power} to {recipe.end_learning_rate:g}{start}"


def _optimizer(plan: Plan) -> str:
    recipe = plan.recipe
    names = ["momentum", "weight_decay"]
    if recipe.optimizer == "lars":
        names += ["trust_coefficient", "epsilon", "weight_norm_floor"]
    text = ", ".join([recipe.optimizer, *(f"{name} {getattr(recipe, name):g}" for name in names)])
    if recipe.exclude_from_weight_decay != "none":
        text += f", no decay of {recipe.exclude_from_weight_decay}"
    if recipe.optimizer == "lars" and recipe.exclude_from_layer_adaptation != "none":
        text += f", no adaptation of {recipe.exclude_from_layer_adaptation}"
    text += ", nesterov" if recipe.nesterov else ""
    return text + ("" if recipe.momentum_form == "classic" else f", {recipe.momentum_form}")


def _normalization(plan: Plan, model: keras.Model, replicas: int) -> str:
    seen = plan.micro_batch_size // replicas
    samples = min(plan.recipe.virtual_batch_size or seen, seen)
    recomputed = ", statistics recomputed before validation" if recalibrates(plan, model) else ""
    return f"normalization layers, if any, see {counted(samples, 'sample')}{recomputed}"


def recalibrates(plan: Plan, model: keras.Model) -> bool:
    """Whether to recompute the moving statistics: the training is too short to update them well."""
    batches = plan.updates * plan.micro_batches
    return plan.execution.recalibrate_statistics and any(
        layer.momentum**batches > INITIAL_STATISTICS
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    )


def conclusion(plan: Plan, result: dict) -> str:
    """The result in one line."""
    if result["diverged"]:
        return (
            f"diverged: the loss was not finite at update {result['diverged_at_update']} of "
            f"{plan.updates}, in epoch {result['epochs']} of {plan.recipe.epochs}; "
            f"see {plan.folder}"
        )
    return (
        f"{result['validation_accuracy']:.1%} accuracy on the held-out images after "
        f"{counted(plan.updates, 'update')} in {result['seconds']:.0f} s; see {plan.folder}"
    )


def write_config(plan: Plan, model: keras.Model) -> None:
    """Writes `config.json`. Creates the run folder if there is none."""
    config = {
        "recipe": dataclasses.asdict(plan.recipe),
        "micro_batch_size": plan.execution.micro_batch_size,
        "statistics_taken_anew": recalibrates(plan, model),
        "updates_per_epoch": plan.updates_per_epoch,
        "updates": plan.updates,
        "warmup_updates": plan.warmup_updates,
        "trainable_parameters": estimate.trainable_parameters(model),
        "distribution": cluster.summary(model.distribute_strategy),
        **environment.record("tensorflow", distributions=["scikit-learn"]),
    }
    plan.folder.mkdir(parents=True, exist_ok=True)
    files.write_json(plan.folder / "config.json", config)


def write_history(plan: Plan) -> dict:
    """Writes `history.json` from `history.csv`, and the plot, which shows the learning rates too.

    Returns:
        For each quantity its values by epoch, with None for those that are missing or not finite.
    """
    rows = run_folder.read_table(plan.folder / "history.csv")
    names = [name for name in rows[0] if name != "epoch"]
    history = {name: [row[name] for row in rows] for name in names}
    files.write_json(plan.folder / "history.json", history)
    _plot(plan, rows)
    return history


def _plot(plan: Plan, rows: list[dict]) -> None:
    figure = Figure(figsize=(12, 3.5), layout="constrained")
    loss, accuracy, learning_rate = figure.subplots(1, 3)
    for axes, quantity in ((loss, "loss"), (accuracy, "accuracy")):
        for name, label in ((quantity, "training"), (f"val_{quantity}", "held out")):
            points = [(row["epoch"] + 1, row[name]) for row in rows if row[name] is not None]
            axes.plot(*zip(*points), label=label)
        axes.set(xlabel="epoch", ylabel=quantity)
        axes.legend()
    loss.set_yscale("log")
    accuracy.set_ylim(0, 1)
    updates = range(0, plan.updates, math.ceil(plan.updates / POINTS))
    schedule = optimizers.schedule(plan)
    rates = [float(schedule(update)) for update in updates]
    learning_rate.plot([update / plan.updates_per_epoch for update in updates], rates)
    learning_rate.set(xlabel="epoch", ylabel="learning rate")
    figure.savefig(plan.folder / "plot.png", dpi=120)
