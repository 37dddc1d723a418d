"""Measures what matters on a GPU in 15 minutes: `python -m benchmarks.speed.accelerator`.

It uses every installed backend that finds a GPU. It compares an update with each option to float64;
times an update of ResNet-50 and AlexNet, beside other installed optimizers and a copy of the bytes
that it must move; measures images per second of ResNet-50 with SGD and with LARS; and measures
memory. Each part runs as a command of this folder, in its own process, and ends when its share of
the time is over. If a part fails, the failure is recorded and the next part starts. The results are
written to `accelerator.json`, and printed as one table with the goals. `--show=FILE` prints the
table again.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

from benchmarks import files
from benchmarks.command_line import UsageError
from benchmarks.settings import FlagSettings, setting
from benchmarks.speed import accelerator_tables, command
from benchmarks.speed.contenders import BACKENDS, installed
from benchmarks.speed.workers import ROOT, environment, how_ended, processes

_LINES = files.csv_lines(pathlib.Path(__file__).with_name("accelerator.csv"))
PARTS = {line["part"]: line for line in _LINES}


@dataclasses.dataclass(frozen=True)
class Settings(FlagSettings):
    """What to measure and for how long; the fields are flags."""

    backends: Sequence[str] = setting(
        "Backends: tensorflow, jax, torch. Default: all that are installed.", (), choices=BACKENDS
    )
    parts: Sequence[str] = setting("Parts to measure.", tuple(PARTS), choices=tuple(PARTS))
    device: str = setting(
        "Device to measure. cpu needs no accelerator.",
        "accelerator",
        choices=("accelerator", "cpu"),
    )
    minutes: float = setting("Total time in minutes.", 15.0, minimum=0.01, below=1e6)
    image_size: int = setting("Image height and width in pixels.", 224, minimum=8)
    global_batch_size: int = setting("Images per training step.", 256, minimum=1)
    quick: bool = setting("Use tiny shapes, to test the benchmark itself.", False)


def measure(settings: Settings) -> Iterator[dict]:
    """Yields the results so far, after each part.

    Raises:
        UsageError: If no backend finds an accelerator, and `device` is not "cpu".
    """
    if settings.device == "cpu":
        os.environ.update(CUDA_VISIBLE_DEVICES="-1", JAX_PLATFORMS="cpu")
    end = time.monotonic() + 60 * settings.minutes
    known = devices(settings.backends or [name for name in BACKENDS if installed(name)])
    backends = [
        name
        for name, each in known.items()
        if "device" in each and (each["device"]["accelerators"] or settings.device == "cpu")
    ]
    if not backends:
        raise UsageError(
            "--device must be cpu if no backend finds an accelerator. "
            f"Received: {settings.device}, with {', '.join(known) or 'no backend'} installed"
        )
    results: dict = {
        **command.about("accelerator"),
        "settings": dataclasses.asdict(settings),
        "backends": known,
        "parts": [],
    }
    planned = [(name, backend) for name in settings.parts for backend in backends]
    for i, (name, backend) in enumerate(planned):
        shares = [float(PARTS[later]["share"]) for later, _ in planned[i:]]
        seconds = max(1.0, (end - time.monotonic()) * shares[0] / sum(shares))
        command.say(f"{name} on {backend}: {seconds:.0f} s at most")
        found = run(_command(name, backend, settings), backend, seconds)
        results["parts"].append({"part": name, "backend": backend, **found})
        yield results


def devices(backends: Sequence[str]) -> dict[str, dict]:
    """The versions and the device of each backend, or how it failed."""
    with processes() as process_of:
        return {name: process_of(name).ask_new_worker("hello") for name in backends}


def _command(name: str, backend: str, settings: Settings) -> list[str]:
    part = PARTS[name]
    arguments = f"{part['arguments']} {part['quick'] if settings.quick else ''}"
    arguments = arguments.format(backend=backend, **dataclasses.asdict(settings))
    return [sys.executable, "-m", f"benchmarks.speed.{part['module']}", *shlex.split(arguments)]


def run(command: Sequence[str], backend: str, seconds: float) -> dict:
    """Runs a command with `--output` for limited time. Returns its status and its results."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        output, errors = pathlib.Path(folder, "results.json"), pathlib.Path(folder, "errors")
        with errors.open("wb") as file:
            process = subprocess.Popen(
                [*command, f"--output={output}"],
                cwd=ROOT,
                env={**os.environ, **environment(backend)},
                stdout=subprocess.DEVNULL,
                stderr=file,
                start_new_session=True,  # a process group, to kill its children with it
            )
        try:
            code = process.wait(seconds)
            said = errors.read_text(encoding="utf-8", errors="replace")
            status = f"failed: {how_ended(code, said)}" if code else "done"
        except subprocess.TimeoutExpired:
            status = f"not finished in its {seconds:.0f} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        results = json.loads(output.read_text(encoding="utf-8")) if output.exists() else None
    return {
        "status": status,
        "command": shlex.join(["python", *command[1:]]),
        "seconds": round(time.monotonic() - started, 1),
        "results": results,
    }


if __name__ == "__main__":
    command.main(Settings, measure, accelerator_tables.table, output="accelerator.json")
