"""What the pages say about the second round of the study is what its results say."""

import pytest
from support import RESULTS, pages

pytest.importorskip("scipy", reason="the extra `benchmarks` is not installed")

from benchmarks.experiments import experiment, results
from benchmarks.experiments.batch_size import BatchSize
from benchmarks.experiments.small import methods, tables

FILE = RESULTS / "studies" / "second_round.json"
FOUND = results.read(FILE, "--show", "batch_size")
TABLE = tables.frame(FOUND)
LARGEST = results.select(TABLE, batch=32768)
SEEDS = results.select(LARGEST, kind="seed")
MEANS = 100 * SEEDS.groupby(["network", "method"])["test_accuracy"].mean().astype(float)
PAGE = " ".join(pages.read(pages.STUDIES).split())
NETWORKS = ("plain", "residual", "vit")
TUNED = ("momentum_wide", "nesterov_wide", "lars_wide", "lars_nesterov", "lamb_wide")


def ahead(network, method, other):
    return MEANS[network, method] - MEANS[network, other]


def test_the_study_can_be_continued():
    before = experiment.done_before(BatchSize(size="second_round"), FILE)
    assert len(before) == len(FOUND["rows"]) < FOUND["planned"] == 1080


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", TUNED)
def test_no_chosen_rate_is_at_an_end_of_its_range(network, name):
    tried = sorted(each["learning_rate"] for each in methods.trials(methods.BY_NAME[name], 8))
    (chosen,) = set(results.select(SEEDS, network=network, method=name)["rate"])
    assert chosen in tried[1:-1]


def test_lars_with_nesterov_momentum_is_the_best():
    names = {"lamb_wide": "Lamb", "lars_wide": "LARS"}
    leads = []
    for network in NETWORKS:
        first, second, *_ = MEANS[network].sort_values(ascending=False).index
        assert first == "lars_nesterov"
        leads += [ahead(network, first, second), names[second]]
    text = "by {:.1f} points in `plain` ({}), {:.1f} in `residual` ({}) and {:.1f} in `vit` ({})"
    assert text.format(*leads) in PAGE


def test_what_nesterov_momentum_adds():
    to_lars = [ahead(network, "lars_nesterov", "lars_wide") for network in NETWORKS]
    to_momentum = [ahead(network, "nesterov_wide", "momentum_wide") for network in NETWORKS]
    assert "adds {:.1f}, {:.1f} and {:.1f} points to LARS".format(*to_lars) in PAGE
    assert "{:.1f}, {:.1f} and {:.1f} to momentum".format(*to_momentum) in PAGE
    rates = " ".join(pages.read("docs/learning_rate.md").split())
    assert f"gained {min(to_lars):.0f} to {max(to_lars):.0f}" in rates


def test_lars_and_nesterov_momentum():
    differences = [ahead(network, "lars_wide", "nesterov_wide") for network in NETWORKS]
    text = "{:.1f} points lower in `plain`, {:.1f} higher in `residual` and {:.1f} higher in `vit`"
    assert text.format(-differences[0], *differences[1:]) in PAGE
    for network, difference in zip(NETWORKS, differences):
        seeds = results.select(SEEDS, network=network, method="nesterov_wide")["test_accuracy"]
        assert abs(difference) < 1.5 * 100 * seeds.astype(float).std()


def test_trials_that_diverged():
    trials = results.select(LARGEST, kind="trial", network="plain")
    for method, failed in (("momentum_wide", 5), ("nesterov_wide", 4)):
        of_method = results.select(trials, method=method)
        assert of_method["failed"].sum() == failed
        assert len(of_method) == 8
