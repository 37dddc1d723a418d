"""Times one update in isolation: `python -m benchmarks.speed.update --output=FILE --plot=FILE`.

It times LARS of this package, SGD and Lamb of Keras, TensorFlow's own momentum kernel, and the LARS
of optax, timm, pytorch_optimizer and open_lars if these are installed, on every installed backend.
Each framework has its own process. In each round, each contender takes one step while the others
wait. Contenders with wrong results are reported and not timed.

`--show=FILE` prints the tables of a result file. With `--plot`, it also plots them.
"""

import shlex
import sys
import time
from collections.abc import Iterator

from benchmarks.speed import command, parts, plots, rounds, tables
from benchmarks.speed.parts import Settings
from benchmarks.speed.workers import Processes
from benchmarks.words import counted


def measure(settings: Settings) -> Iterator[dict]:
    """Yields the results so far, after each part."""
    planned = parts.make(settings)
    contenders = {row.key: row for part in planned for row in part.contenders}
    say(
        f"{counted(len(contenders), 'contender')} on {', '.join(settings.used_backends)}, "
        f"{counted(settings.rounds, 'round')}:"
    )
    for part in planned:
        say(part.describe(settings))
    minutes = round(sum(part.seconds(settings) for part in planned) / 60)
    say(f"about {counted(minutes, 'minute')} in total, more on a busy machine")

    with Processes() as processes:
        outcomes, workers = rounds.check(processes, contenders.values(), say)
        results: dict = {
            "command": f"python -m benchmarks.speed.update {shlex.join(sys.argv[1:])}".strip(),
            "date": time.strftime("%Y-%m-%d %H:%M:%S"),
            "rounds": settings.rounds,
            "warmup_rounds": settings.warmup,
            "quick": settings.quick,
            "workers": workers,
            "outcomes": outcomes,
            "large": {},
            "contenders": [],
            "sizes": {},
            "replicas": [],
            "memory_model": settings.memory_model,
            "memory": [],
        }
        for part in planned:
            say(f"{part.kind}: {part.model}")
            if part.kind == "memory":
                results["memory"] = rounds.measure_memory(processes, part, outcomes)
            elif part.kind == "large":
                results["large"] = rounds.check_large(processes, part, outcomes)
            elif part.kind != "options":  # `rounds.check` has checked the options
                found = rounds.measure(processes, part, outcomes, settings)
                of_kind = results[part.kind]
                (of_kind.setdefault(part.axis, []) if part.axis else of_kind).append(found)
            yield results


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    command.main(Settings, measure, tables.of_updates, plots.draw)
