"""What the pages say about the second round of the study is what its results say."""

import itertools

import pytest
from support import RESULTS, pages

pytest.importorskip("scipy", reason="the extra `benchmarks` is not installed")

from benchmarks.experiments import experiment, results
from benchmarks.experiments.batch_size import BatchSize
from benchmarks.experiments.small import methods, tables

FILE = RESULTS / "studies" / "second_round.json"
FOUND = results.read(FILE, "--show", "batch_size")
TABLE = tables.frame(FOUND)
SEEDS = results.select(TABLE, kind="seed")
MEANS = 100 * SEEDS.groupby(["batch", "network", "method"])["test_accuracy"].mean().astype(float)
PAGE = " ".join(pages.read(pages.STUDIES).split())
BATCHES = (8192, 32768)
NETWORKS = ("plain", "residual", "vit")
TUNED = ("momentum_wide", "nesterov_wide", "lars_wide", "lars_nesterov", "lamb_wide")
NAMES = {"lamb_wide": "Lamb", "lars_wide": "LARS"}


def ahead(batch, method, other):
    """By how many points a method is ahead of another, in each network."""
    return [MEANS[batch, network, method] - MEANS[batch, network, other] for network in NETWORKS]


def listed(values):
    return "{:.1f}, {:.1f} and {:.1f}".format(*values)


def test_the_study_can_be_continued():
    before = experiment.done_before(BatchSize(size="second_round"), FILE)
    assert len(before) == len(FOUND["rows"]) < FOUND["planned"] == 1080


def test_the_only_chosen_rates_at_an_end_of_their_range():
    at_ends = []
    for batch, network, name in MEANS.index:
        tried = sorted(each["learning_rate"] for each in methods.trials(methods.BY_NAME[name], 8))
        (chosen,) = set(results.select(SEEDS, batch=batch, network=network, method=name)["rate"])
        if chosen not in tried[1:-1]:
            at_ends.append((batch, network, name, tried.index(chosen)))
    assert at_ends == [
        (512, "residual", "nesterov_wide", 7),
        (2048, "residual", "momentum_wide", 7),
    ]
    text = "momentum at 2,048 and of Nesterov momentum at 512, both in `residual`. These two are"
    assert f"{text} the highest of the eight" in PAGE


def test_all_methods_are_there():
    for batch, network in itertools.product(BATCHES, NETWORKS):
        assert set(MEANS[batch, network].index) == set(TUNED)


@pytest.mark.parametrize("batch", BATCHES)
def test_lars_with_nesterov_momentum_is_the_best(batch):
    leads = []
    for network in NETWORKS:
        best = MEANS[batch, network].sort_values(ascending=False)
        assert best.index[0] == "lars_nesterov"
        leads += [best.iloc[0] - best.iloc[1], NAMES[best.index[1]]]
    text = "by {:.1f} points in `plain` ({}), {:.1f} in `residual` ({}) and {:.1f} in `vit` ({})"
    assert f"At {batch:,} it leads the next best {text.format(*leads)}" in PAGE


def test_what_nesterov_momentum_adds_to_lars():
    at_8192, at_32768 = (ahead(batch, "lars_nesterov", "lars_wide") for batch in BATCHES)
    assert f"adds {listed(at_8192)} points at 8,192, and {listed(at_32768)} at 32,768" in PAGE
    rates = " ".join(pages.read("docs/learning_rate.md").split())
    assert f"gained {min(at_32768):.0f} to {max(at_32768):.0f} points" in rates
    assert f"{min(at_8192):.0f} to {max(at_8192):.0f} in those of 80," in rates
    at_2048 = max(abs(added) for added in ahead(2048, "lars_nesterov", "lars_wide"))
    assert f"a difference of at most {at_2048:.1f} points in those of 300." in rates
    assert results.select(SEEDS, batch=2048)["updates"].max() == 300


def test_the_transformer_with_lamb():
    leads = [ahead(batch, "lars_nesterov", "lamb_wide")[NETWORKS.index("vit")] for batch in BATCHES]
    page = " ".join(pages.read("docs/numerics.md").split())
    assert "[is {:.0f} and {:.0f} points ahead]".format(*leads) in page


def test_lars_and_nesterov_momentum():
    at_8192, at_32768 = (ahead(batch, "lars_wide", "nesterov_wide") for batch in BATCHES)
    assert f"At 8,192 it is ahead by {listed(at_8192)} points" in PAGE
    text = "{:.1f} points lower in `plain`, {:.1f} higher in `residual` and {:.1f} higher in `vit`"
    assert text.format(-at_32768[0], *at_32768[1:]) in PAGE
    for network, difference in zip(NETWORKS, at_32768):
        seeds = results.select(SEEDS, batch=32768, network=network, method="nesterov_wide")
        assert abs(difference) < 1.5 * 100 * seeds["test_accuracy"].astype(float).std()


def trained(batch, network, method):
    """The mean of the seeds that did not diverge, how many these are, and of how many."""
    seeds = results.select(SEEDS, batch=batch, network=network, method=method)
    accuracies = seeds[~seeds["failed"]]["percent"]
    return accuracies.mean(), len(accuracies), len(seeds)


def test_three_methods_are_level_at_2048():
    names = ["lars_wide", "lars_nesterov", "lamb_wide"]
    level = {network: MEANS[2048, network][names] for network in NETWORKS}
    spans = [means.max() - means.min() for means in level.values()]
    text = "within {:.1f} points in `plain`, {:.1f} in `residual` and {:.1f} in `vit`"
    assert text.format(*spans) in PAGE
    others = MEANS[2048, "vit"][["momentum_wide", "nesterov_wide"]]
    nearest, farthest = level["vit"].min() - others.max(), level["vit"].max() - others.min()
    assert f"In `vit` they are {nearest:.1f} to {farthest:.1f} points ahead" in PAGE
    accuracy, *counts = trained(2048, "plain", "nesterov_wide")
    assert counts == [2, 4]
    leads = level["plain"] - accuracy
    assert f"they are {leads.min():.1f} to {leads.max():.1f} points ahead of the two of" in PAGE
    means = MEANS[2048, "residual"]
    assert f"all five methods are within {means.max() - means.min():.1f} points." in PAGE


def test_all_methods_are_level_at_512():
    spans = []
    for network in ("plain", "residual"):
        found = [trained(512, network, name) for name in TUNED]
        means = [accuracy for accuracy, *_ in found]
        spans.append(max(means) - min(means))
        diverged = [of - count for _, count, of in found]
        assert diverged == [0, network == "plain", 0, 0, 0]
    assert f"all five methods are within {max(spans):.1f} points in each" in PAGE
    best = MEANS[512, "vit"].sort_values().index[-1]
    assert best == "lars_nesterov"
    seeds = results.select(SEEDS, batch=512, network="vit", method="nesterov_wide")
    worst, *better = sorted(seeds["percent"] - MEANS[512, "vit", best])
    assert f"are {better[0]:.1f} to {better[-1]:.1f} points better" in PAGE
    assert f"the other is {-worst:.1f} worse" in PAGE


def test_trials_that_diverged():
    for batch, counts in zip(BATCHES, [(4, 5), (5, 4)]):
        for method, failed in zip(("momentum_wide", "nesterov_wide"), counts):
            trials = results.select(
                TABLE, kind="trial", batch=batch, network="plain", method=method
            )
            assert trials["failed"].sum() == failed
            assert len(trials) == 8
