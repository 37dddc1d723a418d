"""Repairs `fit` and `evaluate` of one model (faults 9, 10, 12 to 14, 18); starts `fit` midway."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_lars import _replicas
from keras_lars._keras.iterators import delete_elsewhere
from keras_lars._keras.layers import all_layers


def is_of_another_scope(model: keras.Model) -> bool:
    """Whether a strategy's scope is open in which the model was not created."""
    return tf.distribute.has_strategy() and (
        model._distribute_strategy is not tf.distribute.get_strategy()
    )


def has_build_fault(strategy: tf.distribute.Strategy) -> bool:
    """Whether Keras fails to build a model from a distributed batch (fault 9)."""

    class Model(keras.Model):
        def _symbolic_build(self, data_batch: object) -> None:
            pass

    batches = tf.data.Dataset.from_tensors((tf.zeros(1), tf.zeros(1))).repeat(
        strategy.num_replicas_in_sync
    )
    with strategy.scope():
        model = Model()
    try:
        model._maybe_symbolic_build(iterator=epoch_iterator(batches, strategy))
    except ValueError:
        return True
    return False


def has_logs_fault(strategy: tf.distribute.Strategy) -> bool:
    """Whether Keras fails to reduce scalar logs over workers (fault 10)."""
    from keras.src.backend.tensorflow.trainer import reduce_per_replica

    @tf.function
    def reduce_logs() -> Any:
        logs = strategy.run(lambda: {"loss": tf.constant(0.0)})
        return reduce_per_replica(logs, strategy, reduction="auto")

    try:
        reduce_logs.get_concrete_function()  # traced, and not run
    except ValueError:
        return True
    return False


def has_executions_fault(strategy: tf.distribute.Strategy) -> bool:
    """Whether TensorFlow fails to exchange values in a loop of the graph (fault 14)."""
    on_cpus = all("CPU" in device.upper() for device in strategy.extended.worker_devices)
    return on_cpus or isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def repair_build(model: keras.Model) -> None:
    """Make Keras build the model from the shapes of one replica's batch (fault 9)."""
    original = model._maybe_symbolic_build
    strategy = model.distribute_strategy

    def build(iterator: Any = None, data_batch: object = None) -> None:
        if iterator is not None:
            _agree_on_batches(iterator, strategy)
            data_batch = keras.tree.map_structure(
                lambda value: strategy.experimental_local_results(value)[0], _first_batch(iterator)
            )
        original(data_batch=data_batch)

    model._maybe_symbolic_build = build


def repair_endings(model: keras.Model) -> None:
    """Keep `fit` and `evaluate` from waiting until their data are deleted (fault 18)."""
    original = model._maybe_symbolic_build

    def build(iterator: Any = None, data_batch: object = None) -> None:
        if iterator is not None:
            delete_elsewhere(iterator)
        original(iterator=iterator, data_batch=data_batch)

    model._maybe_symbolic_build = build


def repair_logs(model: keras.Model) -> None:
    """Give logs an axis that Keras can reduce them along (fault 10)."""

    def with_an_axis(step: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(step)
        def run(*args: object, **kwargs: object) -> Any:
            return keras.tree.map_structure(lambda log: log[tf.newaxis], step(*args, **kwargs))

        return run

    model.train_step = with_an_axis(model.train_step)
    model.test_step = with_an_axis(model.test_step)


def repair_executions(model: keras.Model) -> None:
    """Run the steps of an execution one by one, not in a loop of the graph (fault 14)."""
    for kind in ("train", "test"):
        make = getattr(model, f"make_{kind}_function")
        repaired = functools.partial(_make_stepwise, model, make, f"{kind}_function")
        setattr(model, f"make_{kind}_function", repaired)


def _make_stepwise(
    model: keras.Model, make: Callable[..., None], name: str, force: bool = False
) -> None:
    if getattr(model, name) is not None and not force:
        return
    make(force=force)
    function = getattr(model, name)

    def execute(iterator: Any) -> Any:
        steps, model.steps_per_execution = model.steps_per_execution, 1
        is_one_batch = not isinstance(iterator, tf.distribute.DistributedIterator)
        try:
            logs = function(iterator)
            for _ in range(0 if is_one_batch else steps - 1):
                try:
                    logs = function(iterator)
                except (StopIteration, tf.errors.OutOfRangeError):
                    break  # the last execution of an epoch may be a short one
        finally:
            model.steps_per_execution = steps
        return logs

    setattr(model, name, execute)


def repair_empty_batches(model: keras.Model) -> None:
    """Make replicas without a sample keep their moving statistics (fault 12)."""

    def with_repaired_layers(step: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(step)
        def run(*args: object, **kwargs: object) -> Any:
            # Repaired when the step is traced: then layers exist that a subclass creates late.
            for layer in all_layers(model):
                if isinstance(layer, keras.layers.BatchNormalization):
                    _repair_empty_moments(layer)
            return step(*args, **kwargs)

        return run

    model.train_step = with_repaired_layers(model.train_step)


def _repair_empty_moments(layer: keras.layers.BatchNormalization) -> None:
    if layer.synchronized or "_moments" in vars(layer):
        return
    original = layer._moments

    def moments(inputs: tf.Tensor, mask: tf.Tensor | None) -> tuple[tf.Tensor, ...]:
        is_empty = tf.equal(tf.size(inputs), 0)
        known = (layer.moving_mean, layer.moving_variance)
        return tuple(
            tf.where(is_empty, tf.cast(tf.convert_to_tensor(old), new.dtype), new)
            for old, new in zip(known, original(inputs, mask))
        )

    layer._moments = moments


def _agree_on_batches(iterator: Any, strategy: tf.distribute.Strategy) -> None:
    """End an epoch when all workers' data end, not after each worker's own count (fault 13)."""
    counts = _replicas.exchange((iterator.num_batches or 0,), strategy)
    if len(set(counts)) == 1 or "reset" in vars(iterator):
        return
    original = iterator.reset

    def reset() -> None:
        original()
        iterator._num_batches = None

    iterator.reset = reset


def epoch_iterator(batches: Any, strategy: tf.distribute.Strategy) -> Any:
    """The iterator with which `fit` reads its data."""
    from keras.src.backend.tensorflow.trainer import TFEpochIterator

    return TFEpochIterator(x=batches, distribute_strategy=strategy)


def _first_batch(iterator: Iterator[Any]) -> Any:
    for *_, batches in iterator:
        return next(batches)
    raise ValueError("The data must hold at least one batch. Received: none")


def start_at(model: keras.Model, epoch: int | None) -> None:
    """Make the `fit` that has just begun start at this epoch. `None` resets it for the next one."""
    model._initial_epoch = epoch


def skip_executions(model: keras.Model, executions: int, restore: Callable[[], None]) -> None:
    """Make the `fit` that has just begun read its first batches without training on them.

    Args:
        model: The model.
        executions: The number of executions, each of `steps_per_execution` batches.
        restore: Called without arguments once the metrics, which `fit` builds late, are built.
    """
    train_function = model.train_function
    skipped = 0

    def skip(iterator: Any) -> dict[str, Any]:
        nonlocal skipped
        batch = _next_execution(iterator, model.steps_per_execution)
        if skipped == 0:
            if model.distribute_strategy.num_replicas_in_sync == 1:
                model._symbolic_build(data_batch=batch)  # under a strategy, `fit` has done it
            restore()
        skipped += 1
        if skipped == executions:
            model.train_function = train_function
        return model.get_metrics_result()

    model.train_function = skip
    model.train_function.train_function = train_function


def stop_skipping(model: keras.Model) -> None:
    """Undo `skip_executions`, in case `fit` ended before all were skipped."""
    model.train_function = getattr(model.train_function, "train_function", model.train_function)


def _next_execution(iterator: Iterator[Any], steps: int) -> Any:
    first = next(iterator)
    for _ in range(steps - 1):
        next(iterator, None)  # the last execution of an epoch may be a short one
    return first
