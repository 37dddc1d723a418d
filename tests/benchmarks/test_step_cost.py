"""`benchmarks.step_cost` measures both optimizers in turns, and its page shows what it measured."""

import json
import re

from support import ROOT
from support.helpers import run_command

from benchmarks.speed import step as step_cost
from benchmarks.speed import tables

RESULTS = ROOT / "benchmarks" / "results"
PAGE = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")


def command(*arguments):
    return run_command("benchmarks.speed.step", *arguments)


def test_measures_and_shows_again(tmp_path):
    path = tmp_path / "results.json"
    tiny = ["--model=resnet_tiny", "--image_size=8", "--global_batch_size=2", "--rounds=2"]
    done = command(*tiny, f"--output={path}")
    assert done.returncode == 0, done.stderr[-4000:]
    results = json.loads(path.read_text())
    assert {name: len(us) for name, us in results["rounds_us"].items()} == {"sgd": 2, "lars": 2}
    assert results["settings"]["global_batch_size"] == 2
    assert results["versions"]["tensorflow"]
    assert results["device"]["backend"] == "tensorflow"
    assert command(f"--show={path}").stdout == done.stdout


def test_table():
    results = {
        "settings": {"global_batch_size": 10},
        "rounds_us": {"sgd": [100_000, 200_000, 400_000], "lars": [150_000, 200_000, 440_000]},
    }
    *_, sgd, lars = step_cost.table(results).splitlines()
    assert sgd == "| sgd | 50.0 | 200 (150 to 300) | 1.000 |"
    assert lars == "| lars | 50.0 | 200 (175 to 320) | 1.100 |"


def test_a_missing_file_is_told_in_one_line(tmp_path):
    done = command(f"--show={tmp_path / 'none.json'}")
    assert done.returncode == 1
    assert re.fullmatch("error: .*none.json", done.stderr.strip().splitlines()[-1])


def test_the_page_shows_the_committed_results():
    results = json.loads((RESULTS / "step_cost.json").read_text())
    assert step_cost.table(results) in PAGE
    for path in sorted(RESULTS.glob("update_cost*.json")):
        head, *parts = tables.report(json.loads(path.read_text())).split("\n\n")
        assert all(line in PAGE for line in head.splitlines())
        assert all(part in PAGE for part in parts)


def test_readme_shows_the_committed_results():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    results = json.loads((RESULTS / "update_cost_models.json").read_text())
    resnet50, alexnet = results["contenders"]
    assert tables.brief(resnet50) in text
    ratios = {
        model["model"]: f"{row['summary']['ratio']:.2f}"
        for model in (resnet50, alexnet)
        for row in model["results"]
        if (row["contender"], row["framework"]) == ("keras_lars", "tensorflow")
    }
    sentence = f"{ratios['resnet50']} times SGD under XLA for ResNet-50, {ratios['alexnet']} times"
    assert f"{sentence} for AlexNet" in " ".join(text.split())
