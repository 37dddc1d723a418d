"""Times contenders on one model, interleaved in rounds.

In each round, each contender takes one step, in an order that a fixed seed shuffles. Other load on
the machine then affects all contenders equally. Ratios are taken within a round.
"""

import contextlib
import random
import time
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from benchmarks.speed import command, variables
from benchmarks.speed.contenders import Contender
from benchmarks.speed.workers import ProcessOf

if TYPE_CHECKING:
    from benchmarks.speed.update import Part, Settings

# torch's idle threads wait for more work in a loop, for about 10 ms. If they were told to sleep at
# once, as no user does, no pause would be needed, but some updates would take twice as long.
_PAUSE_SECONDS = 0.02


def check(process_of: ProcessOf, contenders: Collection[Contender]) -> tuple[dict, dict]:
    """Checks each contender. Returns the outcomes, and the versions and devices of the workers."""
    outcomes = {c.key: f"not installed: {c.missing}" for c in contenders if c.missing}
    workers = {}
    for framework, rows in _by_framework(c for c in contenders if not c.missing).items():
        process = process_of(framework)
        with process.new_worker():
            needed = sorted({row.needs for row in rows if row.needs})
            found = process.ask("hello", distributions=needed)
            if "failed" not in found:
                workers[framework] = found
            for row in rows:
                outcomes[row.key] = _outcome(process.ask("check", contender=row))
    for key, outcome in outcomes.items():
        if outcome != "right":
            command.say(f"{key}: {outcome}")
    return outcomes, workers


def _outcome(checked: dict) -> str:
    if "failed" in checked:
        return f"failed: {checked['failed']}"
    return "right" if checked["right"] else f"wrong: off by {checked['error']:.1e} of a step"


def check_large(process_of: ProcessOf, part: "Part", outcomes: dict) -> dict[str, dict]:
    """The error of each contender on large variables."""
    return {
        c.key: process_of(c.framework).ask_new_worker("check", contender=c, shapes=part.shapes)
        if outcomes[c.key] == "right"
        else {"failed": outcomes[c.key]}
        for c in part.contenders
    }


def measure(process_of: ProcessOf, part: "Part", outcomes: dict, settings: "Settings") -> dict:
    """The times of all contenders on one model, as a dictionary for JSON.

    Each worker is new, so nothing is compiled yet.
    """
    contenders, parameters = part.contenders, variables.parameters(part.shapes)
    status = {c.key: outcomes[c.key] for c in contenders}
    if sum(c.state_bytes(parameters) for c in contenders) > settings.memory * 1e9:
        status.update({c.key: "left out: the model is large" for c in contenders if not c.main})
    times: dict[str, list[int]] = {c.key: [] for c in contenders}
    speeds = {}

    def ask(contender: Contender, do: str) -> dict:
        if status[contender.key] != "right":
            return {}
        answer = process_of(contender.framework).ask(do, contender=contender)
        if "failed" in answer:
            status[contender.key] = f"failed: {answer['failed']}"
            return {}
        return answer

    with contextlib.ExitStack() as stack:
        right = [c for c in contenders if status[c.key] == "right"]
        for framework, rows in _by_framework(right).items():
            process = process_of(framework)
            stack.enter_context(process.new_worker())
            copied = 4 if settings.quick else settings.copied  # MB
            found = process.ask("model", shapes=part.shapes, copy_bytes=copied * 1_000_000)
            if "failed" in found:
                status.update({row.key: f"failed: {found['failed']}" for row in rows})
            else:
                speeds[framework] = found
        built = {c.key: ask(c, "build") for c in contenders}
        order = random.Random(0)
        for round_ in range(settings.warmup + settings.rounds):
            for contender in order.sample(contenders, len(contenders)):
                answer = ask(contender, "step")
                time.sleep(_PAUSE_SECONDS)
                if answer and round_ >= settings.warmup:
                    times[contender.key].append(round(answer["seconds"] * 1e6))

    return {
        "model": part.model,
        "parameters": parameters,
        "variables": len(part.shapes),
        "shapes": len(set(part.shapes.values())),
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
                "first_call_seconds": built[c.key].get("first_call_seconds"),
                "launches": built[c.key].get("launches"),
                "rounds_us": times[c.key],
            }
            for c in contenders
        ],
    }


def measure_memory(process_of: ProcessOf, part: "Part", outcomes: dict) -> list[dict]:
    """The peak memory of a step of each contender, each in a new worker."""
    rows = []
    for contender in part.contenders:
        result: dict = {"status": outcomes[contender.key]}
        if result["status"] == "right":
            process = process_of(contender.framework)
            result = process.ask_new_worker("memory", contender=contender, shapes=part.shapes)
            if "failed" in result:
                result = {"status": f"failed: {result['failed']}"}
        rows.append({"contender": contender.name, "framework": contender.framework, **result})
    return rows


def _by_framework(contenders: Iterable[Contender]) -> dict[str, list[Contender]]:
    rows: dict[str, list[Contender]] = {}
    for contender in contenders:
        rows.setdefault(contender.framework, []).append(contender)
    return rows
