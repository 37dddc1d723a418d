"""Real processes under MultiWorkerMirroredStrategy do what one process does with the same batch.

One cluster of two workers and one of three run all scenarios; each test looks at one of them.
"""

import pathlib
import pickle
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from cluster_scenarios import (
    LIKE_ONE_PROCESS,
    OF_THREE,
    SCENARIOS,
    accumulating,
    fit,
    functional,
    make,
    make_lars,
    state_of,
)
from helpers import environment, run_python
from models import assert_close, assert_equal

import keras_lars

SCRIPT = pathlib.Path(__file__).with_name("cluster_script.py")
# A safety net for a cluster that hangs; it takes a minute or two.
LIMIT_SECONDS = 600


def run_cluster(workers, *arguments, grace_seconds=5, limit=LIMIT_SECONDS):
    """Run the script in each worker; the exit status, and what was printed. None is left behind."""
    command = ["-m", "benchmarks.local_cluster", f"--workers={workers}"]
    command += [f"--grace_seconds={grace_seconds}", "--", sys.executable, str(SCRIPT), *arguments]
    with subprocess.Popen(
        [sys.executable, *command],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as launcher:
        try:
            output, _ = launcher.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            launcher.terminate()  # it stops its workers
            output, _ = launcher.communicate()
            output += f"\nstopped after {limit} seconds"
    return launcher.returncode, output


@pytest.fixture(scope="module")
def clusters(tmp_path_factory):
    """What each worker of the cluster of so many saw, by scenario: run when first asked for."""
    seen = {}

    def of(workers):
        if workers not in seen:
            folder = tmp_path_factory.mktemp(f"workers_{workers}")
            names = SCENARIOS if workers == 2 else OF_THREE
            status, output = run_cluster(workers, str(folder), *names)
            assert status == 0, output[-6000:]
            seen[workers] = {
                name: [
                    pickle.loads((folder / str(i) / f"{name}.pickle").read_bytes())
                    for i in range(workers)
                ]
                for name in names
            }
        return seen[workers]

    return of


def cases(names):
    """Each scenario with two workers, and some also with three."""
    return pytest.mark.parametrize(
        ("workers", "name"),
        [(2, name) for name in names] + [(3, name) for name in OF_THREE if name in names],
    )


def assert_workers_agree(results):
    """Weights and slots bit for bit, and the numbers that are reported."""
    first = results[0]
    for other in results[1:]:
        assert other.keys() == first.keys()
        for key in first:
            if key in ("statistics", "all", "batches_of_each", "records"):
                continue  # each worker's own, unless a test says otherwise
            assert_equal(other[key], first[key])


@cases([name for name in SCENARIOS if name != "recovered"])
def test_workers_end_equal(clusters, workers, name):
    assert_workers_agree(clusters(workers)[name])


@cases(LIKE_ONE_PROCESS)
def test_a_cluster_equals_one_process(clusters, tmp_path, workers, name):
    (cluster, *_), alone = clusters(workers)[name], LIKE_ONE_PROCESS[name](None, tmp_path)
    for key, values in alone.items():
        for actual, expected in zip(cluster[key], values, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5, err_msg=key)


def test_only_the_chief_records(clusters):
    chief, *others = [worker["records"] for worker in clusters(2)["with_callbacks"]]
    # Ten updates an epoch, until a loss that does not fall by 1e9 ends it after the third.
    assert [row[0] for row in chief[::6]] == [1, 4, 7, 10, 13, 16, 19, 22, 25, 28]
    assert others == [[]]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains(clusters, policy):
    seen = clusters(2)[policy][0]
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
    fit(whole, epochs=1, batch_size=48, x=twice("x"), y=twice("y"))
    for key, values in state_of(whole).items():
        assert_close(accumulated[key], values, 1e-5)


def twice(which):
    from cluster_scenarios import INPUTS, TARGETS

    return np.concatenate([INPUTS, INPUTS] if which == "x" else [TARGETS, TARGETS])


def test_accumulators_are_saved_as_their_sum(clusters):
    restarted = clusters(2)["restarted_in_mid_accumulation"][0]
    model = make(None, functional, accumulating)
    fit(model, epochs=1)
    assert_close(
        restarted["sums"], [np.array(a) for a in model.optimizer._slots.accumulators], 1e-5
    )
    # And nothing is lost by the restart.
    for key, values in state_of(model).items():
        del values
        assert_close(restarted[key], clusters(2)["accumulated"][0][key], 1e-6)


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


def test_statistics_are_each_workers_own(clusters):
    first, second = (seen["statistics"] for seen in clusters(2)["statistics_of_each"])
    assert any(np.any(a != b) for a, b in zip(first, second))


@cases(["averaged_statistics"])
def test_statistics_are_averaged(clusters, workers, name):
    first, *others = clusters(workers)[name]
    for other in others:
        assert_equal(other["statistics"], first["statistics"])


def test_synchronized_statistics_are_equal(clusters):
    first, second = (seen["statistics"] for seen in clusters(2)["synchronized_statistics"])
    assert_equal(first, second)


def test_9_10_and_14_keras_fails_under_several_workers(clusters):
    seen = clusters(2)["faults"][0]
    assert seen["failed"][0].tolist() == [True, True, True]
    assert seen["found"][0].tolist() == [True, True]


def test_13_each_worker_counts_its_own_batches(clusters):
    counts = [seen["batches_of_each"][0] for seen in clusters(2)["faults"]]
    assert counts == [3, 4]  # and not the same number, or none, on both


@cases(["recovered"])
def test_a_restart_ends_with_the_same_bits(clusters, workers, name):
    for seen in clusters(workers)[name]:
        assert_equal(seen["again_all"], seen["whole_all"])
        for key in [key for key in seen if key.startswith("again_log")]:
            (again,), (whole,) = seen[key], seen[key.replace("again", "whole")]
            assert_equal([again], [whole[-len(again) :]])


def test_workers_are_killed_and_started_again(tmp_path):
    """In mid-epoch, and then in the write of a backup, whose first part is on the disk."""
    status, output = run_cluster(2, str(tmp_path), "killed_in_mid_epoch", grace_seconds=120)
    assert status == 128 + 9, output[-4000:]
    assert_names_the_loss(tmp_path / "0" / "killed_in_mid_epoch.pickle")

    status, output = run_cluster(2, str(tmp_path), "killed_in_the_write", grace_seconds=120)
    assert status == 128 + 9, output[-4000:]
    assert_names_the_loss(tmp_path / "1" / "killed_in_the_write.pickle")
    names = [path.name for path in (tmp_path / "backup").iterdir()]
    assert "backup.npz" in names
    assert [name for name in names if re.fullmatch(r"backup\.npz\.[0-9a-f]+\.part", name)]

    status, output = run_cluster(2, str(tmp_path), "started_again")
    assert status == 0, output[-4000:]
    for worker in range(2):
        seen = pickle.loads((tmp_path / str(worker) / "started_again.pickle").read_bytes())
        assert_equal(seen["again"], seen["whole"])


def assert_names_the_loss(path):
    error = pickle.loads(path.read_bytes())["error"]
    assert error.startswith("Another worker was lost")
    assert re.search("Received: .*(task|peer|socket|heartbeat)", error), error


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


PARAMETER_SERVER = """
import os, sys
import tensorflow as tf, keras, keras_lars
from benchmarks.local_cluster import free_addresses

worker, server = free_addresses(2)
spec = tf.train.ClusterSpec({"worker": [worker], "ps": [server]})
servers = [tf.distribute.Server(spec, name, 0, protocol="grpc") for name in ("worker", "ps")]
resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(spec, rpc_layer="grpc")
with tf.distribute.ParameterServerStrategy(resolver).scope():
    try:
        keras_lars.LARS().build([keras.Variable([1.0])])
    except ValueError as error:
        print(error, flush=True)
os._exit(0)  # such a server never ends
"""


def test_parameter_servers_are_refused():
    assert "Received: ParameterServerStrategy" in run_python("-c", PARAMETER_SERVER)
