"""Trains a recipe: `train(recipe, execution)`. Reads no flags."""

import contextlib
import functools
import sys
import time
from collections.abc import Iterator

import keras
import tensorflow as tf

import keras_lars
from benchmarks import callbacks, cluster, files, losses, models, optimizers, report, run_folder
from benchmarks.data.data_set import Shard
from benchmarks.plan import Plan, check_replicas, make_plan
from benchmarks.recipe import Execution, Recipe, RecipeError
from keras_lars._files import synchronize


def train(recipe: Recipe, execution: Execution) -> dict:
    """Trains a recipe and writes a run folder.

    Args:
        recipe: What to train.
        execution: How to run it. Its `output_dir` will hold `config.json`, `history.csv`,
            `history.json`, `plot.png`, `model.keras` and `result.json`.

    Returns:
        The content of `result.json`: the accuracy on the held-out images at the end and halfway
        (None if not evaluated), epochs, updates, seconds, and the update at which the training
        diverged, if it did. A finished run is not trained again; its result is returned.

    Raises:
        RecipeError: If the recipe cannot be trained. The folder is then unchanged.
        KeyboardInterrupt: If a signal asked the process to end. The run can be resumed.
    """
    started = time.perf_counter()
    plan = make_plan(recipe, execution)
    return run_folder.result(plan.folder) or train_plan(plan, started)


def train_plan(plan: Plan, started: float, strategy: tf.distribute.Strategy | None = None) -> dict:
    """Like `train`, for a plan whose run is not finished. Only the chief prints and writes files.

    `started` is the `time.perf_counter()` from which `seconds` are counted.
    """
    with compiled_model(plan, strategy) as model:
        if plan.is_chief:
            print(report.summary(plan, model), flush=True)
            if not (plan.folder / "config.json").exists():
                report.write_config(plan, model)
        end = _fit(plan, model)
        if plan.execution.save_model:
            model.save(plan.folder / "model.keras")  # together: only the chief's file is written
            if plan.is_chief:
                synchronize(plan.folder / "model.keras")  # before the backup is deleted
        return _finish(plan, model, end, started) if plan.is_chief else end


def describe(plan: Plan, strategy: tf.distribute.Strategy | None = None) -> None:
    """Prints what `train_plan` would do."""
    with compiled_model(plan, strategy) as model:
        if plan.is_chief:
            print(report.summary(plan, model))


@contextlib.contextmanager
def compiled_model(
    plan: Plan, strategy: tf.distribute.Strategy | None = None
) -> Iterator[keras.Model]:
    """The model of a plan, in a block with its seed, deterministic operations and precision."""
    keras.utils.set_random_seed(plan.recipe.seed)
    tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(plan.recipe.precision)
    try:
        yield _make_model(plan, strategy or tf.distribute.get_strategy())
    finally:
        keras.config.set_dtype_policy("float32")


def _make_model(plan: Plan, strategy: tf.distribute.Strategy) -> keras.Model:
    check_replicas(plan, strategy.num_replicas_in_sync)
    recipe, data_set = plan.recipe, plan.data_set
    with strategy.scope():
        model = models.build(
            recipe.model,
            (recipe.image_size, recipe.image_size, data_set.channels),
            data_set.classes,
            width=recipe.width,
            dropout=recipe.dropout,
            virtual_batch_size=recipe.virtual_batch_size,
            zero_gamma=recipe.zero_gamma,
        )
        model = keras_lars.multi_worker.prepare(model)
        loss = losses.cross_entropy(recipe.label_smoothing)
        model.compile(optimizers.make(plan), loss, metrics=["accuracy"])
    return model


def _fit(plan: Plan, model: keras.Model) -> dict:
    """Trains to the end, from the backup if there is one. Returns whether and when it diverged."""
    shard = cluster.shard(model.distribute_strategy)
    with _folder_refused(plan):
        backup = keras_lars.callbacks.BackupAndRestore(
            plan.folder / run_folder.BACKUP,
            save_freq=plan.execution.backup_every_updates * plan.micro_batches or "epoch",
            delete_checkpoint=False,  # `_finish` deletes it, after the result is written
        )
    resumed_at = backup.epoch * plan.updates_per_epoch + backup.batch // plan.micro_batches
    divergence = callbacks.StopAtDivergence()
    # Several workers receive a signal at different updates. At SIGTERM the backup saves by itself.
    stop = callbacks.Stop(backup if shard.count == 1 else None)
    epochs = backup.epochs(functools.partial(plan.epoch, shard=shard))
    measuring = [*_statistics(plan, model, shard), *_loggers(plan, backup.epoch)]
    with stop.listening(), _folder_refused(plan, stop), _name_unreadable_images(plan, model):
        model.fit(
            plan.data_set.distributed(epochs, model.distribute_strategy),
            epochs=plan.recipe.epochs,
            steps_per_epoch=plan.updates_per_epoch * plan.micro_batches,
            validation_data=plan.data_set.validation(plan.view, plan.micro_batch_size),
            validation_freq=plan.validated_epochs,
            shuffle=False,  # the data are already shuffled
            callbacks=[divergence, *measuring, backup, stop],
            verbose=(1 if sys.stdout.isatty() else 2) if plan.is_chief else 0,
        )
    return {
        "diverged": divergence.update is not None,
        "diverged_at_update": divergence.update,
        "resumed_at_update": resumed_at or None,
    }


@contextlib.contextmanager
def _folder_refused(plan: Plan, stop: callbacks.Stop | None = None) -> Iterator[None]:
    """Reports in one line, before a training run begins, why it cannot use what the folder holds.

    With `stop`, other errors are possible too. Those of the folder name it.
    """
    try:
        yield
    except ValueError as error:
        is_other = stop and (stop.has_begun or str(plan.folder) not in str(error))
        if isinstance(error, RecipeError) or is_other:
            raise
        raise RecipeError(
            "--output_dir must be a folder in which the run can start or continue. Received: "
            f"{plan.folder} ({error})"
        ) from error


@contextlib.contextmanager
def _name_unreadable_images(plan: Plan, model: keras.Model) -> Iterator[None]:
    """If an image cannot be read, replaces TensorFlow's error by one line that names the file."""
    try:
        yield
    except (
        tf.errors.InvalidArgumentError,
        tf.errors.NotFoundError,
        tf.errors.PermissionDeniedError,
    ) as error:
        epoch, update = divmod(callbacks.updates_of(model), plan.updates_per_epoch)
        batch_size = plan.recipe.global_batch_size
        evaluated = plan.execution.evaluate_training_images
        place = (epoch, update * batch_size, batch_size, evaluated)
        if message := plan.data_set.unreadable(plan.view, *place):
            raise RecipeError(message) from error
        raise


def _statistics(plan: Plan, model: keras.Model, shard: Shard) -> list[keras.callbacks.Callback]:
    """The callbacks that correct moving statistics before they are used."""
    # Each replica has its own statistics, and those of one are validated and saved.
    found = [keras_lars.callbacks.AverageStatistics()]
    if report.recalibrates(plan, model):
        # The images of one epoch, in batches of the size that a replica saw in training.
        at_once = plan.micro_batch_size // model.distribute_strategy.num_replicas_in_sync
        images = plan.epoch(tf.constant(0, tf.int64), shard).rebatch(at_once)
        found.append(keras_lars.callbacks.RecalibrateStatistics(images))
    return found


def _loggers(plan: Plan, epoch: int) -> list[keras.callbacks.Callback]:
    """The callbacks that log values and write files; the run starts or resumes at `epoch`."""
    execution, images = plan.execution, None
    if count := execution.evaluate_training_images:
        images = plan.data_set.training_as_held_out(plan.view, plan.micro_batch_size, count)
    loggers = [callbacks.Measure(optimizers.schedule(plan), images, plan.validated_epochs)]
    if not plan.is_chief:
        return loggers
    loggers.append(callbacks.History(plan.folder / "history.csv", epoch, images is not None))
    if every := execution.record_trust_ratios_every:
        loggers.append(keras_lars.callbacks.TrustRatioMonitor(plan.folder, every, verbose=False))
    if execution.tensorboard:
        loggers.append(keras.callbacks.TensorBoard(plan.folder / "tensorboard", write_graph=False))
    return loggers


def _finish(plan: Plan, model: keras.Model, end: dict, started: float) -> dict:
    """Writes the files of a run. The result is last, because it marks the run as finished."""
    accuracy = report.write_history(plan)["val_accuracy"]
    half = plan.recipe.epochs // 2
    reached = 0 < half <= len(accuracy)  # false for one epoch, or after an early divergence
    result = {
        "validation_accuracy": accuracy[-1],
        "validation_accuracy_at_half_time": accuracy[half - 1] if reached else None,
        "epochs": len(accuracy),
        "updates": callbacks.updates_of(model),
        **end,
        "seconds": round(time.perf_counter() - started, 1),
    }
    report.write_config(plan, model)  # again, because the run may have been resumed elsewhere
    files.write_json(plan.folder / "result.json", result)
    run_folder.delete_backup(plan.folder)
    print(report.conclusion(plan, result), flush=True)
    return result
