"""Scenarios that each worker of a cluster runs, and one process alone for comparison.

A scenario gets the strategy (or `None`) and its own folder, and returns its observations by name:
numbers, or lists of arrays. A cluster starts once for all of its scenarios. Nearly all of their
time goes into tracing and compiling, so each makes as few models as possible.
"""

import contextlib
import os
import signal
import stat
import time

import keras
import numpy as np
import tensorflow as tf

import keras_lars
from keras_lars import _replicas
from keras_lars.callbacks import _termination
from support.models import FEATURES, compiled_functions, exchanges, normal, numbers, sequential

BATCH = 12  # divisible by two workers and by three
INPUTS, TARGETS = normal(1, (120, FEATURES)), normal(2, (120, 1))
WEIGHTS = np.random.default_rng(3).uniform(0.5, 2.0, 120).astype("float32")


def falling_rate():
    return keras.optimizers.schedules.PolynomialDecay(0.5, 20, 0.05, power=2.0)


def make_lars(**options):
    """Not compiled unless that may matter, since compilation takes a second each time."""
    options = {
        "learning_rate": falling_rate(),
        "trust_coefficient": 0.05,
        "jit_compile": False,
        **options,
    }
    return keras_lars.LARS(**options)


def compiled_lars(**options):
    return make_lars(jit_compile="auto", **options)


def functional():
    inputs = keras.Input((FEATURES,))
    left = keras.layers.Dense(FEATURES, activation="tanh")(inputs)
    right = keras.layers.Dense(FEATURES)(inputs)
    return keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Add()([left, right])))


class Subclassed(keras.Model):
    """A model with its own `train_step`, whose logs have rank 0 and 1."""

    def __init__(self):
        super().__init__()
        self.hidden = keras.layers.Dense(FEATURES, activation="tanh")
        self.head = keras.layers.Dense(1)

    def call(self, inputs):
        return self.head(self.hidden(inputs))

    def train_step(self, data):
        logs = super().train_step(data)
        return {**logs, "moments": tf.stack([tf.reduce_mean(data[0]), 3.0])}


def convolutional():
    """A block with all kinds of MobileNet's layers, not 27 of each, which would take long."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(inputs)
    x = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(x))
    x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = keras.layers.Dropout(1e-3)(x)
    x = keras.layers.Conv2D(1, 1)(x)
    return keras.Model(inputs, keras.layers.Flatten()(x))


def normalized(**options):
    return keras.Sequential(
        [
            keras.Input((FEATURES,)),
            # A bias before the normalization would get only rounding errors as a gradient.
            keras.layers.Dense(FEATURES, use_bias=False),
            keras.layers.BatchNormalization(**options),
            keras.layers.Dense(1),
        ]
    )


def make(strategy, build, optimizer=make_lars, prepare=True, **options):
    """A compiled model with the same weights in every process."""
    with strategy.scope() if strategy else contextlib.nullcontext():
        keras.utils.set_random_seed(0)
        model = build()
        if prepare:
            model = keras_lars.multi_worker.prepare(model)
        model.compile(optimizer(), **{"loss": "mse", "metrics": ["mae"], **options})
    return model


def fit(model, epochs=2, **options):
    options = {"x": INPUTS, "y": TARGETS, "batch_size": BATCH, "shuffle": False, **options}
    return model.fit(epochs=epochs, verbose=0, **options).history


def logs_of(history):
    """All logs, as one array for each name."""
    return {f"log_{name}": [np.array(values, "float64")] for name, values in history.items()}


def state_of(model):
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return {
        "weights": numbers(model.trainable_variables),
        "slots": numbers(optimizer.momentums),
        "iterations": numbers([optimizer.iterations]),
    }


def trained(strategy, build, optimizer=make_lars, fit_options=None, **options):
    model = make(strategy, build, optimizer, **options)
    history = fit(model, **(fit_options or {}))
    return model, {**state_of(model), **logs_of(history)}


# Scenarios that equal one process with the same global batch.


def fit_subclassed(strategy, folder):
    """Fit with validation, evaluate and predict; predict also with a short last batch."""
    validation = (INPUTS[:24], TARGETS[:24])
    fit_options = {"validation_data": validation}
    model, seen = trained(strategy, Subclassed, compiled_lars, fit_options)
    results = model.evaluate(INPUTS, TARGETS, BATCH, verbose=0, return_dict=True)
    seen |= {f"evaluated_{name}": [np.float64(value)] for name, value in results.items()}
    seen["predicted"] = [model.predict(INPUTS, batch_size=BATCH, verbose=0)]
    seen["predicted_short"] = [model.predict(INPUTS[:29], batch_size=BATCH, verbose=0)]
    return seen


def clipped_averaged_and_weighted(strategy, folder):
    """A model built from its first batch, with sample weights and a metric that uses them."""

    def optimizer():
        return compiled_lars(
            global_clipnorm=0.25, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3
        )

    options = {"weighted_metrics": ["mse"], "metrics": None}
    fit_options = {"sample_weight": WEIGHTS}
    return trained(strategy, sequential, optimizer, fit_options, **options)[1]


def executions_of_three_steps(strategy, folder):
    """Ten batches, so that the last execution of an epoch is shorter."""
    model, seen = trained(strategy, functional, steps_per_execution=3)
    results = model.evaluate(INPUTS, TARGETS, BATCH, verbose=0, return_dict=True)
    predicted = model.predict(INPUTS, batch_size=BATCH, verbose=0)
    return {**seen, "evaluated": [np.array(list(results.values()))], "predicted": [predicted]}


def batches_of_all():
    return tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).batch(BATCH)


def shared(strategy, folder):
    """The folder that all workers share."""
    return folder.parents[1] if strategy else folder


def with_callbacks(strategy, folder):
    """Callbacks that read logs, change the rate, stop, save and record.

    The number of batches is unknown until the data end. All workers save to the same file, and the
    first one also saves alone.
    """
    path = shared(strategy, folder) / "model.keras"
    is_first = not strategy or strategy.cluster_resolver.task_id == 0
    callbacks = [
        keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=0, min_delta=1e9),
        keras.callbacks.EarlyStopping("loss", patience=2, min_delta=1e9),
        keras.callbacks.CSVLogger(folder / "history.csv"),
        keras.callbacks.ModelCheckpoint(path),
        keras_lars.callbacks.TrustRatioMonitor(folder / "monitor", 3),
        *([keras.callbacks.ModelCheckpoint(folder / "alone.keras")] if is_first else []),
    ]
    data = {"x": batches_of_all().filter(lambda x, y: True), "y": None, "batch_size": None}
    _, seen = trained(
        strategy,
        functional,
        lambda: make_lars(learning_rate=0.5, record_trust_ratios=True),
        fit_options={"epochs": 5, "callbacks": callbacks, **data},
    )
    if strategy:
        _replicas.exchange((0,), strategy)  # the others do not wait while the chief saves
    loaded = keras.saving.load_model(path)
    assert (folder / "alone.keras").exists() == is_first
    record = folder / "monitor" / "trust_ratios.csv"  # only the chief has one
    lines = record.read_text().splitlines()[1:] if record.exists() else []
    rows = [[float(x) for i, x in enumerate(line.split(",")) if i != 2] for line in lines]
    return {**seen, "loaded": numbers(loaded.trainable_variables), "records": rows}


def saved_together(model, folder):
    """The optimizer's sums from one file of all workers, which the chief writes."""
    strategy = model.distribute_strategy
    with strategy.scope():
        model.save(folder / "together.keras")
    _replicas.exchange((0,), strategy)  # the others do not wait for the chief
    state = {}
    keras.saving.load_model(folder / "together.keras").optimizer.save_own_variables(state)
    sums = [value for name, value in sorted(state.items()) if "accumulators" in name]
    return {"saved_sums": sums}


STEPS = 4


def accumulating():
    return compiled_lars(gradient_accumulation_steps=STEPS, clipnorm=0.25, record_noise_scale=True)


def squares_of(model):
    """The square of the mean gradient, as in one process. In a cluster, that of the parts too."""
    squares = model.optimizer._update.squares
    of_parts, of_mean = squares.last.numpy()
    seen = {"squares_of_mean": [of_mean]}
    if squares.replicas > 1:
        seen["squares_of_parts"] = [of_parts, np.array(STEPS * squares.replicas)]
    return seen


def accumulated(strategy, folder):
    """Ten micro-batches per epoch and four per update: two are left over for the next epoch.

    They are kept in another model too, which gets the weights and the saved state in between. All
    workers must read this state, and all of them write it to the same file.
    """
    first = make(strategy, functional, accumulating)
    data = {"x": batches_of_all().repeat(), "y": None, "batch_size": None, "steps_per_epoch": 10}
    history = fit(first, epochs=1, **data)
    seen = {"state_in_between": numbers(first.trainable_variables), **logs_of(history)}
    if strategy and strategy.num_replicas_in_sync > 2:
        fit(first, epochs=1, **data)  # the saved state does not depend on the number of workers
        return {**seen, **state_of(first), **squares_of(first)}
    state = {}
    first.optimizer.save_own_variables(state)
    seen["sums"] = [value for name, value in sorted(state.items()) if "accumulators" in name]
    seen |= saved_together(first, shared(strategy, folder))
    second = make(strategy, functional, accumulating)
    second.set_weights(first.get_weights())
    second.optimizer.load_own_variables(state)
    fit(first, epochs=1, **data)
    fit(second, epochs=1, **data)
    restarted = {f"restarted_{name}": value for name, value in state_of(second).items()}
    return {**seen, **state_of(first), **squares_of(first), **restarted}


def batches_that_grow(strategy, folder):
    """Ten micro-batches: two updates of one, two of three, and two left over."""

    def optimizer():
        return compiled_lars(gradient_accumulation_steps={0: 1, 2: 3}, clipnorm=0.25)

    return trained(strategy, functional, optimizer, {"epochs": 1})[1]


def synchronized_and_recalibrated_statistics(strategy, folder):
    """Training with synchronized statistics, and then with new ones from a pass over all data.

    The first worker has four batches of the data, and the others have eight.
    """
    options = {"synchronized": True} if strategy else {}
    model, seen = trained(strategy, lambda: normalized(**options))
    seen["statistics"] = numbers(model.non_trainable_variables)
    data = INPUTS
    if strategy:
        data = INPUTS[40:] if strategy.cluster_resolver.task_id else INPUTS[:40]
    callbacks = [keras_lars.callbacks.RecalibrateStatistics(data, batch_size=10)]
    fit(model, epochs=1, callbacks=callbacks, validation_data=(INPUTS[:24], TARGETS[:24]))
    return {**seen, **state_of(model), "recalibrated": numbers(model.non_trainable_variables)}


# Scenarios without a process to compare with: all workers must end the same.


def fit_convolutional(strategy, folder):
    options = {"x": normal(4, (BATCH, 8, 8, 3)), "y": TARGETS[:BATCH], "epochs": 1}
    return trained(strategy, convolutional, fit_options=options)[1]


def short_last_batch(strategy, folder):
    """The last batch has one sample, so that all workers but one get none."""
    samples = BATCH * 3 + 1
    return trained(
        strategy, normalized, fit_options={"x": INPUTS[:samples], "y": TARGETS[:samples]}
    )[1]


def unequal_data(strategy):
    """Three batches for the first worker, four for the second, five for the third."""

    def batches(context):
        samples = 4 * (3 + context.input_pipeline_id)
        return tf.data.Dataset.from_tensor_slices((INPUTS[:samples], TARGETS[:samples])).batch(4)

    return strategy.distribute_datasets_from_function(batches)


def unequal_shares(strategy, folder):
    """Moving statistics differ between workers too, until a callback averages them."""
    data = {"x": unequal_data(strategy), "y": None, "batch_size": None}
    model, seen = trained(strategy, normalized, fit_options=data)
    seen["statistics"] = numbers(model.non_trainable_variables)
    callbacks = [keras_lars.callbacks.AverageStatistics()]
    validation = (INPUTS[:24], TARGETS[:24])
    averaged = fit(model, 1, callbacks=callbacks, validation_data=validation, **data)
    seen |= {f"averaged_{name}": values for name, values in logs_of(averaged).items()}
    return {**seen, "averaged_statistics": numbers(model.non_trainable_variables)}


# Loss scaling.


def of_policy(policy, strategy, build):
    keras.config.set_dtype_policy(policy)
    try:
        return make(strategy, build)
    finally:
        keras.config.set_dtype_policy("float32")


def mixed_bfloat16(strategy, folder):
    model = of_policy("mixed_bfloat16", strategy, sequential)
    history = fit(model)
    return {**state_of(model), **logs_of(history)}


def infinite_share(strategy, folder):
    """Batches with an infinity for each worker in turn, and then all batches without one."""
    model = of_policy("mixed_float16", strategy, functional)
    model.fit(INPUTS[:BATCH], TARGETS[:BATCH], BATCH, shuffle=False, verbose=0)
    optimizer = model.optimizer
    assert type(optimizer) is keras_lars.LossScaleOptimizer
    state = [*model.variables, *optimizer.inner_optimizer.variables]
    seen = {"before": numbers(state), "scales": [numbers([optimizer.dynamic_scale])[0]]}
    workers = strategy.num_replicas_in_sync
    for worker in range(workers):
        inputs = INPUTS[:BATCH].copy()
        inputs[worker * BATCH // workers] = np.inf
        model.fit(inputs, TARGETS[:BATCH], BATCH, shuffle=False, verbose=0)
        seen[f"after_{worker}"] = numbers(state)
        seen["scales"] += numbers([optimizer.dynamic_scale])
    history = fit(model)
    return {**seen, "at_last": numbers(state), **state_of(model), **logs_of(history)}


def own_loss_scaling_is_refused(strategy, folder):
    try:
        make(strategy, functional, lambda: keras.optimizers.LossScaleOptimizer(make_lars()))
    except ValueError as error:
        return {"refused": [np.array("keras_lars.LossScaleOptimizer" in str(error))]}
    return {"refused": [np.array(False)]}


# The contents of the graph.


def collectives(strategy, folder):
    """The collectives in one call of `apply`: outside its condition, and in each branch of it."""
    with strategy.scope():
        model = functional()
        optimizer = compiled_lars(gradient_accumulation_steps=2)
        optimizer.build(model.trainable_variables)

    @tf.function
    def step():
        gradients = [tf.ones(v.shape) for v in model.trainable_variables]
        strategy.run(lambda: optimizer.apply(gradients))

    graph = step.get_concrete_function().graph
    return {
        "collectives": [np.array(exchanges(graph))],
        "compiled": [np.array(len(compiled_functions(graph)))],
    }


# Faults of Keras, which a fixed Keras would not show.


def linear():
    return keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(1)])


def faults(strategy, folder):
    from keras_lars._keras import trainer

    stock = make(strategy, linear, prepare=False)
    fault_9 = fails_with(ValueError, "PerReplica", lambda: fit(stock))
    half_repaired = make(strategy, linear, prepare=False)
    trainer.repair_build(half_repaired)
    fault_10 = fails_with(ValueError, "Invalid reduction dimension", lambda: fit(half_repaired))
    several = make(strategy, linear, prepare=False, steps_per_execution=2)
    trainer.repair_build(several)
    trainer.repair_logs(several)
    fault_14 = fails_with(tf.errors.InvalidArgumentError, "placeholder", lambda: fit(several))
    batches = trainer.epoch_iterator(unequal_data(strategy), strategy).num_batches
    found = [trainer.has_build_fault(strategy), trainer.has_logs_fault(strategy)]
    own = trainer.epoch_iterator(batches_of_all(), strategy)
    make(strategy, linear)._maybe_symbolic_build(iterator=own)
    for name, model in (("stock", stock), ("prepared", make(strategy, linear))):
        model.save(folder / f"{name}.keras")
    return {
        "writes_of_each": [np.array([path.stem for path in sorted(folder.iterdir())])],
        "deletes_elsewhere": [np.array("_get_iterator" in vars(own))],
        "failed": [np.array([fault_9, fault_10, fault_14])],
        "found": [np.array(found)],
        "batches_of_each": [np.array(batches)],
    }


def fails_with(error, message, function):
    try:
        function()
    except error as raised:
        return message in str(raised)
    return False


# Recovery.


def with_dropout():
    model = normalized()
    model.add(keras.layers.Dropout(0.5))
    return model


def shuffled(epoch):
    """The batches of an epoch, in an order that depends only on its number."""
    order = tf.random.experimental.stateless_shuffle(
        tf.range(len(INPUTS)), seed=tf.stack([7, epoch])
    )
    indices = tf.data.Dataset.from_tensor_slices(order).batch(BATCH)
    return indices.map(lambda i: (tf.gather(INPUTS, i), tf.gather(TARGETS, i)))


def backed_up(strategy, folder, *callbacks, epochs=2):
    """A training with accumulation that continues from `folder`: its final state, and its logs."""
    backup = keras_lars.callbacks.BackupAndRestore(folder, save_freq=3)
    model = make(strategy, with_dropout, lambda: make_lars(gradient_accumulation_steps=4))
    data = {"x": backup.epochs(shuffled), "y": None, "batch_size": None, "steps_per_epoch": 10}
    history = fit(model, epochs, callbacks=[backup, *callbacks], **data)
    return {"all": numbers([*model.variables, *model.optimizer.variables]), **logs_of(history)}


class Kill(keras.callbacks.Callback):
    """Kills this process after some batches, like the loss of a machine."""

    signal = signal.SIGKILL

    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.signal)


class Terminate(Kill):
    """Sends this process SIGTERM, like a scheduler."""

    signal = signal.SIGTERM


class WaitAt(keras.callbacks.Callback):
    """After some batches, creates one file, and waits until the other exists."""

    def __init__(self, batches, says, waits_for):
        super().__init__()
        self.left, self.says, self.waits_for = batches, says, waits_for

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            self.says.touch()
            while not self.waits_for.exists():
                time.sleep(0.01)


def error_seen(strategy, folder, *callbacks):
    """What a worker observes in a training in which another one is lost."""
    try:
        backed_up(strategy, folder.parents[1] / "backup", *callbacks)
    except keras_lars.multi_worker.WorkerLostError as error:
        return {"error": str(error)}
    return {"error": "none"}


def killed_in_mid_epoch(strategy, folder):
    """The second worker is killed; returns what the first one observes."""
    callbacks = [Kill(8)] if strategy.cluster_resolver.task_id == 1 else []
    return error_seen(strategy, folder, *callbacks)


def killed_in_the_write(strategy, folder):
    """The first worker, the chief, is killed before its second backup is complete."""
    if strategy.cluster_resolver.task_id == 0:
        writes, sync = [], os.fsync

        def fsync(file):
            if stat.S_ISREG(os.fstat(file).st_mode):
                writes.append(file)
            if len(writes) == 2:
                os.truncate(file, 1000)
                os.kill(os.getpid(), signal.SIGKILL)
            sync(file)

        os.fsync = fsync
    return error_seen(strategy, folder)


def killed_by_sigterm(strategy, folder):
    """The second worker receives SIGTERM. Both save first."""
    _termination._SECONDS = 0.0  # they ask each other after each batch
    callbacks = [Terminate(13)] if strategy.cluster_resolver.task_id == 1 else []
    return error_seen(strategy, folder, *callbacks)


def started_again(strategy, folder):
    again = backed_up(strategy, folder.parents[1] / "backup")
    whole = backed_up(strategy, folder.parents[1] / "whole")
    return {"again": again, "whole": whole}


LIKE_ONE_PROCESS = {
    scenario.__name__: scenario
    for scenario in (
        fit_subclassed,
        clipped_averaged_and_weighted,
        executions_of_three_steps,
        with_callbacks,
        accumulated,
        batches_that_grow,
        synchronized_and_recalibrated_statistics,
    )
}

OF_A_CLUSTER = {
    scenario.__name__: scenario
    for scenario in (
        fit_convolutional,
        short_last_batch,
        unequal_shares,
        mixed_bfloat16,
        infinite_share,
        own_loss_scaling_is_refused,
        collectives,
        faults,
    )
}

# Three workers take longer, and differ from two only in shares and sums.
OF_THREE = ["accumulated", "unequal_shares", "infinite_share"]

SCENARIOS = {**LIKE_ONE_PROCESS, **OF_A_CLUSTER}

# Each runs in its own cluster, in this order and in one folder.
KILLED = {
    scenario.__name__: scenario
    for scenario in (
        killed_in_mid_epoch,
        killed_in_the_write,
        killed_by_sigterm,
        started_again,
    )
}
