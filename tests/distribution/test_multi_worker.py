"""Real processes under MultiWorkerMirroredStrategy do what one process does with the same batch.

One cluster of two workers and one of three run all scenarios; each test looks at one of them.
"""

import json
import pickle
import threading
import time
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.cluster_scenarios import (
    BATCH,
    INPUTS,
    LIKE_ONE_PROCESS,
    OF_THREE,
    SCENARIOS,
    TARGETS,
    fit,
    functional,
    make,
    make_lars,
    state_of,
)
from support.helpers import run_command
from support.models import assert_close, assert_equal

import keras_lars
from keras_lars._keras import iterators, trainer

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def clusters(tmp_path_factory):
    """What each worker of the cluster of so many saw, by scenario: run when first asked for."""
    seen = {}

    def of(workers):
        if workers not in seen:
            folder = tmp_path_factory.mktemp(f"workers_{workers}")
            names = SCENARIOS if workers == 2 else OF_THREE
            done = run_command("support.cluster_script", folder, workers, *names)
            last = done.stdout.splitlines()[-1:]
            assert last == [json.dumps([0] * workers)], (done.stdout + done.stderr)[-6000:]
            seen[workers] = {
                name: [
                    pickle.loads((folder / str(i) / f"{name}.pickle").read_bytes())
                    for i in range(workers)
                ]
                for name in names
            }
        return seen[workers]

    return of


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process saw of a scenario, which does not depend on the number of workers."""
    seen = {}

    def of(name):
        if name not in seen:
            seen[name] = LIKE_ONE_PROCESS[name](None, tmp_path_factory.mktemp(name))
        return seen[name]

    return of


def cases(names):
    """Each scenario with two workers, and some also with three."""
    return pytest.mark.parametrize(
        ("workers", "name"),
        [(2, name) for name in names] + [(3, name) for name in OF_THREE if name in names],
    )


@cases(SCENARIOS)
def test_workers_end_equal(clusters, workers, name):
    """Weights and slots bit for bit, and the numbers that are reported."""
    first, *others = clusters(workers)[name]
    for other in others:
        assert other.keys() == first.keys()
        for key in first:
            if key in ("statistics", "batches_of_each", "records", "writes_of_each"):
                continue  # each worker's own, unless a test says otherwise
            assert_equal(other[key], first[key])


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@cases(LIKE_ONE_PROCESS)
def test_a_cluster_equals_one_process(clusters, alone, workers, name):
    cluster = clusters(workers)[name][0]
    for key, values in alone(name).items():
        if key not in cluster:
            assert workers == 3, key  # they do less
            continue
        for actual, expected in zip(cluster[key], values, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5, err_msg=key)


def test_only_the_chief_records(clusters):
    chief, *others = [worker["records"] for worker in clusters(2)["with_callbacks"]]
    # Ten updates an epoch, until a loss that does not fall by 1e9 ends it after the third.
    assert [row[0] for row in chief[::6]] == [1, 4, 7, 10, 13, 16, 19, 22, 25, 28]
    assert others == [[]]


@pytest.mark.parametrize("name", ["infinite_share", "mixed_bfloat16"])
def test_mixed_precision_trains(clusters, name):
    seen = clusters(2)[name][0]
    assert {slot.dtype for slot in seen["slots"]} == {np.dtype("float32")}
    (loss,) = seen["log_loss"]
    assert loss[1] < loss[0]


def test_training_changes_the_weights():
    # Otherwise the comparisons above would hold for whoever does nothing.
    model = make(None, functional)
    before = model.get_weights()
    fit(model)
    assert all(np.max(np.abs(a - b)) > 1e-2 for a, b in zip(model.get_weights(), before))


def test_accumulation_equals_a_larger_batch(clusters):
    accumulated = clusters(2)["accumulated"][0]
    # Twenty micro-batches in two epochs are five updates, the third of them across the epochs.
    assert accumulated["iterations"][0] == 5
    whole = make(None, functional, lambda: make_lars(clipnorm=0.25))
    x, y = np.concatenate([INPUTS, INPUTS]), np.concatenate([TARGETS, TARGETS])
    fit(whole, epochs=1, batch_size=48, x=x, y=y)
    for key, values in state_of(whole).items():
        assert_close(accumulated[key], values, 1e-5)


def test_a_restart_in_mid_accumulation_loses_nothing(clusters):
    seen = clusters(2)["accumulated"][0]
    assert any(np.any(value) for value in seen["sums"])  # equal to one process, see above
    for key in ("weights", "slots", "iterations"):
        assert_close(seen[f"restarted_{key}"], seen[key], 1e-6)


@pytest.mark.parametrize("workers", [2, 3])
def test_squares_are_of_the_parts_of_all_workers(clusters, workers):
    """Those of the mean are equal to one process, see above; the parts are noisier than it."""
    seen = clusters(workers)["accumulated"][0]
    of_parts, parts = seen["squares_of_parts"]
    assert parts == 4 * workers
    assert np.all(of_parts > seen["squares_of_mean"][0])


def test_one_exchange_an_update(clusters):
    seen = clusters(2)["collectives"][0]
    outside, in_update, in_accumulation = seen["collectives"][0]
    # All gradients go in one, packed together.
    assert (outside, in_update, in_accumulation) == (0, 1, 0)
    assert seen["compiled"][0] > 0


@cases(["infinite_share"])
def test_an_infinity_on_one_worker_changes_nothing_but_the_scale(clusters, workers, name):
    for seen in clusters(workers)[name]:
        for worker in range(workers):
            assert_equal(seen[f"after_{worker}"], seen["before"])
        scales = [scale.item() for scale in seen["scales"]]
        assert scales == [scales[0] / 2**i for i in range(workers + 1)]
        assert any(np.any(a != b) for a, b in zip(seen["at_last"], seen["before"]))


def test_own_loss_scaling_is_refused(clusters):
    assert clusters(2)["own_loss_scaling_is_refused"][0]["refused"][0]


@cases(["short_last_batch", "unequal_shares"])
def test_unequal_shares_train(clusters, workers, name):
    seen = clusters(workers)[name][0]
    assert all(np.all(np.isfinite(weight)) for weight in seen["weights"])
    # Two epochs of four batches, or of as many as the worker has that has most.
    batches = 4 if name == "short_last_batch" else 2 + workers
    assert seen["iterations"][0] == 2 * batches


@cases(["unequal_shares"])
def test_statistics_are_each_workers_own_until_they_are_averaged(clusters, workers, name):
    first, *others = clusters(workers)[name]
    for other in others:
        assert any(np.any(a != b) for a, b in zip(first["statistics"], other["statistics"]))
        assert_equal(other["averaged_statistics"], first["averaged_statistics"])
    assert any(np.any(a != b) for a, b in zip(first["statistics"], first["averaged_statistics"]))


def test_synchronized_statistics_are_equal(clusters):
    name = "synchronized_and_recalibrated_statistics"
    first, second = (seen["statistics"] for seen in clusters(2)[name])
    assert_equal(first, second)


def test_9_10_and_14_keras_fails_under_several_workers(clusters):
    seen = clusters(2)["faults"][0]
    assert seen["failed"][0].tolist() == [True, True, True]
    assert seen["found"][0].tolist() == [True, True]


def test_13_each_worker_counts_its_own_batches(clusters):
    counts = [seen["batches_of_each"][0] for seen in clusters(2)["faults"]]
    assert counts == [3, 4]  # and not the same number, or none, on both


def test_20_each_worker_writes_a_file_of_its_own(clusters):
    first, second = [seen["writes_of_each"][0].tolist() for seen in clusters(2)["faults"]]
    assert first == ["prepared", "stock"]
    assert second == ["stock"]  # and not the other, which the first has written


def test_all_workers_save_to_one_file(clusters):
    seen = clusters(2)["accumulated"][1]
    assert_equal(seen["saved_sums"], seen["sums"])


@pytest.mark.parametrize("name", ["UnavailableError", "AbortedError", "DeadlineExceededError"])
def test_what_tensorflow_raises_when_a_worker_is_lost(name):
    def fit():
        raise getattr(tf.errors, name)(None, None, "where\nCollective ops is aborted by: a\nb\nc")

    with pytest.raises(
        keras_lars.multi_worker.WorkerLostError, match=r"log of the other.*by: a b$"
    ) as caught:
        keras_lars.multi_worker._naming_lost_workers(fit)()
    assert type(caught.value.__cause__).__name__ == name


def test_a_loss_in_the_scope_of_the_strategy():
    """Where models are made: what TensorFlow raises there is seen in a cluster only."""
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    for _ in range(2):  # a second call of `strategy()` returns the same one
        keras_lars.multi_worker._name_lost_workers_in_scope(strategy)
    with strategy.scope() as opened:
        assert opened is tf.distribute.get_strategy() is strategy
    with pytest.raises(keras_lars.multi_worker.WorkerLostError, match="gone"), strategy.scope():
        raise tf.errors.UnavailableError(None, None, "gone")
    assert tf.distribute.get_strategy() is not strategy


def test_what_else_tensorflow_raises_is_left_as_it_is():
    def fit():
        raise tf.errors.InvalidArgumentError(None, None, "a wrong shape")

    with pytest.raises(tf.errors.InvalidArgumentError, match="a wrong shape"):
        keras_lars.multi_worker._naming_lost_workers(fit)()


def test_16_iterators_are_deleted_by_a_thread_of_their_own(strategy):
    """Not by the one that trains, which would wait for it."""
    data = tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).batch(BATCH)
    epochs = trainer.epoch_iterator(data, strategy)
    iterators.delete_elsewhere(epochs)
    iterators.delete_elsewhere(epochs)  # as in `evaluate` within `fit`, and no more than once
    iterator = iter(epochs._get_iterator())
    next(iterator)
    deleted_by = []
    resources = tf.nest.flatten(iterator, expand_composites=True)
    count = len(resources)
    while resources:
        weakref.finalize(resources.pop(), lambda: deleted_by.append(threading.current_thread()))
    assert (count > 0, deleted_by) == (True, [])
    del iterator
    until = time.monotonic() + 120
    while len(deleted_by) < count:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert threading.current_thread() not in deleted_by


def test_prepared_models_have_their_iterators_deleted_so(clusters):
    # Only under several workers: seen by what `prepare` has made of the model there.
    assert [seen["deletes_elsewhere"][0].item() for seen in clusters(2)["faults"]] == [True, True]


# Where Keras does without, nothing changes.


def test_prepare_changes_nothing_on_one_device():
    model = functional()
    before = dict(vars(model))
    assert keras_lars.multi_worker.prepare(model) is model
    assert vars(model) == before


def test_prepare_changes_neither_the_class_nor_keras(strategy):
    class Mine(keras.Sequential):
        pass

    classes = (Mine, keras.Model, keras.Sequential, keras.layers.BatchNormalization)
    before = [dict(vars(one)) for one in classes]
    with strategy.scope():
        model = keras_lars.multi_worker.prepare(Mine([keras.Input((2,)), keras.layers.Dense(1)]))
    assert type(model) is Mine
    assert [dict(vars(one)) for one in classes] == before


def test_prepare_twice_is_prepare_once(strategy):
    with strategy.scope():
        model = keras_lars.multi_worker.prepare(functional())
        before = dict(vars(model))
        keras_lars.multi_worker.prepare(model)
    assert vars(model) == before


@pytest.mark.parametrize("model", [None, "model", keras.layers.Dense(1)], ids=str)
def test_prepare_wants_a_model(model):
    with pytest.raises(ValueError, match=r"`model` must be a `keras\.Model`. Received: model="):
        keras_lars.multi_worker.prepare(model)


def test_prepare_wants_a_model_of_the_scope(strategy):
    model = functional()
    with strategy.scope(), pytest.raises(ValueError, match="in the scope of the strategy"):
        keras_lars.multi_worker.prepare(model)


def test_a_prepared_model_is_saved_like_any_other(strategy, tmp_path):
    with strategy.scope():
        model = keras_lars.multi_worker.prepare(functional())
        model.compile(make_lars(), "mse")
    fit(model, epochs=1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_equal(loaded.get_weights(), model.get_weights())
    assert type(loaded) is type(model)
    assert "fit" not in vars(loaded)


def test_parameter_servers_are_refused():
    done = run_command("support.parameter_server_script")
    assert "Received: ParameterServerStrategy" in done.stdout, done.stderr[-4000:]
