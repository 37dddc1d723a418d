"""What the pages say about CIFAR-10 is what its results say."""

import re

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
PAGE = " ".join(pages.read(pages.STUDIES).split())


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


def test_lars_with_nesterov_momentum_is_the_best_at_large_batches():
    leads = []
    for batch in (8192, 32768):
        for network in NETWORKS:
            ranked = MEANS[network, batch].sort_values(ascending=False)
            assert ranked.index[0] == "lars_nesterov"
            leads.append(ranked.iloc[0] - ranked.iloc[1])
    text = "{:.1f} and {:.1f} points at 8,192, and by {:.1f} and {:.1f} at 32,768"
    assert text.format(*leads) in PAGE
    assert "CIFAR-10 it is also the best at 8,192" in PAGE


def test_nesterov_momentum_is_the_best_at_512():
    leads = [ahead(network, 512, "nesterov_wide", "lars_nesterov") for network in NETWORKS]
    text = "leads LARS with Nesterov momentum by {:.1f} and {:.1f} points, which is less"
    assert text.format(*leads) in PAGE
    for network, lead in zip(NETWORKS, leads, strict=True):
        assert MEANS[network, 512].idxmax() == "nesterov_wide"
        assert lead < spread(network, 512, "nesterov_wide", "lars_nesterov")


def test_lars_and_nesterov_momentum():
    at_8192, at_32768 = (
        [ahead(network, batch, "lars_wide", "nesterov_wide") for network in NETWORKS]
        for batch in (8192, 32768)
    )
    text = "by {:.1f} points without normalization, and by {:.1f} with it"
    assert f"LARS is ahead of Nesterov momentum** {text}".format(*at_8192) in PAGE
    assert "it is {:.1f} and {:.1f} points ahead, which is less".format(*at_32768) in PAGE
    for network, difference in zip(NETWORKS, at_32768, strict=True):
        assert difference < spread(network, 32768, "lars_wide", "nesterov_wide")


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
    page = " ".join(pages.read("docs/learning_rate.md").split())
    gained = {
        batch: [ahead(network, batch, "lars_nesterov", "lars_wide") for network in NETWORKS]
        for batch in (8192, 32768)
    }
    assert "and {:.0f} to {:.0f} [on CIFAR-10]".format(*sorted(gained[32768])) in page
    at_8192 = {f"{points:.0f}" for points in gained[8192]}
    assert {re.search(r"With 70, on CIFAR-10, it gained (\d+)\.", page)[1]} == at_8192
