"""`fit` on several machines: `strategy` at the start, and `prepare(model)` before `compile`."""

import contextlib
import functools
import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import keras

from keras_lars import _arguments, _cluster, _fit_checks
from keras_lars.loss_scale_optimizer import LossScaleOptimizer

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["WorkerLostError", "prepare", "strategy"]


class WorkerLostError(RuntimeError):
    """Another worker of the cluster was lost, so training cannot continue.

    Let it end the process, and restart all workers. With `keras_lars.callbacks.BackupAndRestore`
    they continue from the last backup.
    """


def strategy(
    startup_seconds: float = 300.0, port: int = _cluster.PORT, heartbeat_seconds: float = 10.0
) -> "tf.distribute.Strategy":
    """The strategy for the cluster this process belongs to, or the one-device default.

    Use it in a script that should run unchanged on one machine, under Slurm's `srun` and on
    Kubernetes. Call it right after the imports: once TensorFlow has created a tensor, a variable, a
    model or a dataset, it cannot join a cluster. A second call returns the same strategy.

    ```python
    if TF_CONFIG is set:             # also with a single worker
        MultiWorkerMirroredStrategy of its tasks "chief" and "worker"
    elif SLURM_STEP_NUM_TASKS > 1:   # srun has started more than one task
        MultiWorkerMirroredStrategy of all tasks of this step
    else:
        tf.distribute.get_strategy()
    ```

    - Each worker uses all GPUs that it can see. On one machine with several GPUs and no cluster,
      use `tf.distribute.MirroredStrategy()` instead: this function returns the strategy of one
      device.
    - If a worker is lost, `WorkerLostError` is raised by code in the strategy's scope, by `fit` of
      a model passed to `prepare`, and by this function once all workers have started.
    - TF_CONFIG may list `"evaluator"` and `"ps"` tasks. They take no part in training; in such a
      task this function raises a `ValueError`.
    - Slurm tasks listen on `port` on each node. Further tasks on the same node use `port + 1`,
      `port + 2` and so on. A batch script without `srun` and a shell of `salloc` are one process,
      whatever SLURM_NTASKS says, and get the default strategy.

    Args:
        startup_seconds: Float, the seconds to wait for the other workers. Defaults to 300.
        port: Integer, the port of the first Slurm task on each node. Jobs that share a node need
            different ports. TF_CONFIG has ports of its own. Defaults to 8888.
        heartbeat_seconds: Float from 1 to 86400. Workers send two heartbeats in this time, and a
            worker that sends none for this long counts as lost. A worker may always be paused for
            half of this time. Use a larger value where machines are paused for longer, for example
            while they migrate to other hardware, and the same value on all workers. Once all
            workers have started, they may join up to 40 seconds plus this time apart. Defaults to
            10.

    Returns:
        A `tf.distribute.Strategy`.

    Raises:
        ValueError: If TF_CONFIG or a Slurm variable is malformed, if they contradict each other, if
            this task is of a type that does not train, or if the backend is not TensorFlow.
        RuntimeError: If TensorFlow has already set up its devices, if the port of this worker is in
            use, if another worker does not start, or if it was given another cluster.
        WorkerLostError: If another worker is lost after it has started.

    Example:

    >>> strategy = keras_lars.multi_worker.strategy()  # here there is no cluster
    >>> with strategy.scope():
    ...     model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    ...     model = keras_lars.multi_worker.prepare(model)
    >>> strategy.num_replicas_in_sync
    1

    Reference:
        - [TF_CONFIG](https://www.tensorflow.org/guide/distributed_training#TF_CONFIG)
        - [srun](https://slurm.schedmd.com/srun.html), "Output environment variables"
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"`strategy` needs the TensorFlow backend. Received: {keras.backend.backend()}"
        )
    startup_seconds = _arguments.number()("startup_seconds", startup_seconds)
    port = _arguments.integer(minimum=1, maximum=65_535)("port", port)
    heartbeat_seconds = _arguments.number(at_most=86400)("heartbeat_seconds", heartbeat_seconds)
    if heartbeat_seconds < 1:  # the network alone may take a fraction of a second
        raise ValueError(
            "`heartbeat_seconds` must be at least 1. "
            f"Received: heartbeat_seconds={heartbeat_seconds:g}"
        )
    cluster = _cluster.find(port, alone=False)
    if cluster is None:
        import tensorflow as tf

        return tf.distribute.get_strategy()
    from keras_lars import _cluster_start, _replicas

    with _lost_workers_named():
        started = _cluster_start.start(cluster, startup_seconds, heartbeat_seconds)
    _name_lost_workers_in_scope(started)
    _replicas.note_started(started)
    return started


def prepare(model: keras.Model) -> keras.Model:
    """Makes `fit`, `evaluate`, `predict` and `save` work under a multi-worker strategy.

    Use it before `compile`, on any Keras model created in the scope of a
    `tf.distribute.MultiWorkerMirroredStrategy`, such as `strategy` returns. Keras 3 alone fails
    there. Also use it with `mixed_float16` under `MirroredStrategy`. It is a no-op where no fix is
    needed (no strategy, one replica, a Keras version without the bug), so a script can always
    call it. It changes this one model, not its class and not Keras.

    - A model is built from the shapes of one replica's batch, and logs are reduced over workers.
    - A replica without samples in the last batch of an epoch adds nothing to the update.
    - `compile` uses `keras_lars.LossScaleOptimizer` in place of Keras's own.
    - `save` and `save_weights` write one file for all workers, which must be given the same path.
      The first worker writes it, and the others do not wait for it.
    - If a worker is lost, the others raise `WorkerLostError`.
    - If Slurm, MPI or TF_CONFIG shows several processes but the strategy has one worker, each
      process would train by itself. A warning says so, once.
    - `fit` warns if `BatchNormalization` would keep more than 5 % of its initial statistics, unless
      `keras_lars.callbacks.RecalibrateStatistics` is used.

    Every worker must make the same calls. Each gets its share of every global batch, and reports
    the metrics of all workers. If the shares are unequal, the mean of each replica has the same
    weight. Each replica keeps its own moving statistics of `BatchNormalization`: see
    `keras_lars.callbacks.AverageStatistics`.

    Args:
        model: A `keras.Model`, created in the scope of the strategy.

    Returns:
        The same model.

    Raises:
        ValueError: If `model` is not a Keras model, if it was created outside of the strategy's
            scope, or if it is compiled with Keras's own `LossScaleOptimizer` for several replicas.
            The last error is also raised by `compile`.

    Example:

    >>> strategy = tf.distribute.MultiWorkerMirroredStrategy()  # of the cluster in TF_CONFIG
    >>> with strategy.scope():
    ...     model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    ...     model = keras_lars.multi_worker.prepare(model)
    ...     model.compile(keras_lars.LARS(), "mse")
    >>> history = model.fit(np.ones((8, 2)), np.ones((8, 1)), batch_size=8, verbose=0)
    >>> list(history.history)
    ['loss']

    Reference:
        - [keras-team/keras issue 20585](https://github.com/keras-team/keras/issues/20585).
    """
    if not isinstance(model, keras.Model):
        raise _arguments.refusal("model", "a `keras.Model`", model)
    if keras.backend.backend() != "tensorflow" or getattr(model, "_is_prepared", False):
        return model
    from keras_lars._keras import trainer

    if trainer.is_of_another_scope(model):
        raise ValueError(
            "`model` must be created in the scope of the strategy that it is prepared in. "
            f"Received: model={model!r}, created outside of the current scope"
        )
    _warn_of_training_alone(model)
    if model.distribute_strategy.num_replicas_in_sync == 1:
        return model
    model._is_prepared = True
    # Created again from the repaired methods, in case the model has been run before.
    model.train_function = model.test_function = model.predict_function = None
    _repair_loss_scaling(model)
    _repair_trainer(model)
    return model


_has_warned = False


def _warn_of_training_alone(model: keras.Model) -> None:
    from keras_lars import _replicas

    global _has_warned
    processes, kind = _cluster.launched()
    if processes > 1 and len(_replicas.workers(model.distribute_strategy)) < 2 and not _has_warned:
        _has_warned = True
        warnings.warn(
            f"Model '{model.name}' trains by itself in each of the {processes} {kind}, because its "
            "strategy has a single worker. To train across all of them, start the script with "
            "`strategy = keras_lars.multi_worker.strategy()` and create the model in its scope. "
            "That needs TF_CONFIG, or `srun`.",
            stacklevel=3,
        )


def _repair_loss_scaling(model: keras.Model) -> None:
    original = model.compile

    @functools.wraps(original)
    def compile(optimizer: object = "rmsprop", *args: object, **kwargs: object) -> None:
        _refuse_own_scaling(optimizer)
        original(optimizer, *args, **kwargs)
        if type(model.optimizer) is keras.optimizers.LossScaleOptimizer:  # added by Keras
            wrapper = LossScaleOptimizer(model.optimizer.inner_optimizer)
            original(wrapper, *args, **kwargs)

    if model.compiled:
        _refuse_own_scaling(model.optimizer)
    model.compile = compile


def _refuse_own_scaling(optimizer: object) -> None:
    if type(optimizer) is keras.optimizers.LossScaleOptimizer:
        raise ValueError(
            "`optimizer` must be a `keras_lars.LossScaleOptimizer` if there are several replicas, "
            "because Keras's own checks only the gradients of one replica. "
            f"Received: optimizer={optimizer!r}"
        )


def _repair_trainer(model: keras.Model) -> None:
    import tensorflow as tf

    from keras_lars import _replicas
    from keras_lars._keras import saving, trainer

    strategy = model.distribute_strategy
    model.fit = _checked(model.fit)
    trainer.repair_empty_batches(model)
    if trainer.has_executions_fault(strategy):
        trainer.repair_executions(model)
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return
    if trainer.has_build_fault(strategy):
        trainer.repair_build(model)
    if trainer.has_logs_fault(strategy):
        trainer.repair_logs(model)
    trainer.repair_endings(model)
    exchanging = ["fit", "evaluate", "predict"]
    if len(_replicas.workers(strategy)) > 1:
        saving.repair_saving(model)
        exchanging += ["save", "save_weights"]
    for name in exchanging:
        setattr(model, name, _naming_lost_workers(getattr(model, name)))


def _checked(fit: Callable[..., Any]) -> Callable[..., Any]:
    """Keras's `fit` with one more callback, because callbacks know the number of batches."""
    signature = inspect.signature(fit)

    @functools.wraps(fit)
    def run(*args: object, **kwargs: object) -> Any:
        given = signature.bind(*args, **kwargs)
        callbacks = given.arguments.get("callbacks")
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            own = keras.tree.flatten(callbacks) if callbacks else []
            given.arguments["callbacks"] = [*own, _fit_checks.FitChecks()]
        return fit(*given.args, **given.kwargs)

    return run


def _cause(message: str) -> str:
    """The lines of TensorFlow's message that say what happened, after those that say where."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    start = next((i for i, line in enumerate(lines) if "aborted by" in line), 0)
    return " ".join(lines[start : start + 2])


@contextlib.contextmanager
def _lost_workers_named() -> Iterator[None]:
    from keras_lars._keras import heartbeat

    try:
        yield
    except heartbeat.LOST as error:
        raise WorkerLostError(
            "Another worker was lost, or could not be reached: this one cannot continue alone. "
            "Restart all workers; with `keras_lars.callbacks.BackupAndRestore` they continue from "
            "the last backup. If this happens again at the same place, read the log of the other "
            f"worker. Received: {_cause(error.message)}"
        ) from error


def _naming_lost_workers(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def run(*args: object, **kwargs: object) -> Any:
        with _lost_workers_named():
            return method(*args, **kwargs)

    return run


def _name_lost_workers_in_scope(strategy: "tf.distribute.Strategy") -> None:
    """Raise `WorkerLostError` in the scope, too, where workers exchange initial values."""
    if "scope" in vars(strategy):
        return
    original = strategy.scope

    @contextlib.contextmanager
    def scope() -> "Iterator[tf.distribute.Strategy]":
        with _lost_workers_named(), original() as opened:
            yield opened

    strategy.scope = scope
