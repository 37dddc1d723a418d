"""Odd flags and damaged results files for the commands of the benchmarks and of the report."""

import functools
import itertools
import json

from support import RESULTS, fuzz_files
from support.commands import commands
from support.helpers import run_command

TEXTS = {
    "nothing": "",
    "space": " ",
    "text": "abc",
    "line break": "a\nb",
    "surrogate": "a\udcffb",
    "4,000 characters": "x" * 4000,
    "slashes": "x/" * 2000,
    "no such folder": "none/such/file",
    "a folder": ".",
    "0": "0",
    "1": "1",
    "-1": "-1",
    "0.5": "0.5",
    "NaN": "nan",
    "inf": "inf",
    "-inf": "-inf",
    "1e400": "1e400",
    "1e-400": "1e-400",
    "2**31": str(2**31),
    "2**63": str(2**63),
    "10**400": "1" + "0" * 400,
    "10**5000": "1" + "0" * 5000,
    "true": "true",
    "comma": ",",
    "twice": "1,1",
    "bracket": "(",
    "20,000 brackets": "(" * 20_000,
    "large repetition": "a{99999999999999999999}",
}
# Other arguments that a command needs.
NEEDED = {
    "benchmarks.data.fake_imagenet": ["--data_dir=images"],
    "benchmarks.collect": ["run"],
}
# For each command that shows a results file: the argument, and such a file.
SHOWN = {
    "benchmarks.collect": ("{}", "studies/digits_resnet50.json"),
    "benchmarks.speed.input": ("--show={}", "speed/input_pipeline.json"),
    "benchmarks.speed.launches": ("--show={}", "speed/launches.json"),
    "benchmarks.speed.step": ("--show={}", "speed/step_cost.json"),
    "benchmarks.speed.update": ("--show={}", "speed/update_cost_small.json"),
    "benchmarks.experiments.batch_size": ("--show={}", "studies/zero_weights_gamma.json"),
    "benchmarks.experiments.norm_ratios": (
        "--show={}",
        "figures/norm_ratios-fashion_mnist/results.json",
    ),
}


def run(module, arguments, folder):
    """The exit status of a command, and what it wrote to standard error."""
    done = run_command("support.fuzz_command_script", str(folder), module, *arguments)
    return done.returncode, done.stderr


@functools.cache
def flags():
    """The names of the flags of each command."""
    done = run_command("support.help_script", json.dumps(commands()))
    return {module: answer["flags"] for module, answer in json.loads(done.stdout).items()}


def _of_results(module):
    """The bytes of a committed results file that a command can show."""
    return (RESULTS / SHOWN[module][1]).read_bytes()


def _write_results(module, change, folder):
    (folder / "results.json").write_bytes(change(_of_results(module)))


def _without(key, data):
    found = json.loads(data)
    holder = found[0] if isinstance(found, list) else found
    del holder[sorted(holder)[key % len(holder)]]
    return json.dumps(found).encode()


def _with(key, text, data):
    found = json.loads(data)
    holder = found[0] if isinstance(found, list) else found
    holder[sorted(holder)[key % len(holder)]] = "REPLACED"
    return json.dumps(found).replace('"REPLACED"', text).encode()


def changes():
    """Pairs of a name and a function that changes a results file."""
    yield from fuzz_files.FILES.items()
    for key in range(6):
        yield f"without key {key}", functools.partial(_without, key)
    for key, (kind, text) in itertools.product(range(6), fuzz_files.JSON.items()):
        yield f"key {key} {kind}", functools.partial(_with, key, text)


def cases():
    """By name: the preparation, the command, and its arguments."""
    found = {}
    for module, (kind, text) in itertools.product(commands(), TEXTS.items()):
        for flag in _flags_of(module):
            needed = [n for n in NEEDED.get(module, []) if not n.startswith(f"--{flag}=")]
            found[f"command {module} --{flag} <- {kind}"] = (
                fuzz_files.nothing,
                module,
                [*needed, f"--{flag}={text}"],
            )
    for module, (form, _) in SHOWN.items():
        for kind, change in changes():
            found[f"command {module} shows <- {kind}"] = (
                functools.partial(_write_results, module, change),
                module,
                [form.format("results.json")],
            )
    for kind, (name, change) in fuzz_files.changes().items():
        if " <- " in kind and kind.startswith(name + " <-"):
            found[f"command keras_lars.report <- {kind}"] = (
                functools.partial(fuzz_files.write_changed, name, change),
                "keras_lars.report",
                ["log"],
            )
    return found


def _flags_of(module):
    return flags()[module]
