"""Times contenders on one model, interleaved in rounds.

In each round, each contender takes one step, in an order that a fixed seed shuffles. Other load on
the machine then affects all contenders equally. Ratios are taken within a round.
"""

import contextlib
import random
from collections.abc import Callable, Iterable

from benchmarks.speed import variables
from benchmarks.speed.contenders import Contender
from benchmarks.speed.parts import Part, Settings
from benchmarks.speed.workers import Process, Processes, WorkerDied, WorkerError


def check(
    processes: Processes, contenders: Iterable[Contender], say: Callable[[str], None]
) -> tuple[dict, dict]:
    """Checks each contender. Returns the outcomes, and the versions and devices of the workers."""
    contenders = list(contenders)
    outcomes = {c.key: f"not installed: {c.missing}" for c in contenders if c.missing}
    workers = {}
    for framework, rows in _by_framework(c for c in contenders if not c.missing).items():
        process = processes[framework]
        try:
            with process.new_worker():
                needed = sorted({row.needs for row in rows if row.needs})
                workers[framework] = process.ask("hello", distributions=needed)
                for row in rows:
                    outcomes[row.key] = _checked(process, row)
        except WorkerDied as error:
            outcomes.update({r.key: f"failed: {error}" for r in rows if r.key not in outcomes})
    for contender in contenders:
        if outcomes[contender.key] != "right":
            say(f"{contender.key}: {outcomes[contender.key]}")
    return outcomes, workers


def _checked(process: Process, contender: Contender) -> str:
    try:
        checked = process.ask("check", contender=contender.key)
    except WorkerDied:
        raise
    except WorkerError as error:
        return f"failed: {error}"
    return "right" if checked["right"] else f"wrong: off by {checked['error']:.1e} of a step"


def check_large(processes: Processes, part: Part, outcomes: dict) -> dict[str, dict]:
    """The error of each contender on large variables."""
    found: dict[str, dict] = {}
    for contender in part.contenders:
        found[contender.key] = {"failed": outcomes[contender.key]}
        if outcomes[contender.key] != "right":
            continue
        process = processes[contender.framework]
        try:
            with process.new_worker():
                found[contender.key] = process.ask(
                    "check", contender=contender.key, shapes=part.shapes
                )
        except WorkerError as error:
            found[contender.key] = {"failed": str(error)}
    return found


def measure(processes: Processes, part: Part, outcomes: dict, settings: Settings) -> dict:
    """The times of all contenders on one model, as a dictionary for JSON.

    Each worker is new, so nothing is compiled yet.
    """
    contenders, shapes = part.contenders, part.shapes
    parameters = variables.parameters(shapes)
    status = {c.key: outcomes[c.key] for c in contenders}
    if sum(c.state_bytes(parameters) for c in contenders) > settings.memory * 1e9:
        status.update({c.key: "left out: the model is large" for c in contenders if not c.main})
    first_calls: dict[str, float | None] = {}
    launches: dict[str, float | None] = {}
    times: dict[str, list[int]] = {c.key: [] for c in contenders}
    speeds = {}

    with contextlib.ExitStack() as stack:
        for framework, rows in _by_framework(
            c for c in contenders if status[c.key] == "right"
        ).items():
            process = processes[framework]
            try:
                stack.enter_context(process.new_worker())
                speeds[framework] = process.ask("memory_speed", size_bytes=settings.copy_bytes)
                process.ask("model", shapes=shapes)
            except WorkerError as error:
                status.update({row.key: f"failed: {error}" for row in rows})

        def ask(contender: Contender, do: str) -> float | None:
            if status[contender.key] != "right":
                return None
            try:
                return processes[contender.framework].ask(do, contender=contender.key)
            except WorkerDied as error:
                # Everything that the worker held is lost.
                for other in contenders:
                    if other.framework == contender.framework and status[other.key] == "right":
                        status[other.key] = f"failed: {error}"
            except WorkerError as error:
                status[contender.key] = f"failed: {error}"
            return None

        for contender in contenders:
            first_calls[contender.key] = ask(contender, "build")
            launches[contender.key] = ask(contender, "launches")
        order = random.Random(0)
        for round_ in range(settings.warmup + settings.rounds):
            for contender in order.sample(contenders, len(contenders)):
                seconds = ask(contender, "step")
                if seconds is not None and round_ >= settings.warmup:
                    times[contender.key].append(round(seconds * 1e6))

    return {
        "model": part.model,
        "parameters": parameters,
        "variables": len(shapes),
        "shapes": len(set(shapes.values())),
        "memory_speed": speeds,
        "results": [
            {
                "contender": c.name,
                "framework": c.framework,
                "role": c.role,
                "ours": c.ours,
                "compared_to": c.compared_to,
                "bytes_per_parameter": c.bytes_per_parameter,
                "status": "measured" if status[c.key] == "right" else status[c.key],
                "first_call_seconds": first_calls[c.key],
                "launches": launches[c.key],
                "rounds_us": times[c.key],
            }
            for c in contenders
        ],
    }


def measure_memory(processes: Processes, part: Part, outcomes: dict) -> list[dict]:
    """The peak memory of a step of each contender, each in a new worker."""
    rows = []
    for contender in part.contenders:
        result: dict = {"status": outcomes[contender.key]}
        if result["status"] == "right":
            process = processes[contender.framework]
            try:
                with process.new_worker():
                    result = process.ask("memory", contender=contender.key, shapes=part.shapes)
            except WorkerError as error:
                result = {"status": f"failed: {error}"}
        rows.append({"contender": contender.name, "framework": contender.framework, **result})
    return rows


def _by_framework(contenders: Iterable[Contender]) -> dict[str, list[Contender]]:
    rows: dict[str, list[Contender]] = {}
    for contender in contenders:
        rows.setdefault(contender.framework, []).append(contender)
    return rows
