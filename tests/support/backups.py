"""Trainings that are interrupted and resumed, for the tests of `BackupAndRestore`."""

import contextlib
import dataclasses
import functools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_lars
from keras_lars.callbacks import BackupAndRestore
from support.models import FEATURES, assert_equal, normal

SAMPLES, BATCH, STEPS, EPOCHS = 44, 8, 6, 3  # the last batch of an epoch is a short one
INPUTS, TARGETS = normal(1, (SAMPLES, FEATURES)), normal(2, (SAMPLES, 1))


class InterruptionError(Exception):
    pass


class After(keras.callbacks.Callback):
    """Acts after a number of executions. The default action ends `fit` with an error."""

    def __init__(self, executions, action=None):
        super().__init__()
        self.left = executions
        self.action = action or self.interrupt

    def interrupt(self):
        raise InterruptionError

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            self.action()


class Record(keras.callbacks.Callback):
    """Records the logs of each epoch."""

    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append({"epoch": epoch, **logs})


def falling_rate():
    return keras.optimizers.schedules.PolynomialDecay(0.1, EPOCHS * STEPS, 0.01, power=2.0)


def make_lars(**options):
    return keras_lars.LARS(falling_rate(), trust_coefficient=0.5, **options)


# Most backups below are taken after 6 or 8 batches, which are not multiples of 5: by then,
# gradients have accumulated, averages differ from the weights, and finite steps have been counted.
OPTIMIZERS = {
    "lars": make_lars,
    "accumulation": lambda: make_lars(gradient_accumulation_steps=5),
    # Its last phase begins at the end of the first epoch.
    "growing": lambda: make_lars(gradient_accumulation_steps={0: 1, 2: 2, 4: 5}),
    "average": lambda: make_lars(use_ema=True, ema_overwrite_frequency=5),
    "loss scale": lambda: keras_lars.LossScaleOptimizer(make_lars(), dynamic_growth_steps=5),
    "adam": lambda: keras.optimizers.Adam(0.01),
}


def shuffled(epoch):
    order = tf.random.experimental.stateless_shuffle(tf.range(SAMPLES), seed=tf.stack([7, epoch]))
    slices = tf.data.Dataset.from_tensor_slices(order)
    return slices.batch(BATCH).map(lambda i: (tf.gather(INPUTS, i), tf.gather(TARGETS, i)))


def not_tuned(data):
    """The data without autotuning, whose thread would delay the end of an interrupted `fit`."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)


def make_model(optimizer, **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(FEATURES, activation="tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer, "mse", **{"metrics": ["mae"], **options})
    return model


@functools.cache
def traced(optimizer, strategy, steps_per_execution):
    """A model and its initial state. Tracing a new model each time would take seconds."""
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = make_model(OPTIMIZERS[optimizer](), steps_per_execution=steps_per_execution)
        model.optimizer.build(model.trainable_variables)
    return model, state_of(model)


@dataclasses.dataclass(frozen=True)
class Training:
    optimizer: str = "lars"
    strategy: Any = None
    arrays: bool = False  # with validation, instead of shuffled data
    steps_per_execution: int = 1

    def model(self):
        """The model that all such trainings share, reset to its initial state.

        `backup_script.py`, and tests that restore no model, use models that were never trained.
        """
        model, beginning = traced(self.optimizer, self.strategy, self.steps_per_execution)
        for component, value in zip(components_of(model), beginning, strict=True):
            component.assign(value)
        return model

    def fit(self, model, backup=None, after=None, **options):
        """The logs of each epoch; `backup` and `after` are callbacks."""
        record = Record()
        options = {"epochs": EPOCHS, "shuffle": False, "verbose": 0, **options}
        options["callbacks"] = [each for each in (backup, record, after) if each]
        if self.arrays:
            validation = INPUTS[:BATCH], TARGETS[:BATCH]
            model.fit(
                INPUTS, TARGETS, batch_size=BATCH, **{"validation_data": validation, **options}
            )
        else:
            # Not from the callback, which an uninterrupted training does not have.
            data = tf.data.Dataset.range(tf.int64.max).flat_map(shuffled)
            if backup:
                data = backup.epochs(shuffled)
            model.fit(not_tuned(data), **{"steps_per_epoch": STEPS, **options})
        return record.epochs

    def begin(self, folder, save_freq="epoch", after=None, **options):
        """Resumes from the folder, like a new process; returns the model and its logs."""
        model = self.model()
        return model, self.fit(model, BackupAndRestore(folder, save_freq, **options), after)

    def interrupt(self, folder, save_freq, *executions):
        """Begins once for each number, and is interrupted after that many executions."""
        for count in executions:
            with pytest.raises(InterruptionError):
                self.begin(folder, save_freq, After(count))


def variables_of(model):
    """All variables that the rest of the training depends on."""
    return [*model.variables, *model.optimizer.variables]


def components_of(model):
    """The values of these variables on each replica."""
    return [
        component
        for variable in variables_of(model)
        for component in model.distribute_strategy.experimental_local_results(variable.value)
    ]


def state_of(model):
    return [np.array(component.numpy()) for component in components_of(model)]


@functools.cache
def uninterrupted(training):
    """The state at the end of a training that was not interrupted, and its logs."""
    model = training.model()
    logs = training.fit(model)
    return state_of(model), logs


def assert_as_if_not_interrupted(training, model, logs, first_epoch):
    expected, all_logs = uninterrupted(training)
    assert_equal(state_of(model), expected)
    assert logs == all_logs[first_epoch:]


def position_in(folder):
    backup = BackupAndRestore(folder)
    return backup.epoch, backup.batch


def refusal(call, *arguments, **options):
    with pytest.raises(ValueError) as error:
        call(*arguments, **options)
    return str(error.value)
