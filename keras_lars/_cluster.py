"""Finds the cluster that a launcher describes: in TF_CONFIG, or in Slurm's variables.

Kubernetes operators set TF_CONFIG, and `srun` sets the variables of a job step. Nothing here needs
TensorFlow.
"""

import contextlib
import dataclasses
import itertools
import json
import os
import re
from typing import Any

from keras_lars._words import counted, shortened

# The kinds of tasks that train. Those of the other kinds are left out.
KINDS = ("chief", "worker")
_OTHER_KINDS = ("evaluator", "ps")

# The port of the first Slurm task on a node, as in TensorFlow's own `SlurmClusterResolver`.
PORT = 8888
_PORTS = range(1, 2**16)


class ClusterError(ValueError):
    """The description of the cluster is invalid. The message is one line."""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The addresses of the tasks that train, by kind, and which of them this process is."""

    addresses: dict[str, list[str]]
    kind: str
    index: int

    @property
    def own(self) -> str:
        return self.addresses[self.kind][self.index]

    @property
    def workers(self) -> list[str]:
        """All addresses, the chief's first."""
        return [address for kind in KINDS for address in self.addresses.get(kind, [])]

    @property
    def is_chief(self) -> bool:
        """Whether this process is the worker that writes files."""
        return self.own == self.workers[0]


def find(port: int = PORT, alone: bool = True) -> Cluster | None:
    """The cluster that this process is in; None if it is in none.

    Args:
        port: The port of the first Slurm task on each node.
        alone: Whether a single Slurm task counts as a cluster.

    Raises:
        ClusterError: If the description is invalid.
    """
    if text := _tf_config():
        return _from_tf_config(text)
    if _TASKS in os.environ and (alone or slurm_tasks() > 1):
        return _from_slurm(port)
    return None


# Set by Open MPI, and by MPICH and Intel MPI.
_MPI_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")


def launched() -> tuple[int, str]:
    """How many processes a launcher has started, and what they are; 1 if none is known.

    Without a strategy each of them trains by itself.
    """
    if text := _tf_config():
        with contextlib.suppress(ClusterError):  # such as an evaluator
            return len(_from_tf_config(text).workers), "workers of TF_CONFIG"
    if (tasks := slurm_tasks()) > 1:
        return tasks, "tasks of this Slurm step"
    for name in _MPI_SIZES:
        if re.fullmatch("[0-9]{1,9}", size := os.environ.get(name, "")):
            return int(size), "processes of this MPI job"
    return 1, ""


# --- TF_CONFIG ------------------------------------------------------------------------------------


def _tf_config() -> str:
    text = os.environ.get("TF_CONFIG", "").strip()
    # Some launchers set TensorFlow's own default, an empty object.
    return "" if text == "{}" else text


def _from_tf_config(text: str) -> Cluster:
    try:
        config = json.loads(text, object_pairs_hook=_without_repetition)
        kind, cluster = _parse(config)
    except (ValueError, RecursionError) as error:
        raise ClusterError(
            'TF_CONFIG must be JSON such as {"cluster": {"worker": ["host:port", ...]}, "task": '
            f'{{"type": "worker", "index": 0}}}}. Received: {_shown(text)} '
            f"({_shown(str(error))})"
        ) from error
    if cluster is None:
        raise ClusterError(
            "TF_CONFIG's task must be of type chief or worker: parameter servers are not "
            f"supported, and all workers evaluate together. Received: {kind}"
        )
    return cluster


def _shown(text: str) -> str:
    return shortened(" ".join(text.split()))


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"a key is repeated in {[key for key, _ in pairs]}")
    return dict(pairs)


def _parse(config: object) -> tuple[str, Cluster | None]:
    """The kind of this task, and the cluster if tasks of this kind train."""
    jobs, task = _entry("it", config, "cluster"), _entry("it", config, "task")
    kind, index = _entry("its task", task, "type"), _entry("its task", task, "index")
    _check_jobs(jobs)
    if kind in KINDS:  # before the addresses, so that a wrong index is named first
        _check_index(kind, index, jobs)
    _check_addresses(jobs)
    if kind in _OTHER_KINDS:  # An operator may leave an evaluator out of the cluster.
        return kind, None
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is not a task type")
    addresses = {kind: jobs[kind] for kind in KINDS if jobs.get(kind)}
    return kind, Cluster(addresses, kind, int(index))


def _check_index(kind: str, index: str | int, jobs: dict[str, list[object]]) -> None:
    # Some launchers write the index as a string.
    if isinstance(index, bool) or not re.fullmatch(r"[0-9]{1,9}", str(index)):
        raise ValueError(f"its index {index!r} is not a non-negative integer")
    tasks = len(jobs.get(kind, []))
    if int(index) >= tasks:
        raise ValueError(
            f"its task index {index} is outside the cluster, which has "
            f"{counted(tasks, 'task')} of type {kind}"
        )


def _entry(name: str, value: object, key: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not a JSON object")
    if key not in value:
        raise ValueError(f"{name} lacks {key!r}")
    return value[key]


def _check_jobs(jobs: object) -> None:
    if not isinstance(jobs, dict):
        raise ValueError("its cluster is not a JSON object")
    for kind, addresses in jobs.items():
        if kind not in (*KINDS, *_OTHER_KINDS):
            raise ValueError(f"{kind!r} is not a task type")
        if not isinstance(addresses, list):
            raise ValueError(f"{kind!r} is not a list of addresses")
    if len(jobs.get("chief", [])) > 1:
        raise ValueError("there is more than one chief")


def _check_addresses(jobs: dict[str, list[object]]) -> None:
    places = [_place(address) for addresses in jobs.values() for address in addresses]
    if len(set(places)) < len(places):
        raise ValueError("an address is repeated")


def _place(address: object) -> tuple[str, int]:
    """The host and the port of an address."""
    host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    if host.startswith("[") or host.count(":") > 1:
        # No server would ever answer there.
        raise ValueError(
            f"{address} is an IPv6 address, but TensorFlow's servers listen on IPv4 only; use a "
            "host name or an IPv4 address"
        )
    is_port = re.fullmatch(r"[0-9]{1,5}", port) and int(port) in _PORTS
    if not re.fullmatch(r"[\w.-]+", host) or not is_port:
        raise ValueError(f"{address} is not of the form host:port")
    return host.lower(), int(port)


# --- Slurm ----------------------------------------------------------------------------------------

_TASKS = "SLURM_STEP_NUM_TASKS"


def slurm_tasks() -> int:
    """The number of tasks in the Slurm step of this process; 1 outside of a step.

    Only processes started by `srun` are in a step. A batch script or a shell of `salloc` is one
    process, whatever SLURM_NTASKS and SLURM_PROCID say. There SLURM_STEP_NUM_TASKS is 1, or is not
    set.
    """
    return _number(_TASKS, minimum=1) if _TASKS in os.environ else 1


def _from_slurm(port: int) -> Cluster:
    """Slurm's tasks as workers, in order.

    TensorFlow's own resolver sorts the nodes by name, so with node[9-10] each worker takes the
    address of the other. It also fails on nodes without GPUs.
    """
    names = ("SLURM_PROCID", "SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE")
    if missing := [name for name in names if name not in os.environ]:
        # The job's variables are no substitute: a step may have fewer nodes than its job.
        raise ClusterError(
            f"Slurm must set {', '.join(names)} in a step. Received: no {', '.join(missing)}"
        )
    nodes, counts = _nodes("SLURM_STEP_NODELIST"), _counts("SLURM_STEP_TASKS_PER_NODE")
    tasks, index = slurm_tasks(), _number("SLURM_PROCID")
    if len(nodes) != len(counts) or sum(counts) != tasks or len(set(nodes)) < len(nodes):
        raise ClusterError(
            "SLURM_STEP_TASKS_PER_NODE must have a number for each node of SLURM_STEP_NODELIST, "
            "and SLURM_STEP_NUM_TASKS must be their sum. Received: "
            + ", ".join(f"{name}={_shown(os.environ[name])}" for name in [*names[1:], _TASKS])
        )
    if index >= tasks:
        raise ClusterError(f"SLURM_PROCID must be less than {_TASKS}={tasks}. Received: {index}")
    if port + max(counts) - 1 not in _PORTS:
        raise ClusterError(
            "`port` must be low enough that every task on a node has a port below 65536. "
            f"Received: port={port}, and {max(counts)} tasks on a node"
        )
    places = [(node, local) for node, count in enumerate(counts) for local in range(count)]
    _check_place(*places[index])
    workers = [f"{nodes[node]}:{port + local}" for node, local in places]
    return Cluster({"worker": workers}, "worker", index)


def _check_place(node: int, local: int) -> None:
    """Raise ClusterError if tasks are not placed in order, as with `srun --distribution=cyclic`."""
    names = ("SLURM_NODEID", "SLURM_LOCALID")
    if all(name in os.environ for name in names):
        actual = tuple(_number(name) for name in names)
        if actual != (node, local):
            raise ClusterError(
                "Slurm's tasks must fill one node after the other (`srun --distribution=block`). "
                f"Received: SLURM_PROCID={os.environ['SLURM_PROCID']} as task {actual[1]} of node "
                f"{actual[0]}, where task {local} of node {node} was expected"
            )


def _number(name: str, minimum: int = 0) -> int:
    text = os.environ[name]
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < minimum:
        raise ClusterError(
            f"{name} must be an integer of at least {minimum}. Received: {_shown(text)}"
        )
    return int(text)


def _counts(name: str) -> list[int]:
    """`2(x3),1` as 2, 2, 2, 1."""
    counts = []
    for part in os.environ[name].split(","):
        found = re.fullmatch(r"([0-9]{1,5})(?:\(x([0-9]{1,5})\))?", part)
        if not found or int(found[1]) < 1:
            raise ClusterError(
                f"{name} must be numbers of tasks such as 2(x3),1. "
                f"Received: {_shown(os.environ[name])}"
            )
        counts += [int(found[1])] * int(found[2] or 1)
    return counts


def _nodes(name: str) -> list[str]:
    """`n[08-10],m5` as n08, n09, n10, m5: in Slurm's order, which is the order of its tasks."""
    nodes = []
    try:
        for part in re.split(r",(?![^\[]*\])", os.environ[name]):
            pieces = re.split(r"\[([^\[]*)\]", part)  # odd places were in brackets
            choices = [_range(p) if i % 2 else [p] for i, p in enumerate(pieces)]
            nodes += ["".join(choice) for choice in itertools.product(*choices)]
        if not all(re.fullmatch(r"[\w.-]+", node) for node in nodes):
            raise ValueError
    except ValueError as error:
        raise ClusterError(
            f"{name} must be names of nodes such as n[08-10],m5. "
            f"Received: {_shown(os.environ[name])}"
        ) from error
    return nodes


def _range(text: str) -> list[str]:
    """`08-10,12` as 08, 09, 10, 12."""
    numbers = []
    for part in text.split(","):
        found = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", part)
        if not found:
            raise ValueError
        start, stop = int(found[1]), int(found[2] or found[1]) + 1
        if not start < stop <= start + 2**16:  # Slurm's largest number of nodes
            raise ValueError
        numbers += [str(i).zfill(len(found[1])) for i in range(start, stop)]
    return numbers
