"""A backup of some replicas goes on with another number of them, where that is asked for."""

import functools
import os
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.backups import (
    INPUTS,
    TARGETS,
    InterruptionError,
    Training,
    not_tuned,
    position_in,
    refusal,
    state_of,
    variables_of,
)
from support.helpers import run_command

from keras_lars.callbacks import BackupAndRestore, _backup_state

pytestmark = pytest.mark.slow

FOUR = os.environ.get("KERAS_LARS_TEST_REPLICAS") == "4"  # in the process of the last test
BATCH = 12  # divided by one, two, three and four replicas
STEPS, EPOCHS = 3, 3  # fewer than the micro-batches of an update, so that some always wait


def rows_of(model):
    """By variable, the values on each replica."""
    values = iter(state_of(model))
    replicas = model.distribute_strategy.num_replicas_in_sync
    names = [f"{i} {variable.path}" for i, variable in enumerate(variables_of(model))]
    return {
        re.sub(r"_\d+", "", name): np.stack([next(values) for _ in range(replicas)])
        for name in names
    }


class Look(keras.callbacks.Callback):
    """Sees what a training begins with, and what it has at the end of each epoch."""

    def __init__(self, stop_after):
        super().__init__()
        self.left = stop_after
        self.epochs = []

    def on_train_begin(self, logs=None):
        self.beginning = rows_of(self.model)

    def on_epoch_end(self, epoch, logs=None):
        self.end = rows_of(self.model)
        self.epochs.append(epoch)

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise InterruptionError


@functools.cache
def strategy_of(replicas):
    """One that is kept, and without collectives: those of several in a process collide."""
    if replicas == 1:
        return None
    devices = [f"CPU:{i}" for i in range(replicas)]
    return tf.distribute.MirroredStrategy(devices, tf.distribute.ReductionToOneDevice())


def begin(replicas, folder, stop_after=100, allow_other_replicas=True):
    """A process with so many replicas: what it sees, and how it ends."""
    model = Training("accumulation", strategy_of(replicas)).model()
    look = Look(stop_after)
    backup = BackupAndRestore(folder, 2, allow_other_replicas=allow_other_replicas)
    batches = tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).batch(BATCH).take(STEPS)
    options = {"epochs": EPOCHS, "callbacks": [backup, look], "shuffle": False, "verbose": 0}
    if stop_after < 100:
        with pytest.raises(InterruptionError):
            model.fit(not_tuned(batches), **options)
    else:
        model.fit(not_tuned(batches), **options)
    return look


def assert_means_the_same(now, before):
    assert list(now) == list(before)
    kinds = set()
    for path, rows in before.items():
        if "accumulator" in path:
            kinds.add("accumulator")
            assert np.any(rows)
            np.testing.assert_allclose(now[path].sum(0), rows.sum(0), rtol=1e-6, atol=1e-7)
        elif "moving" in path:
            kinds.add("statistic")
            mean = rows.mean(0, keepdims=True, dtype=np.float64)
            np.testing.assert_allclose(now[path], np.repeat(mean, len(now[path]), 0), rtol=1e-6)
        else:  # to the bit: weights, velocities, the iteration, seeds
            kinds.add(path.split("_")[-1].split("/")[-1])
            np.testing.assert_array_equal(now[path], np.repeat(rows[:1], len(now[path]), 0))
    assert {"accumulator", "statistic", "iteration", "kernel"} <= kinds


@pytest.mark.parametrize("numbers", [(3, 2, 4) if FOUR else (1, 2, 1)], ids=str)
def test_it_goes_on_from_the_last_whole_epoch(tmp_path, numbers):
    first, second, third = numbers
    lost = begin(first, tmp_path, stop_after=5)
    assert position_in(tmp_path) == (1, 1)
    with pytest.warns(match=f"by {first} replica.*, and continues with {second} from the"):
        found = begin(second, tmp_path, stop_after=1)
    assert_means_the_same(found.beginning, lost.end)

    # That one was lost before it saved anything. The next one is lost in the midst of epoch 2.
    with pytest.warns(
        match="from the end of epoch 1. Accumulated .* will not be, bit for bit, those of a"
    ):
        lost = begin(second, tmp_path, stop_after=5)
    assert_means_the_same(lost.beginning, found.beginning)
    assert position_in(tmp_path) == (2, 1)
    with pytest.warns(match=f"by {second} replica.* continues with {third} from the .* epoch 2"):
        found = begin(third, tmp_path)
    assert_means_the_same(found.beginning, lost.end)
    assert found.epochs == [2]
    (iterations,) = (rows for path, rows in found.end.items() if "iteration" in path)
    assert set(iterations) == {STEPS * EPOCHS}  # of micro-batches


def test_in_the_first_epoch_it_begins_afresh(tmp_path):
    fresh = begin(2, tmp_path / "empty", stop_after=1)
    begin(1, tmp_path, stop_after=2)
    assert position_in(tmp_path) == (0, 2)
    with pytest.warns(match="from the beginning. Accumulated"):
        found = begin(2, tmp_path, stop_after=4)
    for path, rows in fresh.beginning.items():
        np.testing.assert_array_equal(found.beginning[path], rows)
    assert found.epochs == [0]


def test_without_a_whole_epoch_it_is_refused(tmp_path):
    """One replica keeps none unless it is told to."""
    begin(1, tmp_path, stop_after=5, allow_other_replicas=False)
    assert refusal(begin, 2, tmp_path) == (
        "Only a backup of a whole epoch can be restored by a number of replicas other than the 1 "
        "that wrote it: first continue with that many, with `allow_other_replicas=True`, past the "
        f"end of an epoch. Received: `{tmp_path / 'backup.npz'}`, after 1 batch of epoch 2, "
        "without a backup of a whole epoch beside it"
    )
    assert not (tmp_path / "epoch.npz").exists()
    begin(1, tmp_path, stop_after=4)  # past the end of the epoch
    with pytest.warns(match="continues with 2 from the end of epoch 2"):
        begin(2, tmp_path, stop_after=1)


def test_whole_epochs_of_several_replicas_are_kept_unasked(tmp_path):
    """Who has lost a machine has not asked for it before."""
    begin(2, tmp_path, stop_after=5, allow_other_replicas=False)
    with pytest.warns(match="continues with 1 from the end of epoch 1"):
        begin(1, tmp_path, stop_after=1)


def test_kinds_of_values():
    def variable(dtype, aggregation):
        return tf.Variable(tf.zeros(2, dtype), aggregation=aggregation)

    rows = np.array([[1, 2], [3, 4], [5, 9]])
    total, mean = tf.VariableAggregation.SUM, tf.VariableAggregation.MEAN
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        dtype = tf.as_dtype(dtype)
        values = rows.astype(dtype.as_numpy_dtype)
        for aggregation, expected in ((total, [[9, 15], [0, 0]]), (mean, [[3, 5], [3, 5]])):
            found = _backup_state.for_replicas(variable(dtype, aggregation), values, 2)
            assert found.dtype == values.dtype
            np.testing.assert_array_equal(found.astype("float64"), expected)
    for dtype in ("int32", "uint32", "int64"):
        values = rows.astype(dtype)
        found = _backup_state.for_replicas(variable(dtype, mean), values, 2)
        assert found.dtype == values.dtype
        np.testing.assert_array_equal(found, [[1, 2], [1, 2]])


@pytest.mark.skipif(FOUR, reason="this is the process of that test")
def test_three_two_and_four_replicas():
    done = run_command(
        *("pytest", "-q", "-p", "no:cacheprovider", "-k", "last_whole_epoch"),
        str(pathlib.Path(__file__)),
        KERAS_LARS_TEST_REPLICAS="4",
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "1 passed" in done.stdout
