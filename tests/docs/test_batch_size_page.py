"""The pages on accuracy by batch size agree with the committed results."""

import itertools
import statistics

import pytest
from support import pages
from support.helpers import run_command

pytest.importorskip("scipy", reason="the extra `benchmarks` is not installed")

from benchmarks.experiments import experiment, results
from benchmarks.experiments.batch_size import BatchSize, training_of
from benchmarks.experiments.small import methods, tables

pytestmark = pytest.mark.docs

FOLDER = pages.ROOT / "benchmarks" / "results" / "studies"


def read(name):
    return results.read(FOLDER / f"{name}.json", "--show", "batch_size")


def rows_of(found):
    table = tables.frame(found)
    rates = table["settings"].map(lambda settings: settings["learning_rate"])
    return table.assign(learning_rate=rates).to_dict("records")


RESULTS = {"small": read("batch_size"), "rates": read("learning_rate")}
FOUND, RATES = rows_of(RESULTS["small"]), rows_of(RESULTS["rates"])
NETWORKS = RESULTS["small"]["settings"]["networks"]


def test_the_plots_exist():
    guide = pages.read("docs/learning_rate.md")
    assert "(../benchmarks/results/studies/learning_rate.png)" in guide
    for name, page in {"batch_size": "first_round", "learning_rate": "learning_rates"}.items():
        assert f"({name}.png)" in pages.study(page)
        assert (FOLDER / f"{name}.png").read_bytes().startswith(b"\x89PNG")


COMMAND = "benchmarks.experiments.batch_size"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "flag", "size"),
    [("batch_size", "--plot", "small"), ("learning_rate", "--plot_rates", "rates")],
)
def test_one_command_prints_and_draws_the_results(name, flag, size, tmp_path):
    plot = tmp_path / "plot.png"
    done = run_command(COMMAND, f"--show={FOLDER / name}.json", f"{flag}={plot}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{tables.report(RESULTS[size])}\n\n{plot}"
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_results_without_a_range_of_rates_cannot_be_drawn_by_rate(tmp_path):
    file = FOLDER / "second_round_lower_rates.json"
    done = run_command(COMMAND, f"--show={file}", f"--plot_rates={tmp_path / 'plot.png'}")
    assert done.returncode == 1
    assert "--plot_rates needs results of an optimizer of which only the learning" in done.stderr


def test_repeating_a_run_needs_a_file():
    done = run_command(COMMAND, "--repeat=plain-lars-128-seed1")
    assert done.returncode == 1
    assert "error: --repeat needs --show" in done.stderr


@pytest.mark.parametrize(("name", "size"), [("batch_size", "small"), ("learning_rate", "rates")])
def test_the_results_are_complete(name, size):
    found = RESULTS[size]
    assert len(found["rows"]) == found["planned"]
    before = experiment.done_before(BatchSize(size=size), FOLDER / f"{name}.json")
    assert len(before) == found["planned"]
    for each in found["environments"]:
        assert {"python", "keras", "keras_lars"} <= each["versions"].keys()
        assert each["device"]["cores"] >= 1


@pytest.mark.parametrize("found", RESULTS.values(), ids=RESULTS)
def test_every_setting_is_in_the_search_space(found):
    for row in found["rows"]:
        label = row["label"]
        if label["kind"] == "trial":
            trials = methods.trials(methods.BY_NAME[label["method"]], found["settings"]["trials"])
            rate = trials[label["number"]]["learning_rate"]
            assert row["settings"]["learning_rate"] == pytest.approx(rate)
        assert training_of(found, row["name"])[1] is row["result"]


def published_by(words):
    (line,) = [line for line in tables.published().splitlines() if line.startswith(f"| {words}  ")]
    return [cell.strip() for cell in line.split("|")[2:-2]]


def test_published_numbers_are_those_of_the_recipes():
    assert published_by("AlexNet, LARS") == ["58.7", "58.2", "55.0", "46.9"]
    assert published_by("ResNet-50, momentum, linear scaling") == ["", "76.26", "75.21", "72.45"]


# The claims in the text of the page. If one of these tests fails, rewrite the text.


def select(rows, **wanted):
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


SMALL, LARGE = [128, 512, 2048, 8192], 32768


def mean(network, method, batch, key="test_accuracy"):
    rows = select(FOUND, network=network, method=method, batch=batch, kind="seed")
    values = [row[key] for row in rows if not row["failed"]]
    return (100 if "accuracy" in key else 1) * statistics.mean(values)


def spread(network, method, batch):
    rows = select(FOUND, network=network, method=method, batch=batch, kind="seed")
    return 100 * statistics.stdev(row["test_accuracy"] for row in rows)


def lead(network, batch):
    """The lead of LARS over Nesterov momentum, in points."""
    return mean(network, "lars", batch) - mean(network, "nesterov", batch)


def diverged(**wanted):
    return sum(row["failed"] for row in select(FOUND, **wanted))


def test_lars_and_nesterov():
    assert all(abs(lead("residual", batch)) < 1 for batch in SMALL)
    assert round(lead("residual", LARGE)) == -5
    assert all(abs(lead("plain", batch)) < 0.5 for batch in (128, 512))
    assert [round(lead("plain", batch), 1) for batch in (2048, 8192)] == [2.5, 8.5]
    assert abs(lead("plain", LARGE)) < spread("plain", "nesterov", LARGE)
    assert mean("plain", "lamb", LARGE) > mean("plain", "nesterov", LARGE) + 5
    words = "At 32,768 tuned Nesterov momentum was better with normalization, and Lamb without it."
    assert words in pages.study("README")


def test_the_rules_of_scaling():
    for network in NETWORKS:
        for batch in SMALL:
            assert mean(network, "lars_scaled", batch) > mean(network, "lars", batch) - 1
        assert mean(network, "lars_scaled", LARGE) < mean(network, "lars", LARGE) - 5
        assert diverged(network=network, method="lars_scaled") == 0
    scaled = {"method": "momentum_scaled"}
    assert diverged(network="plain", **scaled) == 9
    assert [diverged(network="plain", batch=batch, **scaled) for batch in (128, 512)] == [0, 0]
    assert [diverged(network="residual", batch=b, **scaled) for b in (*SMALL, LARGE)] == [
        *(0, 0, 0, 2, 3)
    ]
    (rate,) = {r["learning_rate"] for r in select(FOUND, method="lars_scaled", batch=LARGE)}
    assert round(rate) == 69


def test_a_choice_of_one_seed_is_not_certain():
    assert diverged(network="plain", method="momentum", batch=512, kind="trial") == 0
    assert diverged(network="plain", method="momentum", batch=512, kind="seed") == 2


def one_setting(size, network):
    """For each method, the mean accuracy over batch sizes of its best single setting."""
    lines = tables.one_setting(RESULTS[size], network).splitlines()[2:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return {words: statistics.mean(map(float, reached)) for words, _, *reached in cells}


@pytest.mark.parametrize(
    ("size", "ours", "momentum"),
    [("small", "LARS, tuned", "momentum, tuned"), ("rates", "LARS", "momentum")],
)
def test_one_setting_for_all(size, ours, momentum):
    plain, residual = one_setting(size, "plain"), one_setting(size, "residual")
    assert max(plain, key=plain.get) == ours
    assert abs(residual[momentum] - residual[ours]) < 0.5


@pytest.mark.parametrize("batch", [2048, 8192])
def test_accuracy_is_lost_in_training_rather_than_in_generalization(batch):
    names = ["momentum", "nesterov", "lars", "lars_scaled", "lamb"]
    by_accuracy = sorted(names, key=lambda name: -mean("plain", name, batch))
    assert by_accuracy == sorted(names, key=lambda n: mean("plain", n, batch, "measured_loss"))


def by_rate(network, batch, optimizer="lars"):
    """The accuracy by learning rate, in points. Each of the eight rates is twice the one before."""
    rows = select(RATES, network=network, method=f"{optimizer}_rates", batch=batch)
    rows = sorted(rows, key=lambda row: row["learning_rate"])
    return {row["learning_rate"]: 100 * row["counted_accuracy"] for row in rows}


def best_rate(network, batch, optimizer="lars"):
    reached = by_rate(network, batch, optimizer)
    return max(reached, key=reached.get)


def lowest_that_diverged(network, batch):
    """The lowest rate that reaches less than 20 %, or 256, beyond all rates, if there is none."""
    return min([rate for rate, points in by_rate(network, batch).items() if points < 20] + [256])


def widths(network, optimizer):
    table = results.select(
        tables.frame(RESULTS["rates"]), network=network, method=f"{optimizer}_rates"
    )
    cells = [tables.width(results.select(table, batch=batch)) for batch in (*SMALL, LARGE)]
    return [int(cell.split(":")[0]) for cell in cells]


def test_the_width_of_the_range():
    assert max(widths("plain", "lars")) == 3
    assert max(widths("plain", "momentum")) == 4
    assert widths("residual", "momentum")[:2] == [8, 7]
    assert widths("residual", "lars")[:2] == [4, 5]
    assert widths("residual", "momentum")[2:4] == widths("residual", "lars")[2:4]


@pytest.mark.parametrize("network", NETWORKS)
def test_larger_rates_for_larger_batches(network):
    rates = [best_rate(network, batch) for batch in SMALL]
    bounds = [lowest_that_diverged(network, batch) for batch in SMALL]
    assert rates == sorted(rates)
    assert bounds == sorted(bounds)
    assert rates[0] < rates[-1]
    assert bounds[0] < bounds[-1]
    assert all(round(best_rate(network, batch)) == 45 for batch in (2048, 8192))


def test_momentum_without_normalization_needs_no_larger_rate():
    assert best_rate("plain", 128, "momentum") == best_rate("plain", 8192, "momentum")


def test_rates_that_are_too_large_or_too_small():
    for batch in (*SMALL, LARGE):
        far = pytest.approx(4 * best_rate("plain", batch))
        (points,) = [points for rate, points in by_rate("plain", batch).items() if rate == far]
        assert points == 10
    for network, batch in itertools.product(NETWORKS, SMALL):
        reached = by_rate(network, batch)
        best = best_rate(network, batch)
        (half,) = [points for rate, points in reached.items() if rate == pytest.approx(best / 2)]
        assert half > reached[best] - 2


def test_the_rule_stays_below_the_rates_that_diverge():
    for network, batch in itertools.product(NETWORKS, (*SMALL, LARGE)):
        rule = min(30, 4 * (batch / 128) ** 0.5)
        assert rule < lowest_that_diverged(network, batch) / 2


def test_the_rule_fails_at_twenty_updates():
    for network in NETWORKS:
        trials = select(FOUND, network=network, method="lars", batch=LARGE, kind="trial")
        largest = max(trials, key=lambda row: row["learning_rate"])
        assert round(largest["learning_rate"]) == 31
        assert 100 * largest["test_accuracy"] > mean(network, "lars_scaled", LARGE) + 5


def test_the_largest_of_four_trials_was_chosen():
    for network, batch in itertools.product(NETWORKS, (2048, 8192, LARGE)):
        seeds = select(FOUND, network=network, method="lars", batch=batch, kind="seed")
        largest = round(seeds[0]["learning_rate"]) == 31
        assert largest == ((network, batch) != ("plain", LARGE))
