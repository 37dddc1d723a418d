"""What the pages say of the study of batch sizes is what its committed results hold."""

import itertools
import json
import statistics

import pytest
from support import pages
from support.helpers import run_command

pytest.importorskip("scipy", reason="the extra `benchmarks` is not installed")

from benchmarks.studies.batch_size import arms, published, results, tables
from benchmarks.studies.batch_size.forms import FORMS
from benchmarks.studies.batch_size.runs import Run

FOLDER = pages.ROOT / "benchmarks" / "results" / "studies"
FOUND = json.loads((FOLDER / "batch_size.json").read_text(encoding="utf-8"))
RATES = json.loads((FOLDER / "learning_rate.json").read_text(encoding="utf-8"))
PAGE, README = pages.read("benchmarks/README.md"), pages.read("README.md")


def test_the_pictures_are_there():
    for name, text in (("batch_size", PAGE), ("learning_rate", PAGE), ("learning_rate", README)):
        assert f"results/studies/{name}.png)" in text
        assert (FOLDER / f"{name}.png").read_bytes().startswith(b"\x89PNG")


STUDY = "benchmarks.studies.batch_size"


@pytest.mark.parametrize(
    ("name", "flag"), [("batch_size", "--plot"), ("learning_rate", "--plot_rates")]
)
def test_one_command_prints_and_draws_them_again(name, flag, tmp_path):
    picture = tmp_path / "picture.png"
    done = run_command(STUDY, f"--show={FOLDER / name}.json", f"{flag}={picture}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == tables.report({"batch_size": FOUND, "learning_rate": RATES}[name])
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_to_repeat_a_point_needs_a_file():
    done = run_command(STUDY, "--again=plain-lars-128-seed1")
    assert done.returncode == 1
    assert "error: --again needs --show" in done.stderr


@pytest.mark.parametrize(("found", "form"), [(FOUND, "small"), (RATES, "rates")])
def test_the_results_are_whole(found, form):
    assert len(found["rows"]) == found["planned"]
    before = results.of_earlier_sitting(found, form, FORMS[form])
    assert len(before) == found["planned"]
    for each in found["environments"]:
        assert {"python", "keras", "keras_lars"} <= each["versions"].keys()
        assert each["device"]["cores"] >= 1


@pytest.mark.parametrize("found", [FOUND, RATES], ids=["FOUND", "RATES"])
def test_every_setting_is_one_of_the_space_that_was_written_down(found):
    for row in found["rows"]:
        arm = arms.BY_NAME[row["arm"]]
        if row["kind"] == "trial":
            setting = arms.trials(arm, found["trials"])[row["number"]]
            assert row["learning_rate"] == pytest.approx(setting["learning_rate"])
        run = Run(**{key: row[key] for key in ("network", "arm", "batch", "kind", "number")})
        assert results.training_of(found, run.name)[1] is row


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


def test_a_choice_of_one_seed_is_not_certain():
    assert diverged(network="plain", arm="momentum", batch=512, kind="trial") == 0
    assert diverged(network="plain", arm="momentum", batch=512, kind="seed") == 2


def one_setting(found, network):
    """The mean over batch sizes of what the best single setting of each arm reaches."""
    lines = tables.one_setting(found, network).splitlines()[2:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return {words: statistics.mean(map(float, reached)) for words, _, *reached in cells}


@pytest.mark.parametrize(
    ("found", "ours", "momentum"),
    [(FOUND, "LARS, tuned", "momentum, tuned"), (RATES, "LARS", "momentum")],
    ids=["FOUND", "RATES"],
)
def test_one_setting_for_all(found, ours, momentum):
    plain, residual = one_setting(found, "plain"), one_setting(found, "residual")
    assert max(plain, key=plain.get) == ours
    assert abs(residual[momentum] - residual[ours]) < 0.5


@pytest.mark.parametrize("batch", [2048, 8192])
def test_what_is_lost_is_lost_in_training(batch):
    names = ["momentum", "nesterov", "lars", "lars_scaled", "lamb"]
    by_accuracy = sorted(names, key=lambda name: -mean("plain", name, batch))
    assert by_accuracy == sorted(names, key=lambda n: mean("plain", n, batch, "measured_loss"))


def by_rate(network, batch, optimizer="lars"):
    """Of eight rates, each twice the one before: what was reached, in points."""
    rows = results.select(RATES, network=network, arm=f"{optimizer}_rates", batch=batch)
    rows = sorted(rows, key=lambda row: row["learning_rate"])
    return {row["learning_rate"]: 100 * results.accuracy_of(row) for row in rows}


def best_rate(network, batch, optimizer="lars"):
    reached = by_rate(network, batch, optimizer)
    return max(reached, key=reached.get)


def lowest_that_diverged(network, batch):
    """No better than what no one would call trained; where none is, beyond all."""
    return min([rate for rate, points in by_rate(network, batch).items() if points < 20] + [256])


def widths(network, optimizer):
    cells = [tables.width(RATES, network, f"{optimizer}_rates", b) for b in (*SMALL, LARGE)]
    return [int(cell.split(":")[0]) for cell in cells]


def test_how_wide_the_range_is():
    assert max(widths("plain", "lars")) == 3
    assert max(widths("plain", "momentum")) == 4
    assert widths("residual", "momentum")[:2] == [8, 7]
    assert widths("residual", "lars")[:2] == [4, 5]
    assert widths("residual", "momentum")[2:4] == widths("residual", "lars")[2:4]


@pytest.mark.parametrize("network", FOUND["networks"])
def test_larger_rates_for_larger_batches(network):
    rates = [best_rate(network, batch) for batch in SMALL]
    bounds = [lowest_that_diverged(network, batch) for batch in SMALL]
    assert rates == sorted(rates)
    assert bounds == sorted(bounds)
    assert rates[0] < rates[-1]
    assert bounds[0] < bounds[-1]
    assert all(round(best_rate(network, batch)) == 45 for batch in (2048, 8192))


def test_momentum_without_normalization_wants_no_larger_rate():
    assert best_rate("plain", 128, "momentum") == best_rate("plain", 8192, "momentum")


def test_too_large_and_too_small():
    for batch in (*SMALL, LARGE):
        far = pytest.approx(4 * best_rate("plain", batch))
        (points,) = [points for rate, points in by_rate("plain", batch).items() if rate == far]
        assert points == 10
    for network, batch in itertools.product(FOUND["networks"], SMALL):
        reached = by_rate(network, batch)
        best = best_rate(network, batch)
        (half,) = [points for rate, points in reached.items() if rate == pytest.approx(best / 2)]
        assert half > reached[best] - 2


def test_the_rule_stays_away_from_what_diverges():
    for network, batch in itertools.product(FOUND["networks"], (*SMALL, LARGE)):
        rule = min(30, 4 * (batch / 128) ** 0.5)
        assert rule < lowest_that_diverged(network, batch) / 2


def test_the_rule_ends_at_twenty_updates():
    for network in FOUND["networks"]:
        trials = results.select(FOUND, network=network, arm="lars", batch=LARGE, kind="trial")
        largest = max(trials, key=lambda row: row["learning_rate"])
        assert round(largest["learning_rate"]) == 31
        assert 100 * largest["test_accuracy"] > mean(network, "lars_scaled", LARGE) + 5


def test_the_largest_of_four_trials_was_chosen():
    for network, batch in itertools.product(FOUND["networks"], (2048, 8192, LARGE)):
        seeds = results.select(FOUND, network=network, arm="lars", batch=batch, kind="seed")
        largest = round(seeds[0]["learning_rate"]) == 31
        assert largest == ((network, batch) != ("plain", LARGE))
