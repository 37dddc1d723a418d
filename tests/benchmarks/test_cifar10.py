"""What the pages say about CIFAR-10 is what its results say."""

import pandas as pd
import pytest
from support import RESULTS, pages

pytest.importorskip("scipy", reason="the extra `benchmarks` is not installed")

from benchmarks.experiments import results
from benchmarks.experiments.small import tables


def table_of(name):
    found = results.read(RESULTS / "studies" / f"{name}.json", "--show", "batch_size")
    assert len(found["rows"]) == found["planned"]
    return tables.frame(found)


TABLE = table_of("cifar10")
OTHER = {name: table_of(f"cifar10_{name}_rates") for name in ("lower", "higher")}
NETWORKS = ("plain", "residual")
PAGE = pages.study("cifar10")


def seeds(table):
    return results.select(table, kind="seed")


def means(table):
    accuracy = seeds(table).groupby(["network", "batch", "method"])["test_accuracy"]
    return 100 * accuracy.mean().astype(float)


MEANS = means(TABLE)


def ahead(network, batch, method, other):
    return MEANS[network, batch, method] - MEANS[network, batch, other]


def spread(network, batch, *names):
    """The larger standard deviation of the seeds of two methods."""
    table = results.select(seeds(TABLE), network=network, batch=batch)
    return max(
        100 * results.select(table, method=name)["test_accuracy"].astype(float).std()
        for name in names
    )


def lead(network, batch, first, second):
    """How far the first is ahead of the second, which are the best two."""
    assert [*MEANS[network, batch].sort_values(ascending=False).index[:2]] == [first, second]
    return ahead(network, batch, first, second)


def test_lars_with_nesterov_momentum_is_the_best_at_large_batches():
    at_8192 = [lead(network, 8192, "lars_nesterov", "lars_wide") for network in NETWORKS]
    text = "next best, LARS, by {:.1f} points in `plain` and {:.1f} in `residual`"
    assert text.format(*at_8192) in PAGE
    plain = lead("plain", 32768, "lars_nesterov", "lamb_wide")
    residual = lead("residual", 32768, "lars_nesterov", "lars_wide")
    assert f"Lamb by {plain:.1f} points in `plain`, and LARS by {residual:.1f}" in PAGE
    index = pages.study("README")
    assert "At 8,192 and 32,768 `LARS(nesterov=True)` is the best, without and with norm" in index
    assert "[Is it the same on CIFAR-10?](cifar10.md) | Yes" in index


def test_nesterov_momentum_is_slightly_ahead_at_512():
    next_best = {"plain": "lars_wide", "residual": "lars_nesterov"}
    leads = {name: lead(name, 512, "nesterov_wide", method) for name, method in next_best.items()}
    assert "by {plain:.1f} and {residual:.1f} points, which is about as".format(**leads) in PAGE
    for name, points in leads.items():
        assert points < 1.2 * spread(name, 512, "nesterov_wide", next_best[name])


def test_lars_and_nesterov_momentum():
    plain, residual = (ahead(name, 8192, "lars_wide", "nesterov_wide") for name in NETWORKS)
    assert f"by {plain:.1f} points. With normalization it leads by {residual:.1f}, about as" in PAGE
    assert residual < 1.2 * spread("residual", 8192, "lars_wide", "nesterov_wide")
    largest = [ahead(name, 32768, "lars_wide", "nesterov_wide") for name in NETWORKS]
    assert "differences, {:.1f} and {:.1f}, are smaller than that".format(*largest) in PAGE
    for network, difference in zip(NETWORKS, largest, strict=True):
        assert difference < spread(network, 32768, "lars_wide", "nesterov_wide")
    for name in ("momentum_wide", "lamb_wide"):
        assert ahead("plain", 32768, name, "lars_wide") > 0


def test_large_batches_are_far_below_512():
    below = [MEANS[network, 512].max() - MEANS[network, 8192].max() for network in NETWORKS]
    assert "the best method is {:.0f} and {:.0f} points below".format(*below) in PAGE


def test_where_the_best_rate_was_at_an_end_others_were_tried():
    assert at_an_end(TABLE) == {
        ("plain", 8192, "momentum"),
        ("plain", 8192, "nesterov"),
        ("plain", 32768, "nesterov"),
        ("residual", 512, "momentum"),
        ("residual", 512, "nesterov"),
    }
    assert not at_an_end(pd.concat([TABLE, *OTHER.values()], ignore_index=True))
    assert "best rate was the same as before in each case" in PAGE
    for table in OTHER.values():
        for (network, batch, method), rows in seeds(table).groupby(["network", "batch", "method"]):
            first = method.replace("lower", "wide").replace("higher", "wide")
            before = results.select(seeds(TABLE), network=network, batch=batch, method=first)
            assert set(rows["rate"].round(6)) == set(before["rate"].round(6))


def at_an_end(table):
    """The networks, batches and optimizers whose best trial has the lowest or highest rate."""
    found, trials = set(), results.select(table, kind="trial")
    optimizer = trials["method"].str.replace("_(wide|lower|higher)$", "", regex=True)
    for case, rows in trials.groupby(["network", "batch", optimizer]):
        best = rows.loc[rows["counted_choosing"].idxmax(), "rate"]
        if best in (rows["rate"].min(), rows["rate"].max()):
            found.add(case)
    return found


def test_what_nesterov_momentum_adds_to_lars():
    page = pages.on_one_line("docs/learning_rate.md")
    gained = {
        batch: [ahead(network, batch, "lars_nesterov", "lars_wide") for network in NETWORKS]
        for batch in (8192, 32768)
    }
    (at_8192,) = {f"{points:.0f}" for points in gained[8192]}
    at_32768 = "{:.0f} to {:.0f}".format(*sorted(gained[32768]))
    assert f"it gained {at_32768} points with 20 updates and {at_8192} with 70." in page
