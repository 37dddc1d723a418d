"""`benchmarks.speed` measures what it claims: model sizes, the check, result files, errors."""

import dataclasses
import json
import math
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from support.helpers import environment, run_command

from benchmarks.speed import formulas, tables, variables, workers
from benchmarks.speed.contenders import (
    BACKENDS,
    CONTENDERS,
    OPTIONS,
    REPLICAS,
    Framework,
    installed,
)

CHOSEN = "--contenders=^tensorflow/(keras_lars|Keras SGD, XLA)$"


def command(*arguments):
    return run_command("benchmarks.speed.update", *arguments)


@pytest.mark.parametrize(
    ("model", "count", "kinds", "parameters"),
    [
        # `test_networks` compares these shapes with those of the network.
        ("resnet50", 161, 28, 25_557_032),
        ("alexnet", 16, 13, 60_965_224),
        ("small_variables", 1000, 20, 1_889_000),
        ("embedding", 1, 1, 100_000_000),
    ],
)
def test_sizes_of_the_models(model, count, kinds, parameters):
    shapes = variables.model(model)
    assert (len(shapes), len(set(shapes.values()))) == (count, kinds)
    assert variables.parameters(shapes) == parameters


@pytest.mark.parametrize("count", [1, 7, 2000])
def test_the_number_of_small_variables_can_be_chosen(count):
    assert len(variables.small_variables(count)) == count


def test_required_contenders():
    everyone = [*CONTENDERS, *REPLICAS, *OPTIONS]
    assert len({row.key for row in everyone}) == len(everyone)
    forms = {
        row.formula.momentum_form
        for row in CONTENDERS
        if row.ours and row.framework == "tensorflow"
    }
    assert forms == {"classic", "learning_rate_outside", "ratio_outside"}
    for backend in BACKENDS:
        roles = {row.role for row in CONTENDERS if row.framework == backend}
        assert {"lars", "sgd", "lamb"} <= roles


SHAPES = {"a/kernel": (4, 3), "b/kernel": (4, 3), "c/bias": (3,)}


def reached(formula, hyper=variables.CHECKED):
    arrays = zip(SHAPES, variables.weights(SHAPES), variables.gradients(SHAPES, variables.CHECKED))
    return [
        formula(path, w.astype(np.float64), g.astype(np.float64), hyper) for path, w, g in arrays
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"momentum_form": "ratio_outside"},
        {"nesterov": True},
        {"decay_in_norm": True},
        {"exclude_from_layer_adaptation": ["bias"]},
        {"epsilon": 1e-3},
        {"momentum_form": "ratio_of_update"},
        {"trust_clip": True},
        {"momentum": 0},
        {"gradient_accumulation_steps": 2},
    ],
    ids=str,
)
def test_the_check_detects_another_formula(wrong):
    formula = formulas.Lars()
    assert error_of(formula, reached(formula)) < 1e-12
    if "momentum_form" in wrong:  # at a constant ratio all forms coincide
        assert error_of(formula, reached(dataclasses.replace(formula, **wrong))) > 1e-4
    else:
        assert error_of(formula, reached(dataclasses.replace(formula, **wrong))) > 1e-3


@pytest.mark.parametrize(
    "field", ["learning_rate", "momentum", "weight_decay", "trust_coefficient"]
)
def test_the_check_detects_another_hyperparameter(field):
    formula = formulas.Lars()
    hyper = dataclasses.replace(
        variables.CHECKED, **{field: 0.9 * getattr(variables.CHECKED, field)}
    )
    assert error_of(formula, reached(formula, hyper)) > 1e-3


def error_of(formula, weights):
    return formulas.error(formula, SHAPES, weights, variables.CHECKED)


def test_the_check_detects_nan_and_swapped_variables():
    formula = formulas.Lars()
    first, second, bias = reached(formula)
    assert error_of(formula, [second, first, bias]) > 0.1
    assert not error_of(formula, [first * math.nan, second, bias]) <= 1


def test_ratios_are_taken_within_rounds():
    # The ratios are 1, 4 and 1. The ratio of the medians is 1.5.
    assert tables.ratio([10, 40, 15], [10, 10, 15]) == 1


@pytest.mark.slow
def test_a_quick_run_and_showing_its_results(tmp_path):
    path = tmp_path / "results.json"
    done = command(
        "--quick", "--rounds=2", "--models=resnet50", CHOSEN, f"--output={path}",
        f"--plot={tmp_path / 'plot.png'}", "--parts=contenders,sizes,memory",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert "minutes in total" in done.stderr
    results = json.loads(path.read_text())
    assert results["workers"]["tensorflow"]["versions"]["tensorflow"]
    assert results["workers"]["tensorflow"]["device"]["processor"]
    assert set(results["outcomes"].values()) == {"right"}
    (model,) = results["contenders"]
    assert {row["contender"] for row in model["results"]} == {"keras_lars", "Keras SGD, XLA"}
    for row in model["results"]:
        assert row["status"] == "measured"
        assert row["first_call_seconds"] > 0
        assert len(row["rounds_us"]) == 2
    assert {axis: len(points) for axis, points in results["sizes"].items()} == {
        "elements": 1,
        "variables": 2,
    }
    assert len(results["memory"]) == 2
    assert (tmp_path / "plot.png").stat().st_size > 10_000
    shown = command(f"--show={path}")
    assert shown.returncode == 0, shown.stderr[-4000:]
    assert shown.stdout == done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models=vgg"], "error: --models must be one of .* Received: vgg"),
        (["--parts=gpu"], "error: --parts must be one of .* Received: gpu"),
        (["--contenders=nobody"], "error: --contenders must match a contender. Received: nobody"),
        (["--contenders=("], "error: --contenders must be a regular expression: .*"),
        (["--rounds=0"], "error: .*rounds.*"),
        (["--show=nothing.json"], "error: --show cannot be read: .* Received: nothing.json"),
        (["--output=none/x.json"], "error: --output must be in an existing folder. .*"),
        (["more"], "error: unknown argument more"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_mistakes_give_one_line_errors(arguments, message):
    done = command(*arguments)
    assert done.returncode == 1
    assert re.fullmatch(message, done.stderr.strip()), done.stderr


@pytest.mark.slow
def test_how_a_worker_fails(monkeypatch):
    monkeypatch.setitem(workers.FRAMEWORKS, "tensorflow", Framework("on_tensorflow", "nonsense"))
    with workers.Process("tensorflow") as process:
        with process.new_worker():
            os.kill(process._worker, signal.SIGKILL)
            for _ in range(2):
                assert process.ask("hello") == {"failed": "the worker was killed by SIGKILL"}
        assert "nonsense" in process.ask_new_worker("hello")["failed"]
        process._process.kill()
        assert "killed by SIGKILL" in process.ask_new_worker("hello")["failed"]


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_other_workers_run_without_tensorflow(framework):
    if not installed(framework):
        pytest.skip(f"{framework} is not installed")
    script = (
        "import sys\n"
        "sys.modules['tensorflow'] = None\n"
        "from benchmarks.speed import contenders, worker\n"
        f"key = '{framework}/keras_lars'\n"
        "(ours,) = (row for row in contenders.CONTENDERS if row.key == key)\n"
        f"print(worker.Worker({framework!r}).check(ours)['right'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(KERAS_BACKEND=framework),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.split()[-1] == "True"
