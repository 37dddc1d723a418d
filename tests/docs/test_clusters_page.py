"""The files that docs/clusters.md shows are right, as far as one machine can check.

Its script runs alone in `test_readme.py`, and here as two tasks of a simulated Slurm.
"""

import json
import pathlib
import re
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
import yaml
from support import pages
from support.helpers import environment

from keras_lars import _cluster

pytestmark = pytest.mark.docs

if keras.backend.backend() != "tensorflow":
    pytest.skip("strategies are TensorFlow's", allow_module_level=True)

BLOCKS = [block for block in pages.blocks(*pages.LANGUAGES) if block.page == "docs/clusters.md"]


def block(language, beginning=""):
    texts = [b.text for b in BLOCKS if b.language == language and b.text.startswith(beginning)]
    (text,) = texts
    return text


# --- Slurm ----------------------------------------------------------------------------------------

SBATCH = block("bash", "#!/bin/bash\n")
# The options that the file has, as in the manual page of sbatch.
OPTIONS = {
    "job-name": r"\w+",
    "nodes": r"\d+",
    "ntasks-per-node": r"\d+",
    "cpus-per-task": r"\d+",
    "gpus-per-node": r"\d+",
    "time": r"\d+:\d\d:\d\d",
    "requeue": None,
    "open-mode": "append|truncate",
}


def test_bash_can_parse_the_batch_script(tmp_path):
    (tmp_path / "job.sh").write_text(SBATCH, encoding="utf-8")
    done = subprocess.run(["bash", "-n", tmp_path / "job.sh"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_options_of_the_batch_script_are_valid():
    first, *lines = SBATCH.splitlines()
    assert first == "#!/bin/bash"
    # Slurm reads options up to the first line that is a command.
    commands = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    options = [line for line in lines if "SBATCH" in line]
    assert options == [line for line in lines[:commands] if line.startswith("#SBATCH --")]
    names = []
    for option in options:
        name, _, value = option.removeprefix("#SBATCH --").partition("=")
        names.append(name)
        pattern = OPTIONS[name]
        assert re.fullmatch(pattern, value) if pattern else not value, option
    assert sorted(names) == sorted(OPTIONS)


@pytest.mark.parametrize(
    ("status", "restarts", "expected"),
    [(0, None, []), (1, None, ["7"]), (137, "2", ["7"]), (1, "3", [])],
)
def test_the_batch_script_requeues_a_failed_job_a_few_times(tmp_path, status, restarts, expected):
    """Slurm's commands are replaced by scripts that record their arguments."""
    for name, code in (("srun", status), ("scontrol", 0)):
        command = tmp_path / name
        command.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/{name}.log\nexit {code}\n')
        command.chmod(0o755)
    variables = {
        "SLURM_JOB_ID": "7",
        "SLURM_CPUS_PER_TASK": "16",
        "PATH": f"{tmp_path}:/usr/bin:/bin",
    }
    variables |= {} if restarts is None else {"SLURM_RESTART_COUNT": restarts}
    done = subprocess.run(["bash", "-c", SBATCH], env=variables, cwd=tmp_path)
    assert done.returncode == status
    assert (tmp_path / "srun.log").read_text().endswith(" python training.py\n")
    requeued = tmp_path / "scontrol.log"
    assert (requeued.read_text().split()[1:] if requeued.exists() else []) == expected


def free_port():
    """The first of two consecutive free ports."""
    for _ in range(100):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("", port + 1))
                return port
            except (OSError, OverflowError):
                continue
    raise AssertionError("no two free ports in a row")


@pytest.mark.slow
def test_the_script_runs_as_two_tasks_of_slurm(tmp_path):
    call = "keras_lars.multi_worker.strategy()"
    script = block("python")
    assert script.count(call) == 1
    # The default port may be in use here.
    script = script.replace(call, call.replace("()", f"(port={free_port()})"))
    script += """
import os
from keras_lars import _replicas
assert len(_replicas.workers(strategy)) == strategy.num_replicas_in_sync == 2
assert keras_lars.multi_worker.strategy(port=strategy_port) is strategy
np.savez(os.environ["SLURM_PROCID"], model.optimizer.iterations.numpy(), *model.get_weights())
""".replace("strategy_port", re.search(r"port=(\d+)", script)[1])
    (tmp_path / "training.py").write_text(script, encoding="utf-8")
    tasks = [
        subprocess.Popen(
            [sys.executable, "-W", "error::UserWarning:__main__", "training.py"],
            cwd=tmp_path,
            env=environment(
                TF_CONFIG="",
                SLURM_JOB_ID="7",
                SLURM_STEP_ID="0",
                SLURM_NTASKS="2",
                SLURM_PROCID=str(index),
                SLURM_NODEID="0",
                SLURM_LOCALID=str(index),
                SLURM_STEP_NUM_TASKS="2",
                SLURM_STEP_NODELIST="localhost",
                SLURM_STEP_TASKS_PER_NODE="2",
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(2)
    ]
    try:
        outputs = [task.communicate(timeout=600)[0] for task in tasks]
    finally:
        for task in tasks:
            task.kill()
    assert [task.returncode for task in tasks] == [0, 0], outputs[0][-3000:] + outputs[1][-3000:]
    first, second = (list(np.load(tmp_path / f"{index}.npz").values()) for index in range(2))
    assert first[0] == 32  # updates: four epochs of eight
    for mine, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(mine, other)
    assert all(np.any(weight != 0) for weight in first)


# --- Kubernetes -----------------------------------------------------------------------------------

MANIFEST = yaml.safe_load(block("yaml"))


def tf_config(manifest, kind, index):
    """The value that the operator sets: `genTFConfigJSONStr` in kubeflow/training-operator."""
    place = manifest["metadata"]
    return json.dumps(
        {
            "cluster": {
                name.lower(): [
                    f"{place['name']}-{name.lower()}-{i}.{place['namespace']}.svc:2222"
                    for i in range(replica["replicas"])
                ]
                for name, replica in manifest["spec"]["tfReplicaSpecs"].items()
            },
            "task": {"type": kind.lower(), "index": index},
            "environment": "cloud",
        }
    )


def test_the_tf_config_of_each_replica_is_read(monkeypatch):
    workers = ["lars-worker-0.training.svc:2222", "lars-worker-1.training.svc:2222"]
    seen = []
    for kind, replica in MANIFEST["spec"]["tfReplicaSpecs"].items():
        for index in range(replica["replicas"]):
            monkeypatch.setenv("TF_CONFIG", tf_config(MANIFEST, kind, index))
            found = _cluster.find(alone=False)
            assert found.workers == workers
            seen.append((found.own, found.is_chief))
    assert seen == [(workers[0], True), (workers[1], False)]


def test_the_manifest_is_one_that_the_operator_accepts():
    assert (MANIFEST["apiVersion"], MANIFEST["kind"]) == ("kubeflow.org/v1", "TFJob")
    spec = MANIFEST["spec"]
    assert set(spec) == {"successPolicy", "runPolicy", "tfReplicaSpecs"}
    assert spec["successPolicy"] == "AllWorkers"
    assert set(spec["tfReplicaSpecs"]) == {"Worker"}
    worker = spec["tfReplicaSpecs"]["Worker"]
    assert worker["restartPolicy"] == "OnFailure"
    pod = worker["template"]["spec"]
    (container,) = pod["containers"]
    assert container["name"] == "tensorflow"  # the operator sets TF_CONFIG only in this one
    assert all(isinstance(word, str) for word in container["command"])
    assert pathlib.PurePosixPath(container["command"][-1]).name == "training.py"
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    # All workers see the folder of the backup.
    assert container["workingDir"] in {mount["mountPath"] for mount in container["volumeMounts"]}
