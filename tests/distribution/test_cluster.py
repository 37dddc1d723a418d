"""Where a cluster is found, and that each mistake is told in one line."""

import contextlib
import json
import os
import socket
import threading
import time
import types
import warnings

import keras
import pytest

import keras_lars
from keras_lars import _cluster, multi_worker

PATIENCE = 60  # seconds until a test that waits for something gives up; none waits that long
WORKERS = ["10.0.0.1:2222", "10.0.0.2:2222"]
SLURM = {
    "SLURM_PROCID": "1",
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_STEP_NODELIST": "localhost,node[7-8]",
    "SLURM_STEP_TASKS_PER_NODE": "1(x3)",
}

needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="strategies are TensorFlow's"
)


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    for name in list(os.environ):
        if name == "TF_CONFIG" or name.startswith(("SLURM_", "OMPI_", "PMI_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(multi_worker, "_has_warned", False)


@pytest.fixture
def slurm(monkeypatch):
    """Sets the variables of a step; those that are None are missing."""

    def set_variables(**changes):
        for name, value in {**SLURM, **changes}.items():
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)

    return set_variables


def config(jobs, kind="worker", index=0):
    return json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}})


def test_no_cluster_at_all(monkeypatch):
    assert _cluster.find() is None
    for empty in ("", "{}"):
        monkeypatch.setenv("TF_CONFIG", empty)
        assert _cluster.find() is None


# --- TF_CONFIG ------------------------------------------------------------------------------------

CHIEF = {"chief": WORKERS[:1], "worker": WORKERS[1:]}
OTHERS = {"worker": WORKERS, "evaluator": ["10.0.0.3:2222"], "ps": ["10.0.0.4:2222"]}


@pytest.mark.parametrize(
    ("text", "own", "is_chief"),
    [
        (config({"worker": WORKERS}), WORKERS[0], True),
        (config({"worker": WORKERS}, index=1), WORKERS[1], False),
        (config({"worker": WORKERS}, index="1"), WORKERS[1], False),
        (config(CHIEF), WORKERS[1], False),
        (config(CHIEF, "chief"), WORKERS[0], True),
        (config(OTHERS, index=1), WORKERS[1], False),
    ],
)
def test_a_task_of_tf_config(monkeypatch, text, own, is_chief):
    monkeypatch.setenv("TF_CONFIG", text)
    found = _cluster.find(alone=False)
    assert (found.workers, found.own, found.is_chief) == (WORKERS, own, is_chief)
    assert set(found.addresses) <= {"chief", "worker"}


def test_one_worker_of_tf_config_is_a_cluster(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config({"worker": WORKERS[:1]}))
    assert _cluster.find(alone=False).workers == WORKERS[:1]


def test_tf_config_comes_before_slurm(monkeypatch, slurm):
    slurm()
    monkeypatch.setenv("TF_CONFIG", config({"worker": WORKERS}))
    assert _cluster.find().own == WORKERS[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting property name"),
        ("[" * 100_000, "recursion"),
        ("[]", "it is not a JSON object"),
        ("null", "it is not a JSON object"),
        ('{"task": {}}', "it lacks 'cluster'"),
        ('{"cluster": {}}', "it lacks 'task'"),
        ('{"cluster": {}, "task": []}', "its task is not a JSON object"),
        ('{"cluster": {}, "task": {"type": "worker"}}', "its task lacks 'index'"),
        ('{"cluster": {}, "cluster": {}, "task": {}}', "a key is repeated"),
        (config([]), "its cluster is not a JSON object"),
        (config({"worker": WORKERS[0]}), "'worker' is not a list of addresses"),
        (
            config({"worker": WORKERS}, index=2),
            "its task index 2 is outside the cluster, which has 2 t",
        ),
        (config({"worker": WORKERS[:1] * 2}, index="2"), "its task index 2 is outside the cluster"),
        (config({"worker": WORKERS}, index=-1), "its index -1 is not a non-negative integer"),
        (config({"worker": WORKERS}, index=10**400), "is not a non-negative integer"),
        (config({"worker": WORKERS}, index=True), "its index True is no"),
        (config({"worker": WORKERS}, index=0.5), "its index 0.5 is no"),
        (config({"worker": WORKERS}, index=float("inf")), "its index inf is no"),
        (config({"worker": WORKERS}, index=None), "its index None is no"),
        (config({"worker": WORKERS}, index="one"), "its index 'one' is no"),
        (
            config({"worker": WORKERS}, "chief"),
            "index 0 is outside the cluster, which has 0 tasks of",
        ),
        (config({"worker": WORKERS}, "master"), "'master' is not a task type"),
        (config({"worker": WORKERS}, ["worker"]), "['worker'] is not a task type"),
        (config({"worker": WORKERS, "master": []}), "'master' is not a task type"),
        (config({"chief": WORKERS}, "chief"), "there is more than one chief"),
        (config({"worker": ["10.0.0.1", WORKERS[1]]}), "10.0.0.1 is not of the form host:port"),
        (config({"worker": ["a:b", WORKERS[1]]}), "a:b is not of the form host:port"),
        (config({"worker": ["a:70000", WORKERS[1]]}), "a:70000 is not of the form host:port"),
        (config({"worker": ["a:0", WORKERS[1]]}), "a:0 is not of the form host:port"),
        (config({"worker": [2222, WORKERS[1]]}), "2222 is not of the form host:port"),
        (config({"worker": [None, WORKERS[1]]}), "None is not of the form host:port"),
        (config({"worker": ["[::1]:2222", WORKERS[1]]}), "[::1]:2222 is an IPv6 address, but Tens"),
        (config({"worker": ["fe80::1:2222", WORKERS[1]]}), "listen on IPv4 only; use a host name"),
        (config({"worker": ["http://a:2222", WORKERS[1]]}), "is not of the form host:port"),
        (config({"worker": ["a b:2222", WORKERS[1]]}), "a b:2222 is not of the form host:port"),
        (config({"worker": [[WORKERS[0]], WORKERS[1]]}), "is not of the form host:port"),
        (config({"worker": WORKERS[:1] * 2}), "an address is repeated"),
        (config({"worker": ["node:2222", "Node:02222"]}), "an address is repeated"),
        (config({"chief": WORKERS[:1], "worker": WORKERS}), "an address is repeated"),
        (config({"worker": WORKERS}, index=[0]), "its index [0] is no"),
        (config({"worker": WORKERS}, index={"a": 0}), "its index {'a': 0} is no"),
        (config({"worker": WORKERS}, index="1\n"), "its index '1\\n' is no"),
        (config({"worker": WORKERS}, index="\u0661"), "its index '\u0661' is no"),
        ('{"cluster": {}, "task": {"index": 0, "index": 1}}', "a key is repeated"),
        ("\ufeff{}", "BOM"),
        ('{"cluster": ' + "9" * 5000 + "}", "Exceeds the limit"),
        ('{"cluster":\n{}}', "it lacks 'task'"),
    ],
    ids=lambda text: text[:60],
)
def test_a_malformed_tf_config(monkeypatch, text, reason):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=r"^TF_CONFIG must be JSON such as .* Received: ") as error:
        _cluster.find()
    assert reason in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1500


@pytest.mark.parametrize("jobs", [OTHERS, {"worker": WORKERS}], ids=["within", "apart"])
@pytest.mark.parametrize("kind", ["ps", "evaluator"])
def test_a_task_that_does_not_train(monkeypatch, kind, jobs):
    monkeypatch.setenv("TF_CONFIG", config(jobs, kind))
    with pytest.raises(ValueError, match=f"must be of type chief or worker.*Received: {kind}$"):
        _cluster.find()


# --- Slurm ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "counts", "expected"),
    [
        ("localhost,node[7-8]", "1(x3)", ["localhost:8888", "node7:8888", "node8:8888"]),
        # In the order of Slurm's tasks, which is not that of names.
        ("n[9-10]", "2,1", ["n9:8888", "n9:8889", "n10:8888"]),
        ("n[08-09,12]", "1(x3)", ["n08:8888", "n09:8888", "n12:8888"]),
        (
            "r[1-2]n[3,5].x,m",
            "1(x5)",
            ["r1n3.x:8888", "r1n5.x:8888", "r2n3.x:8888", "r2n5.x:8888", "m:8888"],
        ),
        ("a", "3", ["a:8888", "a:8889", "a:8890"]),
    ],
)
def test_the_tasks_of_slurm(slurm, nodes, counts, expected):
    slurm(
        SLURM_STEP_NODELIST=nodes,
        SLURM_STEP_TASKS_PER_NODE=counts,
        SLURM_STEP_NUM_TASKS=str(len(expected)),
    )
    found = _cluster.find(alone=False)
    assert found.workers == expected
    assert (found.own, found.is_chief) == (expected[1], False)
    slurm(
        SLURM_STEP_NODELIST=nodes,
        SLURM_STEP_TASKS_PER_NODE=counts,
        SLURM_STEP_NUM_TASKS=str(len(expected)),
        SLURM_PROCID="0",
    )
    assert _cluster.find().is_chief
    assert _cluster.find(port=99).own == expected[0].replace("8888", "99")


# What Slurm sets outside of a step that `srun` started, for a job of four tasks.
BATCH_SCRIPT = {
    "SLURM_JOB_ID": "1",
    "SLURM_NTASKS": "4",
    "SLURM_NPROCS": "4",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_JOB_NODELIST": "n[1-4]",
    "SLURM_TASKS_PER_NODE": "1(x4)",
}
SHELL_OF_SALLOC = {
    **BATCH_SCRIPT,
    "SLURM_STEP_ID": "4294967290",
    "SLURM_STEP_NUM_TASKS": "1",
    "SLURM_STEP_NODELIST": "n1",
    "SLURM_STEP_TASKS_PER_NODE": "1",
}


@needs_tensorflow
@pytest.mark.parametrize("variables", [{}, BATCH_SCRIPT, SHELL_OF_SALLOC], ids=len)
def test_one_process_gets_the_default(monkeypatch, variables):
    import tensorflow as tf

    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert _cluster.slurm_tasks() == 1
    assert multi_worker.strategy() is tf.distribute.get_strategy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        multi_worker.prepare(small())


def test_one_task_of_slurm_is_a_cluster_where_one_is_asked_for(monkeypatch):
    for name, value in SHELL_OF_SALLOC.items():
        monkeypatch.setenv(name, value)
    assert _cluster.find().workers == ["n1:8888"]
    assert _cluster.find(alone=False) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SLURM_STEP_NODELIST": None}, "Received: no SLURM_STEP_NODELIST$"),
        ({"SLURM_STEP_TASKS_PER_NODE": None}, "Received: no SLURM_STEP_TASKS_PER_NODE$"),
        ({"SLURM_PROCID": None}, "Received: no SLURM_PROCID$"),
        ({"SLURM_PROCID": "3"}, "SLURM_PROCID must be less than .*=3. Received: 3$"),
        ({"SLURM_PROCID": "-1"}, "SLURM_PROCID must be an integer .* 0. Received: -1$"),
        ({"SLURM_PROCID": "9" * 5000}, "SLURM_PROCID must be an integer"),
        ({"SLURM_PROCID": "one"}, "SLURM_PROCID must be an integer"),
        ({"SLURM_PROCID": "1.0"}, "SLURM_PROCID must be an integer"),
        ({"SLURM_PROCID": "1\n2"}, "SLURM_PROCID must be an integer .* Received: 1 2$"),
        ({"SLURM_NODEID": "99", "SLURM_LOCALID": "0"}, "fill one node after .* task 0 of node 99"),
        ({"SLURM_NODEID": "x", "SLURM_LOCALID": "0"}, "SLURM_NODEID must be an integer"),
        ({"SLURM_STEP_NUM_TASKS": "many"}, "NUM_TASKS must be an integer .* 1. Received: many$"),
        ({"SLURM_STEP_NUM_TASKS": "0"}, "NUM_TASKS must be an integer .* 1. Received: 0$"),
        ({"SLURM_STEP_NUM_TASKS": "4"}, "their sum. Received: .*NUM_TASKS=4$"),
        ({"SLURM_STEP_NODELIST": "a,b"}, "a number for each node .*NODELIST=a,b"),
        ({"SLURM_STEP_NODELIST": "a,a,b"}, "a number for each node .*NODELIST=a,a,b"),
        ({"SLURM_STEP_NODELIST": ""}, "must be names of nodes .* Received: $"),
        ({"SLURM_STEP_NODELIST": "n[1-"}, r"must be names of nodes .* Received: n\[1-$"),
        ({"SLURM_STEP_NODELIST": "n[3-1]"}, "must be names of nodes"),
        ({"SLURM_STEP_NODELIST": "n[a-b]"}, "must be names of nodes"),
        ({"SLURM_STEP_NODELIST": "n[0-999999999]"}, "must be names of nodes"),
        ({"SLURM_STEP_TASKS_PER_NODE": "many"}, "must be numbers of tasks .* Received: many$"),
        ({"SLURM_STEP_TASKS_PER_NODE": "0,2,1"}, "must be numbers of tasks"),
        # As with `srun --distribution=cyclic`, two tasks on each of two nodes.
        (
            {
                "SLURM_STEP_NUM_TASKS": "4",
                "SLURM_STEP_NODELIST": "a,b",
                "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
                "SLURM_NODEID": "1",
                "SLURM_LOCALID": "0",
            },
            "fill one node after the other .* as task 0 of node 1, where task 1 of node 0",
        ),
    ],
)
def test_variables_of_slurm_that_make_no_sense(slurm, changes, message):
    slurm(**changes)
    with pytest.raises(ValueError, match=message) as error:
        _cluster.find(alone=False)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1500


def test_ports_end(slurm):
    slurm(SLURM_STEP_NODELIST="a", SLURM_STEP_TASKS_PER_NODE="3")
    assert _cluster.find(port=65533).workers[-1] == "a:65535"
    with pytest.raises(ValueError, match=r"`port` must be low .* port=65534, and 3 tasks"):
        _cluster.find(port=65534)


# --- starting it ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"startup_seconds": -1}, "`startup_seconds` must be a finite number >= 0"),
        ({"startup_seconds": None}, "`startup_seconds` must be a finite number >= 0"),
        ({"heartbeat_seconds": 0.5}, "`heartbeat_seconds` must be at least 1. Received: .*=0.5"),
        ({"heartbeat_seconds": 1e6}, "`heartbeat_seconds` must be a finite number .* <= 86400"),
        ({"heartbeat_seconds": "10"}, "`heartbeat_seconds` must be a finite number"),
        ({"port": 0}, "`port` must be an integer >= 1"),
        ({"port": 1.5}, "`port` must be an integer >= 1"),
    ],
)
@needs_tensorflow
def test_arguments_of_strategy(arguments, message):
    with pytest.raises(ValueError, match=message):
        multi_worker.strategy(**arguments)


def test_strategies_need_tensorflow(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match=r"needs the TensorFlow backend. Received: jax$"):
        multi_worker.strategy()


@needs_tensorflow
def test_it_comes_first_and_keeps_nobody_waiting(monkeypatch):
    import tensorflow as tf

    tf.constant(0.0)
    monkeypatch.setenv("TF_CONFIG", config({"worker": ["localhost:1", "localhost:2"]}))
    with pytest.raises(RuntimeError, match=r"must be called before .* right after the imports"):
        multi_worker.strategy()
    monkeypatch.delenv("TF_CONFIG")
    multi_worker.prepare(small())  # is not broken by it


@pytest.mark.slow
@needs_tensorflow
def test_a_worker_that_never_comes():
    from keras_lars import _cluster_start

    own, other = free_addresses(2)
    with pytest.raises(RuntimeError, match=f"within 0.3 seconds.*no answer from {other}$"):
        _cluster_start._meet(workers(0, own, other), 0.3)


@needs_tensorflow
def test_a_port_in_use():
    from keras_lars import _cluster_start

    own, other = free_addresses(2)
    with socket.socket() as user:
        user.bind(("127.0.0.1", int(own.split(":")[1])))
        user.listen()
        with pytest.raises(RuntimeError, match=f"Received: {own}, which is in use$"):
            _cluster_start._meet(workers(0, own, other), 0.3)


@needs_tensorflow
def test_all_others_are_asked_at_once(monkeypatch):
    """One that is cut off would else wait in vain for each of them, one after the other."""
    from keras_lars import _cluster_start

    addresses = free_addresses(4)
    asked = threading.Barrier(len(addresses) - 1, timeout=PATIENCE)

    def said_by(address):
        asked.wait()
        return f"keras_lars: worker {addresses.index(address)} of 4, has met all\n"

    monkeypatch.setattr(_cluster_start, "_said_by", said_by)
    _cluster_start._meet(workers(0, *addresses), PATIENCE)


def workers(index, *addresses):
    """The cluster of a worker."""
    return _cluster.Cluster({"worker": list(addresses)}, "worker", index)


def meeting(cluster):
    """A thread in which a worker meets the others, and the errors that it will have raised."""
    from keras_lars import _cluster_start

    errors = []

    def meet():
        try:
            _cluster_start._meet(cluster, PATIENCE)
        except _cluster_start.StartError as error:
            errors.append(str(error))

    worker = threading.Thread(target=meet, daemon=True)
    worker.start()
    return worker, errors


def end(*meetings):
    """All that the workers report."""
    for worker, _ in meetings:
        worker.join(PATIENCE)
        assert not worker.is_alive()
    return [error for _, errors in meetings for error in errors]


def connect(address):
    """A connection to what listens there by now, or soon.

    It is reset where a worker closes its listener right now, between its two answers.
    """
    for _ in range(PATIENCE * 100):
        with contextlib.suppress(ConnectionRefusedError, ConnectionResetError):
            return socket.create_connection(("127.0.0.1", int(address.split(":")[1])), timeout=5)
        time.sleep(0.01)
    raise AssertionError("nobody listens")


@needs_tensorflow
def test_any_number_of_strangers_may_come_before_the_others():
    """A scan of ports, or a probe whether the worker is alive."""
    addresses = free_addresses(2)
    early = meeting(workers(0, *addresses))
    strangers = [connect(addresses[0]) for _ in range(20)]
    for stranger in strangers:  # none is kept waiting
        assert stranger.makefile("rb").read() == b"keras_lars: worker 0 of 2, here\n"
        stranger.close()
    assert end(early, meeting(workers(1, *addresses))) == []


@pytest.mark.slow
@needs_tensorflow
def test_workers_wait_for_one_that_has_not_met_all():
    from keras_lars import _cluster_start

    first, second, third, known_to_first = free_addresses(4)
    answer = b"keras_lars: worker 2 of 3, here\n"
    # As of a worker that does not know yet that all start again.
    with _cluster_start._answering(known_to_first, answer), socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", int(third.split(":")[1])))
        server.listen()
        early = [
            meeting(workers(0, first, second, known_to_first)),
            meeting(workers(1, first, second, third)),
        ]
        said = b""
        while said != b"keras_lars: worker 0 of 3, has met all\n":
            # As in `connect`.
            with connect(first) as stranger, contextlib.suppress(ConnectionResetError):
                said = stranger.makefile("rb").read()
        server.accept()[0].close()
        assert all(worker.is_alive() for worker, _ in early)
    assert end(*early, meeting(workers(2, first, second, third))) == []


@pytest.mark.parametrize("other", ["worker 0 of 2", "worker 1 of 3", "chief 0 of 2"])
@needs_tensorflow
def test_workers_that_are_given_different_clusters(monkeypatch, other):
    """TensorFlow would report a lost worker a minute later."""
    from keras_lars import _cluster_start

    first, second = free_addresses(2)
    learned = []

    def sleep(seconds):
        with connect(first) as connection:
            learned.append(connection.makefile("rb").read())

    fake = types.SimpleNamespace(sleep=sleep, monotonic=time.monotonic)
    monkeypatch.setattr(_cluster_start, "time", fake)
    message = (
        "all workers must be given the same cluster, and each its own task in it. Received: an "
        f"answer from {other} at {second}, which is the address of worker 1 of 2"
    )
    with (
        _cluster_start._answering(second, f"keras_lars: {other}, here\n".encode()),
        pytest.raises(_cluster_start.StartError, match=f"{message}$"),
    ):
        _cluster_start._meet(workers(0, first, second), PATIENCE)
    assert learned == [b"keras_lars: worker 0 of 2, here\n"]  # so the other learns it, too


@needs_tensorflow
def test_a_worker_that_knows_itself_by_another_name():
    first, second = free_addresses(2)
    local = second.replace("127.0.0.1", "localhost")
    assert local != second
    assert end(meeting(workers(0, first, second)), meeting(workers(1, first, local))) == []


def free_addresses(count):
    pytest.importorskip("absl", reason="the extra `benchmarks` is not installed")
    from benchmarks import local_cluster

    return local_cluster.free_addresses(count)


# --- without it -----------------------------------------------------------------------------------


def small():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name="small")


@needs_tensorflow
def test_prepare_warns_of_tasks_that_train_alone(slurm, recwarn, request):
    slurm()
    model = keras_lars.multi_worker.prepare(small())
    (warning,) = recwarn
    assert str(warning.message).startswith("Model 'small' trains by itself in each of the 3 tasks")
    assert "`strategy = keras_lars.multi_worker.strategy()`" in str(warning.message)
    assert warning.filename == __file__
    # Once, also where one worker has several replicas.
    keras_lars.multi_worker.prepare(model)
    with request.getfixturevalue("strategy").scope():
        keras_lars.multi_worker.prepare(small())
    assert len(recwarn) == 1


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("TF_CONFIG", config({"worker": WORKERS}), "2 workers of TF_CONFIG"),
        ("OMPI_COMM_WORLD_SIZE", "4", "4 processes of this MPI job"),
        ("PMI_SIZE", "8", "8 processes of this MPI job"),
    ],
)
@needs_tensorflow
def test_other_launchers(monkeypatch, name, value, kind):
    monkeypatch.setenv(name, value)
    with pytest.warns(UserWarning, match=f"by itself in each of the {kind}, because"):
        keras_lars.multi_worker.prepare(small())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TF_CONFIG", config({"worker": WORKERS[:1]})),
        ("TF_CONFIG", config({"worker": WORKERS}, "evaluator")),
        ("OMPI_COMM_WORLD_SIZE", "1"),
        ("PMI_SIZE", ""),
    ],
)
@needs_tensorflow
def test_one_process_of_a_launcher_is_no_reason_to_warn(monkeypatch, recwarn, name, value):
    monkeypatch.setenv(name, value)
    keras_lars.multi_worker.prepare(small())
    assert not recwarn


@needs_tensorflow
def test_prepare_warns_of_one_worker_with_several_replicas(slurm, strategy):
    slurm()
    with strategy.scope(), pytest.warns(UserWarning, match="'small' trains by itself"):
        keras_lars.multi_worker.prepare(small())
