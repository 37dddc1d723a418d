"""What the pages say of the study of batch sizes is what its committed results hold."""

import itertools
import json
import re
import statistics
import subprocess
import sys

import pages
import pytest
from helpers import environment, run_python

pytest.importorskip("scipy", reason="the extra `benchmarks` is not installed")

from benchmarks.studies.batch_size import arms, published, results, tables
from benchmarks.studies.batch_size.forms import FORMS
from benchmarks.studies.batch_size.runs import Run

FOLDER = pages.ROOT / "benchmarks" / "results" / "studies"
FOUND = json.loads((FOLDER / "batch_size.json").read_text(encoding="utf-8"))
PAGE, README = pages.read("benchmarks/README.md"), pages.read("README.md")


def between(text, marker):
    (found,) = re.findall(f"<!-- {marker} -->\n(.*?)\n<!-- /{marker} -->", text, re.DOTALL)
    return found


def test_the_page_has_the_tables_of_the_results():
    assert between(PAGE, "batch sizes") == tables.report(FOUND)
    assert between(PAGE, "batch sizes, searched") == tables.search_spaces(FOUND)
    assert between(PAGE, "batch sizes, published") == published.table()


def test_the_readme_has_the_rates_of_the_results():
    assert between(README, "rates") == tables.by_rate(FOUND, "lars")


def test_the_pictures_are_there():
    for name, text in (("batch_size", PAGE), ("batch_size_rates", README)):
        assert f"results/studies/{name}.png)" in text
        assert (FOLDER / f"{name}.png").read_bytes().startswith(b"\x89PNG")


STUDY = ("-m", "benchmarks.studies.batch_size")


def test_one_command_prints_and_draws_them_again(tmp_path):
    pictures = [tmp_path / "batch_size.png", tmp_path / "rates.png"]
    flags = [f"--show={FOLDER / 'batch_size.json'}", f"--plot={pictures[0]}"]
    printed = run_python(*STUDY, *flags, f"--plot_rates={pictures[1]}")
    assert printed.strip() == tables.report(FOUND)
    for picture in pictures:
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_to_repeat_a_point_needs_a_file():
    done = subprocess.run(
        [sys.executable, *STUDY, "--again=plain-lars-128-seed1"],
        cwd=pages.ROOT,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "error: --again needs --show" in done.stderr


def test_the_results_are_whole():
    assert len(FOUND["rows"]) == FOUND["planned"]
    before = results.of_earlier_sitting(FOUND, "small", FORMS["small"])
    assert len(before) == FOUND["planned"]
    for each in FOUND["environments"]:
        assert {"python", "keras", "keras_lars"} <= each["versions"].keys()
        assert each["device"]["cores"] >= 1


def test_every_setting_is_one_of_the_space_that_was_written_down():
    for row in FOUND["rows"]:
        arm = arms.BY_NAME[row["arm"]]
        if row["kind"] == "trial":
            setting = arms.trials(arm, FOUND["trials"])[row["number"]]
            assert row["learning_rate"] == pytest.approx(setting["learning_rate"])
        run = Run(**{key: row[key] for key in ("network", "arm", "batch", "kind", "number")})
        assert results.training_of(FOUND, run.name)[1] is row


def published_by(words):
    (line,) = [line for line in published.table().splitlines() if line.startswith(f"| {words} |")]
    return [cell.strip() for cell in line.split("|")[2:-2]]


def test_published_numbers_are_those_of_the_recipes():
    assert published_by("AlexNet, LARS") == ["58.7", "58.2", "55.0", "46.9"]
    assert published_by("ResNet-50, momentum, linear scaling") == ["", "76.26", "75.21", "72.45"]


# What the words on the page claim. Where a claim breaks, the words are to be written again.

SMALL, LARGE = [128, 512, 2048, 8192], 32768


def mean(network, arm, batch, key="test_accuracy"):
    rows = results.select(FOUND, network=network, arm=arm, batch=batch, kind="seed")
    values = [row[key] for row in rows if not results.failed(row)]
    return (100 if "accuracy" in key else 1) * statistics.mean(values)


def spread(network, arm, batch):
    rows = results.select(FOUND, network=network, arm=arm, batch=batch, kind="seed")
    return 100 * statistics.stdev(row["test_accuracy"] for row in rows)


def lead(network, batch):
    """Of LARS over Nesterov momentum, in points."""
    return mean(network, "lars", batch) - mean(network, "nesterov", batch)


def diverged(**wanted):
    return sum(map(results.failed, results.select(FOUND, **wanted)))


def test_lars_and_nesterov():
    assert all(abs(lead("residual", batch)) < 1 for batch in SMALL)
    assert round(lead("residual", LARGE)) == -5
    assert all(abs(lead("plain", batch)) < 0.5 for batch in (128, 512))
    assert [round(lead("plain", batch), 1) for batch in (2048, 8192)] == [2.5, 8.5]
    assert abs(lead("plain", LARGE)) < spread("plain", "nesterov", LARGE)
    assert mean("plain", "lamb", LARGE) > mean("plain", "nesterov", LARGE) + 5


def test_the_rules_of_scaling():
    for network in FOUND["networks"]:
        for batch in SMALL:
            assert mean(network, "lars_scaled", batch) > mean(network, "lars", batch) - 1
        assert mean(network, "lars_scaled", LARGE) < mean(network, "lars", LARGE) - 5
        assert diverged(network=network, arm="lars_scaled") == 0
    scaled = {"arm": "momentum_scaled"}
    assert diverged(network="plain", **scaled) == 9
    assert [diverged(network="plain", batch=batch, **scaled) for batch in (128, 512)] == [0, 0]
    assert [diverged(network="residual", batch=b, **scaled) for b in (*SMALL, LARGE)] == [
        *(0, 0, 0, 2, 3)
    ]
    (rate,) = {r["learning_rate"] for r in results.select(FOUND, arm="lars_scaled", batch=LARGE)}
    assert round(rate) == 69


def test_trials_that_diverged():
    counts = {arm.name: diverged(arm=arm.name, kind="trial") for arm in arms.ARMS if arm.space}
    assert counts == {"momentum": 4, "nesterov": 6, "lars": 1, "lamb": 4}
    assert len(results.select(FOUND, arm="lars", kind="trial")) == 40
    assert diverged(network="plain", arm="lars", batch=128, kind="trial") == 1
    assert diverged(network="plain", arm="momentum", batch=512, kind="trial") == 0
    assert diverged(network="plain", arm="momentum", batch=512, kind="seed") == 2


def one_setting(network):
    """The mean over batch sizes of what the best single setting of each arm reaches."""
    lines = tables.one_setting(FOUND, network).splitlines()[2:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return {words: statistics.mean(map(float, reached)) for words, _, *reached in cells}


def test_one_setting_for_all():
    plain, residual = one_setting("plain"), one_setting("residual")
    assert max(plain, key=plain.get) == "LARS, tuned"
    assert residual["momentum, tuned"] > residual["LARS, tuned"] - 0.5


@pytest.mark.parametrize("batch", [2048, 8192])
def test_what_is_lost_is_lost_in_training(batch):
    names = ["momentum", "nesterov", "lars", "lars_scaled", "lamb"]
    by_accuracy = sorted(names, key=lambda name: -mean("plain", name, batch))
    assert by_accuracy == sorted(names, key=lambda n: mean("plain", n, batch, "measured_loss"))


def trials_of_lars(network, batch):
    """Test accuracies from the smallest rate to the largest."""
    rows = results.select(FOUND, network=network, arm="lars", batch=batch, kind="trial")
    rows = sorted(rows, key=lambda row: row["learning_rate"])
    return [100 * (0.1 if results.failed(row) else row["test_accuracy"]) for row in rows]


def test_too_small_and_too_large():
    largest = 3
    for network, batch in itertools.product(FOUND["networks"], (512, 2048, 8192, LARGE)):
        reached = trials_of_lars(network, batch)
        best = reached.index(max(reached))
        assert (best == largest) == ((network, batch) not in {("plain", 512), ("plain", LARGE)})
        assert best == largest or reached[best - 1] < reached[best + 1]
    for network in FOUND["networks"]:
        reached = trials_of_lars(network, 128)
        assert reached.index(max(reached)) in (1, 2)
        assert reached[1] > reached[3]
    costs = []
    for batch in (2048, 8192, LARGE):
        reached = trials_of_lars("plain", batch)
        costs.append(max(reached) - reached[reached.index(max(reached)) - 1])
    assert 3 < min(costs) < max(costs) < 6
