"""`--strategy`: how a cluster is found, and one-line errors."""

import json
import signal
import types
from unittest import mock

import keras
import pytest

pytest.importorskip("sklearn", reason="the extra `benchmarks` is not installed")
if keras.backend.backend() != "tensorflow":
    pytest.skip("the benchmarks run on TensorFlow", allow_module_level=True)

import tensorflow as tf

from benchmarks import cluster, train
from benchmarks.data.data_set import Shard
from benchmarks.files import write_json
from benchmarks.recipe import RecipeError

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


@pytest.mark.parametrize("place", ["cluster.start", "loop.train_plan"])
@pytest.mark.parametrize("name", ["UnavailableError", "AbortedError", "DeadlineExceededError"])
def test_a_worker_that_is_lost_outside_fit(monkeypatch, capsys, tmp_path, name, place):
    """During startup or model building: the exit status is that of an interruption, not 1."""

    def lose(*arguments):
        raise getattr(tf.errors, name)(None, None, "Collective ops is aborted")

    options = {"strategy": "multi_worker", "replicas": 2, "startup_seconds": 1, "dry_run": False}
    monkeypatch.setattr(
        train, "flags", types.SimpleNamespace(FLAGS=types.SimpleNamespace(**options))
    )
    monkeypatch.setattr(train.cluster, "start", lambda *arguments: None)
    monkeypatch.setattr(f"benchmarks.{place}", lose)
    assert train._run(types.SimpleNamespace(folder=tmp_path, is_chief=True)) == 75
    assert capsys.readouterr().err.startswith("Another worker was lost, or could not be reached")


@pytest.mark.parametrize("is_chief", [True, False])
@pytest.mark.parametrize("given", [None, "given"])
def test_the_folder_to_resume_is_that_of_the_chief(monkeypatch, capsys, is_chief, given):
    """By default, each worker names a folder by its own clock."""
    options = {"strategy": "multi_worker", "replicas": 2, "startup_seconds": 1}
    asked = types.SimpleNamespace(**options, output_dir=given)
    monkeypatch.setattr(train, "flags", types.SimpleNamespace(FLAGS=asked))
    monkeypatch.setattr(train.run_folder, "result", lambda folder: None)
    monkeypatch.setattr(train.cluster, "start", mock.Mock(side_effect=KeyboardInterrupt))
    folder = given or "runs/20261128-100000"
    assert train._run(types.SimpleNamespace(folder=folder, is_chief=is_chief)) == 75
    shown = folder if is_chief or given else "FOLDER_OF_THE_FIRST_WORKER"
    assert capsys.readouterr().err == (
        f"interrupted; to continue, run the same command with --resume --output_dir={shown}\n"
    )


def test_a_finished_run_that_was_killed_before_its_backup_was_deleted(
    monkeypatch, tmp_path, capsys
):
    asked = types.SimpleNamespace(dry_run=False)
    monkeypatch.setattr(train, "flags", types.SimpleNamespace(FLAGS=asked))
    write_json(tmp_path / "result.json", {"diverged": False})
    (tmp_path / "backup").mkdir()
    for is_chief, left in ((False, {"backup", "result.json"}), (True, {"result.json"})):
        assert train._run(types.SimpleNamespace(folder=tmp_path, is_chief=is_chief)) == 0
        assert {path.name for path in tmp_path.iterdir()} == left
    assert capsys.readouterr().out == f"already finished; see {tmp_path}\n"


def test_a_scheduler_that_ends_the_process_outside_of_fit(monkeypatch, tmp_path):
    """Such as while the model is saved."""
    options = {"strategy": "none", "replicas": 2, "startup_seconds": 1, "output_dir": "run"}
    asked = types.SimpleNamespace(**options, dry_run=False)
    monkeypatch.setattr(train, "flags", types.SimpleNamespace(FLAGS=asked))
    end = mock.Mock(side_effect=lambda *arguments: signal.raise_signal(signal.SIGTERM))
    monkeypatch.setattr("benchmarks.loop.train_plan", end)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        assert train._run(types.SimpleNamespace(folder=tmp_path, is_chief=True)) == 75
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("index", "expected"), [(0, True), (1, False)])
def test_the_chief_of_tf_config(monkeypatch, index, expected):
    monkeypatch.setenv("TF_CONFIG", config({"worker": WORKERS}, index=index))
    assert cluster.is_chief("multi_worker") is expected
    assert cluster.is_chief("none")
    assert cluster.is_chief("mirrored")


def test_the_chief_of_slurm(monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    assert not cluster.is_chief("multi_worker")
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert cluster.is_chief("multi_worker")
    # A single task is a cluster of one, since the flag asks for a cluster.
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    monkeypatch.setenv("SLURM_STEP_NODELIST", "localhost")
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "1")
    assert cluster.is_chief("multi_worker")


# `test_cluster.py` tests each kind of malformed value.


def test_a_malformed_tf_config(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{")
    with pytest.raises(RecipeError, match=r"^TF_CONFIG must be JSON such as .* Received: "):
        cluster.is_chief("multi_worker")


def test_slurm_variables_that_make_no_sense(monkeypatch):
    for name, value in {**SLURM, "SLURM_STEP_TASKS_PER_NODE": "many"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RecipeError, match=r"must be numbers of tasks .* Received: many"):
        cluster.start("multi_worker", replicas=2, seconds=0.3)


def test_no_cluster_at_all():
    with pytest.raises(RecipeError, match=r"needs the environment variable TF_CONFIG.*neither"):
        cluster.is_chief("multi_worker")


def test_a_cluster_that_cannot_be_started(monkeypatch):
    tf.constant(0.0)
    monkeypatch.setenv("TF_CONFIG", config({"worker": WORKERS}))
    with pytest.raises(RecipeError, match="must be called before TensorFlow"):
        cluster.start("multi_worker", replicas=2, seconds=0.3)


def test_shards_of_a_cluster(monkeypatch):
    """The chief has the first shard, and no two workers have the same one."""
    jobs = {"chief": WORKERS[:1], "worker": WORKERS[1:]}
    shards = []
    for kind in jobs:
        monkeypatch.setenv("TF_CONFIG", config(jobs, kind))
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        shards.append(cluster.shard(types.SimpleNamespace(cluster_resolver=resolver)))
    assert shards == [Shard(0, 2), Shard(1, 2)]
    assert cluster.shard(tf.distribute.get_strategy()) == Shard(0, 1)
