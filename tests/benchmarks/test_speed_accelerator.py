"""`benchmarks.speed.accelerator` continues after a part fails, and compares with the goals."""

import dataclasses
import importlib.util
import itertools
import json
import re
import sys

import pytest
from support import RESULTS, pages
from support.helpers import run_command

from benchmarks.speed import accelerator, accelerator_tables
from benchmarks.speed.contenders import BACKENDS, CONTENDERS, OPTIONS

DEVICE = {"accelerators": [], "cores": 2, "processor": "some processor"}


@pytest.fixture
def part_code(monkeypatch):
    """A dict from part to the code that replaces its command. No backend is started."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # a run sets both; restored afterwards
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    found = {"tensorflow": {"versions": {}, "device": DEVICE}, "jax": {"failed": "no such library"}}
    monkeypatch.setattr(accelerator, "devices", lambda backends: found)
    parts = {}
    monkeypatch.setattr(
        accelerator, "_command", lambda name, *_: [sys.executable, "-c", parts[name]]
    )
    return parts


WRITES = "import sys; open(sys.argv[1].partition('=')[2], 'w').write('{%s: []}')"
PARTS = {
    "options": "import time; time.sleep(60)",
    "update": WRITES % '"contenders"' + "; raise SystemExit('one line\\nno memory')",
    "bfloat16": "import os; os.kill(os.getpid(), 9)",
    "memory": WRITES % '"memory"',
}


@pytest.mark.processes
@pytest.mark.slow
def test_the_run_continues_after_a_part_fails(part_code, monkeypatch):
    part_code.update(PARTS)
    # The first part gets hardly any time, the others more than enough.
    monkeypatch.setitem(accelerator.PARTS["options"], "share", "1e-9")
    settings = accelerator.Settings(device="cpu", parts=[*PARTS])
    *_, results = accelerator.measure(settings)
    statuses = {part["part"]: part["status"] for part in results["parts"]}
    assert statuses == {
        "options": "not finished in its 1 s",
        "update": "failed: no memory",
        "bfloat16": "failed: killed by SIGKILL",
        "memory": "done",
    }
    # What a part wrote before it failed is kept.
    assert [part["results"] is not None for part in results["parts"]] == [False, True, False, True]
    table = accelerator_tables.table(results)
    assert "jax: no such library" in table
    for status in statuses.values():
        assert (status in table) == (status != "done")


def test_without_an_accelerator_device_must_be_cpu(part_code):
    with pytest.raises(accelerator.UsageError, match=r"^--device must be cpu if no backend"):
        next(accelerator.measure(accelerator.Settings()))


def update_of(contender, role, rounds_us, **settings):
    ours = contender.startswith("keras_lars")
    return {
        "contender": contender,
        "framework": "jax",
        "role": role,
        "ours": ours,
        "compared_to": "Keras SGD, jit",
        "bytes_per_parameter": 28 if role == "lars" else 20,
        "status": "measured",
        "first_call_seconds": 1.0,
        "launches": None,
        "rounds_us": rounds_us,
        **settings,
    }


def results_of(part, results, status="done"):
    return {
        "date": "2026-11-26 00:00:00",
        "command": "python -m benchmarks.speed.accelerator",
        "backends": {"jax": {"versions": {"jax": "1.2"}, "device": DEVICE}},
        "parts": [{"part": part, "backend": "jax", "status": status, "results": results}],
    }


def rows_of(*arguments):
    """A dict from what was measured to its number, its goal, and whether the goal is met."""
    lines = accelerator_tables.table(results_of(*arguments)).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[2:-1]] for line in lines if "|" in line]
    return {what: rest for what, *rest in cells[2:]}


def model_of(name, ours_us):
    return {
        "model": name,
        "parameters": 1_000_000,
        "variables": 1,
        "shapes": 1,
        "memory_speed": {"jax": {"numpy_copy": 10.0, "framework_add": 100.0}},
        "results": [
            update_of("keras_lars", "lars", ours_us, launches=3),
            update_of("keras_lars, a cluster for all", "lars", [1, 1, 1], launches=1),
            update_of("Keras SGD, jit", "sgd", [200, 200, 200]),
            update_of("optax.lars, jit", "lars", [400, 400, 400]),
            update_of("Keras Lamb, jit", "lamb", [], status="failed: no memory"),
        ],
    }


@pytest.mark.parametrize(
    ("ours_us", "met"), [([280, 350, 364], "yes"), ([420, 450, 500], "no")], ids=["met", "missed"]
)
def test_goals_of_an_update(ours_us, met):
    models = [model_of("resnet50", ours_us), model_of("alexnet", ours_us)]
    rows = rows_of("update", {"contenders": models})
    milliseconds = ours_us[1] / 1000
    assert rows["resnet50: keras_lars"] == [f"{milliseconds:.3f} ms in 3 clusters", "", ""]
    assert rows["resnet50: Keras Lamb, jit"] == ["failed: no memory", "", ""]
    # 28 bytes for each of a million parameters take 0.28 ms at 100 GB/s.
    floors = f"{milliseconds / 0.28:.3f}"
    assert rows["resnet50: relative to copying its bytes"] == [floors, "", ""]
    for_large = "yes" if milliseconds / 0.28 <= 1.3 else "no"
    assert rows["alexnet: relative to copying its bytes"] == [floors, "at most 1.3", for_large]
    ratio = f"{ours_us[1] / 200:.3f}"
    assert rows["resnet50: relative to Keras SGD, jit"] == [ratio, "at most 2", met]
    assert "alexnet: relative to Keras SGD, jit" not in rows
    for name in ("resnet50", "alexnet"):
        ratio = f"{ours_us[1] / 400:.3f}"
        assert rows[f"{name}: relative to optax.lars, jit"] == [ratio, "at most 1", met]


def test_an_update_that_failed():
    failed = update_of("keras_lars", "lars", [], status="failed: the worker was killed by SIGKILL")
    model = {**model_of("resnet50", [1]), "memory_speed": {}, "results": [failed]}
    assert rows_of("update", {"contenders": [model]}) == {
        "resnet50: keras_lars": ["failed: the worker was killed by SIGKILL", "", ""]
    }


def test_goals_of_options_training_and_memory():
    rows = rows_of("options", {"outcomes": {"a": "right", "b": "wrong: off by 1e-3 of a step"}})
    assert rows["options that match float64"] == ["1 of 2", "all", "no"]
    assert rows["b"] == ["wrong: off by 1e-3 of a step", "right", "no"]
    settings = {"model": "resnet50", "precision": "float32", "global_batch_size": 256}
    for lars_us, met in ((101_000, "yes"), (101_100, "no")):
        rounds = {"sgd": [100_000] * 3, "lars": [lars_us] * 3}
        rows = rows_of("float32", {"settings": settings, "rounds_us": rounds})
        assert rows["resnet50, float32, sgd: images per second"] == ["2,560", "", ""]
        ratio = f"{lars_us / 100_000:.3f}"
        assert rows["resnet50, float32: a step relative to SGD's"] == [ratio, "at most 1.01", met]
    checked = {
        "jax/keras_lars": {"error": 2e-5, "right": False},
        "jax/optax.lars, jit": {"error": 1e-7, "right": True},
        "torch/keras_lars": {"failed": "no memory"},
    }
    rows = [rows_of("large", {"large": {key: found}}) for key, found in checked.items()]
    assert [*rows[0].values()] == [["2.0e-05", "at most 1e-05", "no"]]
    assert [*rows[1].values()] == [["1.0e-07", "", ""]]
    assert [*rows[2].values()] == [["no memory", "at most 1e-05", "no"]]
    memory = {"contender": "keras_lars", "status": "measured"}
    memory |= {"high_water_bytes": 31_000_000, "state_bytes": 30_000_000}
    rows = rows_of("memory", {"memory": [memory]})
    assert rows["memory of a step: keras_lars"][0] == "31 MB for 30 MB of state"


def test_the_last_of_several_results_counts():
    settings = {"model": "resnet50", "precision": "float32", "global_batch_size": 256}
    first, second = (
        results_of("float32", {"settings": settings, "rounds_us": {"sgd": [us], "lars": [2 * us]}})
        for us in (100_000, 200_000)
    )
    unfinished = results_of("bfloat16", None, status="failed: no memory")
    table = accelerator_tables.table(first, unfinished, second)
    assert "1,280" in table
    assert "2,560" not in table
    assert "failed: no memory" in table
    (row,) = accelerator_tables.trainings(first, unfinished, second).splitlines()[2:]
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells == ["jax", "float32", "1,280", "640", "2.000"]


def test_what_the_pages_say_about_the_time():
    minutes = {}
    for backend in BACKENDS:
        found = json.loads((RESULTS / f"speed/h100/{backend}.json").read_text())
        minutes[backend] = round(sum(part["seconds"] for part in found["parts"]) / 60)
    sentence = "TensorFlow took {tensorflow} minutes, JAX {jax} and torch {torch}."
    assert sentence.format(**minutes) in pages.read("benchmarks/results/speed/gpu.md")
    least, most = min(minutes.values()), max(minutes.values())
    assert f"in {least} to {most} minutes for each backend" in pages.read("docs/speed.md")


@pytest.mark.processes
@pytest.mark.slow
def test_a_quick_run_on_the_cpu(tmp_path):
    """Runs two parts. `test_speed_update` and `test_speed_step` run the others.

    Uses torch if it is installed, since torch compiles nothing.
    """
    backend = "torch" if importlib.util.find_spec("torch") else "tensorflow"
    arguments = ["--quick", "--device=cpu", f"--backends={backend}", "--parts=options,large"]
    done = run_command("benchmarks.speed.accelerator", *arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]
    results = json.loads((tmp_path / "accelerator.json").read_text())
    options, large = results["parts"]
    assert (options["status"], large["status"]) == ("done", "done")
    errors = [found["error"] for found in large["results"]["large"].values() if "error" in found]
    assert errors
    assert max(errors) < 1e-5
    expected = {row.key for row in OPTIONS if row.framework == backend}
    assert options["results"]["outcomes"] == dict.fromkeys(expected, "right")
    all_of_them = f"{len(expected)} of {len(expected)}"
    row = rf"options that match float64 +\| {all_of_them} +\| all +\| yes"
    assert re.search(row, done.stdout)
    shown = run_command("benchmarks.speed.accelerator", f"--show={tmp_path / 'accelerator.json'}")
    assert shown.stdout == done.stdout


def test_the_commands_of_all_parts_have_known_flags():
    """Includes the commands that the quick run above leaves out."""
    from benchmarks.speed import step, update

    settings = {"update": update.Settings, "step": step.Settings}
    for (name, part), quick in itertools.product(accelerator.PARTS.items(), (False, True)):
        asked = accelerator._command(name, "tensorflow", accelerator.Settings(quick=quick))
        known = {field.name for field in dataclasses.fields(settings[part["module"]])}
        assert {each.removeprefix("--").partition("=")[0] for each in asked[3:]} <= known
    timed = contenders_of("update")
    assert {row.framework for row in timed} == set(BACKENDS)
    assert {"lars", "sgd", "lamb"} == {row.role for row in timed}
    assert {row.name for row in timed} > {
        "optax.lars, jit",
        "timm Lars, foreach",
        "torch SGD, fused",
    }
    measured = contenders_of("memory")
    for backend in BACKENDS:
        assert len([row for row in measured if row.framework == backend]) == 2


def contenders_of(part):
    asked = accelerator._command(part, "tensorflow", accelerator.Settings())
    (pattern,) = (each.partition("=")[2] for each in asked if each.startswith("--contenders="))
    return [row for row in CONTENDERS if re.search(pattern, row.key)]
