"""`--strategy`: where a cluster is found, and that each mistake is told in one line."""

import json
import socket
import types

import keras
import pytest

pytest.importorskip("sklearn", reason="the extra `benchmarks` is not installed")
if keras.backend.backend() != "tensorflow":
    pytest.skip("the benchmarks run on TensorFlow", allow_module_level=True)

import tensorflow as tf

from benchmarks import cluster
from benchmarks.data.data_set import Shard
from benchmarks.local_cluster import free_addresses
from benchmarks.recipe import RecipeError
from keras_lars import _cluster

WORKERS = ["10.0.0.1:2222", "10.0.0.2:2222"]
SLURM = {
    "SLURM_PROCID": "1",
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_STEP_NODELIST": "localhost,node[7-8]",
    "SLURM_STEP_TASKS_PER_NODE": "1(x3)",
}


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    for name in ("TF_CONFIG", *SLURM):
        monkeypatch.delenv(name, raising=False)


def config(jobs, kind="worker", index=0):
    return json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (config({"worker": WORKERS}), True),
        (config({"worker": WORKERS}, index=1), False),
        # As Kubernetes operators have it: the index may be a string, and other jobs may be there.
        (config({"worker": WORKERS}, index="1"), False),
        (config({"chief": WORKERS[:1], "worker": WORKERS[1:]}), False),
        (config({"chief": WORKERS[:1], "worker": WORKERS[1:]}, "chief"), True),
        (config({"worker": WORKERS, "evaluator": ["10.0.0.3:2222"]}), True),
    ],
)
def test_the_chief_of_tf_config(monkeypatch, text, expected):
    monkeypatch.setenv("TF_CONFIG", text)
    assert cluster.is_chief("multi_worker") is expected
    assert cluster.is_chief("none")
    assert cluster.is_chief("mirrored")


def test_the_chief_of_slurm(monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    assert not cluster.is_chief("multi_worker")
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert cluster.is_chief("multi_worker")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting property name"),
        ("[]", "list indices"),
        ("null", "NoneType"),
        ("{}", "it lacks 'cluster'"),
        ('{"cluster": {}}', "it lacks 'task'"),
        (config({"worker": WORKERS}, index=2), "its task is not in its cluster"),
        (config({"worker": WORKERS}, index=-1), "its task is not in its cluster"),
        (config({"worker": WORKERS}, "chief"), "it lacks 'chief'"),
        (config({"worker": WORKERS}, index="one"), "invalid literal"),
        (config({"worker": ["10.0.0.1", WORKERS[1]]}), "10.0.0.1 is no host:port"),
        (config({"worker": ["a:b", WORKERS[1]]}), "a:b is no host:port"),
        (config({"worker": ["a:70000", WORKERS[1]]}), "a:70000 is no host:port"),
        (config({"worker": WORKERS[:1] * 2}), "an address is there twice"),
    ],
)
def test_a_malformed_tf_config(monkeypatch, text, reason):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(
        RecipeError, match=r"^TF_CONFIG must be JSON such as .* Received: "
    ) as error:
        cluster.is_chief("multi_worker")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["ps", "evaluator"])
def test_a_task_that_does_not_train(monkeypatch, kind):
    monkeypatch.setenv("TF_CONFIG", config({"worker": WORKERS, kind: ["10.0.0.3:2222"]}, kind))
    with pytest.raises(RecipeError, match=f"must be of type chief or worker.*Received: {kind}"):
        cluster.is_chief("multi_worker")


def test_no_cluster_at_all():
    with pytest.raises(RecipeError, match=r"needs the environment variable TF_CONFIG.*neither"):
        cluster.is_chief("multi_worker")


def test_a_worker_that_never_comes(monkeypatch):
    own, other = free_addresses(2)
    monkeypatch.setenv("TF_CONFIG", config({"worker": [own, other]}))
    with pytest.raises(RecipeError, match=f"within 0.3 seconds.*no answer from {other}$"):
        cluster.start("multi_worker", replicas=2, seconds=0.3)


def test_a_port_in_use(monkeypatch):
    own, other = free_addresses(2)
    monkeypatch.setenv("TF_CONFIG", config({"worker": [own, other]}))
    with socket.socket() as user:
        user.bind(("127.0.0.1", int(own.split(":")[1])))
        user.listen()
        with pytest.raises(RecipeError, match=f"Received: {own}, which is in use$"):
            cluster.start("multi_worker", replicas=2, seconds=0.3)


def test_slurm_without_gpus(monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    resolver = _cluster.slurm_resolver()
    # From port 8888 on, as TensorFlow's own resolver has it.
    addresses = ["localhost:8888", "node7:8888", "node8:8888"]
    assert resolver.cluster_spec().as_dict() == {"worker": addresses}
    assert (resolver.task_type, resolver.task_id) == ("worker", 1)
    assert resolver.num_accelerators() == {"GPU": 0}


def test_slurm_variables_that_make_no_sense(monkeypatch):
    for name, value in {**SLURM, "SLURM_STEP_TASKS_PER_NODE": "many"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RecipeError, match="Slurm's variables cannot be read: "):
        cluster.start("multi_worker", replicas=2, seconds=0.3)


def test_shards_of_a_cluster(monkeypatch):
    """The chief's comes first, and no two workers have the same one."""
    jobs = {"chief": WORKERS[:1], "worker": WORKERS[1:]}
    shards = []
    for kind in jobs:
        monkeypatch.setenv("TF_CONFIG", config(jobs, kind))
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        shards.append(cluster.shard(types.SimpleNamespace(cluster_resolver=resolver)))
    assert shards == [Shard(0, 2), Shard(1, 2)]
    assert cluster.shard(tf.distribute.get_strategy()) == Shard(0, 1)
