"""Bad and odd input to everything public: it must work or be refused with a clear message.

`PYTHONPATH=tests python -m support.fuzz_inputs --count=2500 --output=FILE` runs that many inputs,
drawn with `--seed` from all cases: each value of `fuzz_values` for each argument of each public
callable, damaged records for the report and the monitor, and odd flags and files for each command.
A call must either raise a ValueError that names the argument and briefly shows what was received,
or return an object that works. A command must either print one line and end with a nonzero status,
or show a table. Nothing else may be raised, and refused input must change nothing on disk.
"""

import argparse
import collections
import contextlib
import functools
import io
import json
import os
import pathlib
import random
import sys
import tempfile
import time
import traceback
import warnings
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks import environment
from support import fuzz_arguments, fuzz_commands, fuzz_files

LONGEST = 1500  # characters in a message
SLOWEST = 10.0  # seconds of this process for one input


class Verdict(NamedTuple):
    """The outcome of an input: "refused", "works" or "fault"; `why` explains it."""

    kind: str
    why: str = ""


def cases():
    """All cases by name: functions that take an empty folder and return a verdict."""
    found = {}
    for name, case in {**fuzz_arguments.cases(), **fuzz_files.cases()}.items():
        found[name] = functools.partial(judged, *case)
    for name, arguments in fuzz_commands.cases().items():
        found[name] = functools.partial(judged_command, *arguments)
    return found


def judged_command(prepare, module, arguments, folder):
    prepare(folder)
    before = listed(folder)
    status, words = fuzz_commands.run(module, arguments, folder)
    if status == 0:
        return Verdict("works")
    if "Traceback" in words or len(words.splitlines()) != 1 or not words.startswith("error: "):
        return Verdict("fault", f"status {status}: {words[-300:]!r}")
    return _refused(words, before, folder)


def judged(names, prepare, act, folder):
    """The verdict on a call; an error must mention one of `names`."""
    prepare(folder)
    before = listed(folder)
    started = time.process_time()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            act(folder)
    except ValueError as error:
        return _of_refusal(error, names, before, folder)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return Verdict("fault", _last_line(error))
    seconds = time.process_time() - started
    return Verdict("fault", f"{seconds:.0f} s") if seconds > SLOWEST else Verdict("works")


def _of_refusal(error, names, before, folder):
    message = str(error)
    is_ours = any(
        "keras_lars" in pathlib.Path(frame.filename).parts
        for frame in traceback.extract_tb(error.__traceback__)[-1:]
    )
    if type(error).__module__ != "builtins" or not is_ours:
        return Verdict("fault", _last_line(error))
    if not any(f"`{name}`" in message for name in names) or "Received" not in message:
        return Verdict("fault", f"not in the house style: {message[:300]}")
    return _refused(message, before, folder)


def _refused(message, before, folder):
    """The verdict on a well-worded refusal: it must be short, and change no files."""
    if len(message) > LONGEST:
        return Verdict("fault", f"a message of {len(message)} characters: {message[:200]}")
    if listed(folder) != before:
        return Verdict("fault", f"left {sorted(set(listed(folder)) ^ set(before))} behind")
    return Verdict("refused", message)


def listed(folder):
    """The files of a folder and their contents."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b""
        for path in pathlib.Path(folder).rglob("*")
    }


def _last_line(error):
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{pathlib.Path(frame.filename).name}:{frame.lineno}"
    try:
        message = " ".join(str(error).split())[:200]
    except Exception:
        message = ""
    return f"{type(error).__name__} at {where}: {message}"


def run(count, seed=0, chosen=""):
    """The verdicts by name on `count` inputs of all kinds, in an order set by the seed."""
    available = {name: act for name, act in cases().items() if chosen in name}
    groups = collections.defaultdict(list)
    for name in available:
        groups[name.rpartition(" <- ")[0]].append(name)
    generator = random.Random(seed)
    for names in groups.values():
        generator.shuffle(names)
    longest = max(map(len, groups.values()), default=0)
    turns = [name for turn in range(longest) for name in _turn(groups, turn, generator)]
    verdicts = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in turns[:count]:
            with tempfile.TemporaryDirectory() as folder, inside(folder):
                verdicts[name] = available[name](pathlib.Path(folder))
    return verdicts


@contextlib.contextmanager
def inside(folder):
    """Makes this the current folder."""
    before = pathlib.Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _turn(groups, turn, generator):
    names = [names[turn] for names in groups.values() if turn < len(names)]
    generator.shuffle(names)
    return names


def main():
    parser = argparse.ArgumentParser(description="Bad and odd input to everything public.")
    parser.add_argument("--count", type=int, default=2500, help="how many; 0 is all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="those with this in their names")
    parser.add_argument("--output", help="file for the counts, as JSON")
    asked = parser.parse_args()
    started = time.perf_counter()
    verdicts = run(asked.count or None, asked.seed, asked.only)
    kinds = collections.Counter(verdict.kind for verdict in verdicts.values())
    faults = {name: v.why for name, v in verdicts.items() if v.kind == "fault"}
    for name, why in faults.items():
        print(f"{name}: {why}")
    found = {
        "inputs": len(verdicts),
        "seed": asked.seed,
        "refused": kinds["refused"],
        "works": kinds["works"],
        "faults": faults,
        "by_kind": {
            part: dict(
                collections.Counter(v.kind for n, v in verdicts.items() if n.startswith(part))
            )
            for part in ("argument", "file", "command")
        },
        "seconds": round(time.perf_counter() - started),
        "versions": environment.versions("tensorflow"),
    }
    print(json.dumps({**found, "faults": len(faults)}))
    if asked.output:
        pathlib.Path(asked.output).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
