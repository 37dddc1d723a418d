"""Runs Keras's own tests, from the installed package, with LARS instead of SGD, Adam and RMSprop.

    PYTHONPATH=tests python -m support.keras_own_tests [--output=FILE]

The tests run three times, each time in one process: with the stock optimizers, with LARS as plain
SGD (nothing is adapted or decayed), and with LARS at its defaults. Tests that pass with the stock
optimizers and fail with LARS are printed with their errors. This takes half an hour, and is not
part of the test suite.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

FOLDERS = ("optimizers", "trainers", "callbacks", "models", "saving", "backend")
USES_AN_OPTIMIZER = re.compile(r"optimizers\.|optimizer=|\.compile\(")
STANDS_FOR = ("SGD", "Adam", "RMSprop")
RUNS = ("stock", "plain", "defaults")


def files():
    import keras

    root = pathlib.Path(keras.__file__).parent / "src"
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*_test.py")):
            # Tests of one optimizer's formula do not apply to LARS.
            is_of_one = path.parent.name == "optimizers" and path.stem not in (
                *("optimizer_test", "optimizer_sparse_test", "multi_optimizer_test"),
                "loss_scale_optimizer_test",
            )
            is_of_jax = path.parent.name == "jax"
            text = path.read_text(encoding="utf-8")
            if not is_of_one and not is_of_jax and USES_AN_OPTIMIZER.search(text):
                yield str(path)


def stand_in(as_plain):
    import keras_lars

    def make(learning_rate=0.01, momentum=0.0, nesterov=False, weight_decay=None, **kwargs):
        for name in ("beta_1", "beta_2", "epsilon", "amsgrad", "rho", "centered"):
            kwargs.pop(name, None)
        if not as_plain:
            return keras_lars.LARS(learning_rate, **kwargs)
        return keras_lars.LARS(
            learning_rate,
            momentum,
            weight_decay or 0.0,
            nesterov=nesterov,
            exclude_from_layer_adaptation=keras_lars.optional(".*"),
            exclude_from_weight_decay=[],
            **kwargs,
        )

    return make


def pytest_configure(config):
    """Replaces the optimizers, as a plugin in the process that runs the tests."""
    kind = os.environ["KERAS_LARS_STANDS_IN"]
    if kind == "stock":
        return
    import keras
    from keras.src import optimizers

    import keras_lars

    make = stand_in(kind == "plain")
    get = optimizers.get

    def get_ours(identifier):
        if isinstance(identifier, str) and identifier.lower() in map(str.lower, STANDS_FOR):
            return make()
        return get(identifier)

    for module in (optimizers, keras.optimizers):
        module.get = get_ours
        for name in STANDS_FOR:
            setattr(module, name, make)
    for name in STANDS_FOR:
        module = sys.modules[f"keras.src.optimizers.{name.lower()}"]
        setattr(module, name, make)
    assert isinstance(optimizers.get("sgd"), keras_lars.LARS)


def run(kind):
    """The outcome and message of each test."""
    from support.helpers import environment

    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder, "log.xml")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-p", "support.keras_own_tests"),
                *("-p", "no:cacheprovider", "--rootdir", folder, f"--junit-xml={log}"),
                *(
                    "-o",
                    "junit_family=xunit1",
                    "--tb=short",
                    "--continue-on-collection-errors",
                    *files(),
                ),
            ],
            env=environment(KERAS_LARS_STANDS_IN=kind),
            capture_output=True,
            text=True,
            cwd=folder,
        )
        if not log.exists():
            sys.exit(f"error: pytest ended without a log: {done.stderr[-2000:]}")
        from xml.etree import ElementTree

        found = {}
        for case in ElementTree.parse(log).iter("testcase"):
            problem = next((c for c in case if c.tag in ("failure", "error", "skipped")), None)
            name = f"{case.get('classname')}::{case.get('name')}"
            text = "" if problem is None else f"{problem.get('message')}"
            found[name] = ("passed" if problem is None else problem.tag, text[:400])
        return found


def main():
    from benchmarks import environment

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output")
    output = parser.parse_args().output
    runs = {}
    for kind in RUNS:
        runs[kind] = run(kind)
        outcomes = [outcome for outcome, _ in runs[kind].values()]
        counts = {each: outcomes.count(each) for each in sorted(set(outcomes))}
        print(kind, counts, flush=True)
    fallen = {
        kind: {
            name: text
            for name, (outcome, text) in runs[kind].items()
            if outcome in ("failure", "error") and runs["stock"].get(name, ("",))[0] == "passed"
        }
        for kind in RUNS[1:]
    }
    for kind, tests in fallen.items():
        print(f"\n{kind}: {len(tests)} that pass with the stock optimizers")
        for name, text in tests.items():
            print(f"  {name}\n      {text.splitlines()[0] if text else ''}")
    if output:
        found = {
            "versions": environment.versions("tensorflow"),
            "device": environment.device(),
            "counts": {kind: len(each) for kind, each in runs.items()},
            "fallen": fallen,
        }
        pathlib.Path(output).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
