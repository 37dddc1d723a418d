"""What the pages say about the second round of the study is what its results say."""

import dataclasses

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
PAGE, LONGER_PAGE = pages.study("batch_size"), pages.study("longer_training")
INDEX = pages.study("README")
BATCHES = (8192, 32768)
NETWORKS = ("plain", "residual", "vit")
TUNED = ("momentum_wide", "nesterov_wide", "lars_wide", "lars_nesterov", "lamb_wide")
LARS = ("lars_wide", "lars_nesterov")
NAMES = {"lamb_wide": "Lamb", "lars_wide": "LARS"}


def ahead(batch, method, other):
    """By how many points a method is ahead of another, in each network."""
    return [MEANS[batch, network, method] - MEANS[batch, network, other] for network in NETWORKS]


def listed(values):
    return "{:.1f}, {:.1f} and {:.1f}".format(*values)


def test_the_study_is_complete():
    before = experiment.done_before(BatchSize(size="second_round"), FILE)
    assert len(before) == len(FOUND["rows"]) == FOUND["planned"] == 1080
    assert (FILE.parent / "second_round.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_says_what_was_not_run():
    texts = [path.read_text(encoding="utf-8") for path in FILE.parent.glob("*.json")]
    assert any('"size": "second_round"' in text for text in texts)
    is_run = any('"size": "resnet50"' in text for text in texts)
    assert is_run != ("Not run: `--size=resnet50`" in PAGE)


def chosen_at_ends(found):
    """The chosen rates that are the lowest or the highest of those that were tried."""
    seeds = results.select(tables.frame(found), kind="seed")
    at_ends = {}
    for place, rows in seeds.groupby(["batch", "network", "method"]):
        method = methods.BY_NAME[place[-1]]
        if method.space:
            tried = sorted(each["learning_rate"] for each in methods.trials(method, 8))
            (chosen,) = set(rows["rate"])
            if chosen not in tried[1:-1]:
                at_ends[place] = tried.index(chosen)
    return at_ends


def test_the_only_chosen_rates_at_an_end_of_their_range():
    assert chosen_at_ends(FOUND) == {
        (128, "plain", "nesterov_wide"): 0,
        (128, "vit", "nesterov_wide"): 0,
        (512, "residual", "nesterov_wide"): 7,
        (2048, "residual", "momentum_wide"): 7,
    }
    assert "except four of the 75" in PAGE
    assert len(TUNED) * len(NETWORKS) * TABLE["batch"].nunique() == 75


def test_higher_rates_change_nothing():
    higher = results.read(FILE.parent / "second_round_higher_rates.json", "--show", "batch_size")
    tried = [each["learning_rate"] for each in methods.trials(methods.BY_NAME["nesterov_wide"], 8)]
    seeds = results.select(tables.frame(higher), kind="seed")
    for (batch, name), rows in seeds.groupby(["batch", "method"]):
        before = MEANS[batch, "residual", name.replace("higher", "wide")]
        assert abs(rows["percent"].mean() - before) <= 0.1
        if (batch, name) in [(512, "nesterov_higher"), (2048, "momentum_higher")]:
            assert rows["rate"].max() <= max(tried)
    assert "the accuracies are the same within 0.1 points" in PAGE


def test_lower_rates_help_nesterov_momentum():
    lower = results.read(FILE.parent / "second_round_lower_rates.json", "--show", "batch_size")
    assert not chosen_at_ends(lower)
    means = results.select(tables.frame(lower), kind="seed").groupby("network")["percent"].mean()
    gains = [means[name] - MEANS[128, name, "nesterov_wide"] for name in ("plain", "vit")]
    assert "it gains {:.1f} and {:.1f} points".format(*gains) in PAGE
    lead = means["vit"] - MEANS[128, "vit", "lars_nesterov"]
    assert f"Nesterov momentum leads by {lead:.1f} there" in PAGE


def test_the_rule_lies_in_the_range_of_good_rates():
    rates = results.read(FILE.parent / "second_round_rates.json", "--show", "batch_size")
    assert len(rates["rows"]) == rates["planned"]
    outside = {}
    for (network, batch), rows in tables.frame(rates).groupby(["network", "batch"]):
        lowest, highest = map(float, tables.width(rows).partition(": ")[2].split(" to "))
        if not lowest <= methods.square_root_rule(batch) <= highest:
            outside[network, batch] = highest
    assert outside == {("vit", 8192): 22.6, ("vit", 32768): 22.6}
    page = pages.study("nesterov_rates")
    assert "except in `vit` at 8,192 and 32,768, where that range ends at 22.6" in page
    assert "Those of `for_fit`, except in the transformer from 8,192 on, where they are" in INDEX


def means_of(found):
    """By batch size, network and method; without the seeds that diverged."""
    seeds = results.select(tables.frame(found), kind="seed", failed=False)
    return seeds.groupby(["batch", "network", "method"])["percent"].mean()


def leads(means, batch):
    """In words, by how much LARS with Nesterov momentum leads the next best method."""
    names, parts = {**NAMES, "nesterov_wide": "Nesterov momentum"}, []
    for network in NETWORKS:
        ranked = means[batch, network].sort_values(ascending=False)
        assert ranked.index[0] == "lars_nesterov"
        parts += [ranked.iloc[0] - ranked.iloc[1], names[ranked.index[1]]]
    text = "{:.1f} points in `plain` ({}), {:.1f} in `residual` ({}) and {:.1f} in `vit` ({})"
    return text.format(*parts)


def shortfalls(means):
    """In words, by how much LARS with Nesterov momentum misses its accuracy at 512."""
    missing = {
        batch: [MEANS[512, n, "lars_nesterov"] - means[batch, n, "lars_nesterov"] for n in NETWORKS]
        for batch in BATCHES
    }
    return f"{listed(missing[8192])} points at 8,192, and by {listed(missing[32768])} at 32,768"


def read_complete(name, updates):
    """The results of a size, with these numbers of updates by batch size."""
    found = results.read(FILE.parent / f"{name}.json", "--show", "batch_size")
    assert len(found["rows"]) == found["planned"]
    seeds = results.select(tables.frame(found), kind="seed")
    assert not seeds["failed"].any()
    for batch, number in updates.items():
        assert set(results.select(seeds, batch=batch)["updates"]) == {number}
    return found


def test_twice_the_epochs():
    longer = read_complete("twice_as_long", {8192: 160, 32768: 40})
    assert chosen_at_ends(longer) == {(32768, "plain", "nesterov_wide"): 0}
    table = tables.frame(longer)
    on_gpu = (table["environment"] == 0).sum()
    assert f"{on_gpu} of the training runs, among them all at" in LONGER_PAGE
    assert set(table.loc[table["batch"] == 32768, "environment"]) == {0}

    means, before = means_of(longer), means_of(FOUND)
    assert f"There it leads the next best by {leads(means, 8192)}, about as much" in LONGER_PAGE
    assert f"At 32,768 it leads by {leads(means, 32768)}." in LONGER_PAGE
    gains = {
        name: [means[8192, n, name] - before[8192, n, name] for n in NETWORKS]
        for name in ("lars_nesterov", "lamb_wide")
    }
    assert all(lamb > lars for lars, lamb in zip(*gains.values()))
    lars, lamb = map(listed, gains.values())
    text = f"Twice the epochs add {lars} points to LARS with Nesterov momentum at 8,192, and {lamb}"
    assert f"{text} to Lamb." in LONGER_PAGE
    assert f"LARS with Nesterov momentum falls short of it by {shortfalls(means)}." in LONGER_PAGE
    assert all(means[place] < before[512][place[1:]] for place in means.index)


def test_four_times_the_epochs():
    found = read_complete("four_times_as_long", {8192: 320, 32768: 80})
    means = means_of(found).rename(_without_origin, level="method")
    at_8192 = means[8192]
    lars = at_8192[:, "lars_nesterov"]
    lamb, nesterov = at_8192[:, "lamb_wide"], at_8192[:, "nesterov_wide"]
    assert (lars - lamb).abs().max() < 0.2
    assert "after 40 epochs, Lamb is as good at 8,192" in pages.on_one_line("README.md")
    text = "behind LARS with Nesterov momentum by {} points"
    assert text.format(listed(lars - nesterov)) in LONGER_PAGE
    ours, theirs = (MEANS[512][:, name] for name in ("lars_nesterov", "lamb_wide"))
    assert min([*(ours - lars), *(theirs - lamb)]) > 0
    text = "falls short of it by {} points, and Lamb by {}."
    assert text.format(listed(ours - lars), listed(theirs - lamb)) in LONGER_PAGE
    assert (ours - lars).max() < 1.25

    assert f"It leads the next best by {leads(means, 32768)}." in LONGER_PAGE
    missing = ours - means[32768][:, "lars_nesterov"]
    assert f"short of its accuracy at 512 by {listed(missing)} points" in LONGER_PAGE
    assert missing.min() > 2
    before = means_of(FOUND)[512]
    assert all(means[place] < before[place[1:]] for place in means.index if place[0] == 32768)
    assert "| Nearly at 8,192, with four times the epochs. Not at 32,768. |" in INDEX


def test_the_rates_chosen_for_four_times_the_epochs():
    found = results.read(FILE.parent / "four_times_as_long.json", "--show", "batch_size")
    table, names = tables.frame(found), ["batch", "network", "method"]
    tried = results.select(table, kind="trial").groupby(names)["rate"].agg(["min", "max"])
    chosen = results.select(table, kind="seed").groupby(names)["rate"].first()
    at_ends = (chosen == tried["min"]) | (chosen == tried["max"])
    assert {batch: at_ends[batch].sum() for batch in BATCHES} == {8192: 6, 32768: 5}
    assert len(at_ends) == 18
    text = "Six of the nine rates chosen at 8,192, and five of the nine at 32,768,"
    assert f"{text} are the lowest or the highest" in LONGER_PAGE


def test_four_times_the_epochs_try_rates_around_those_of_twice_as_many():
    longer = results.read(FILE.parent / "twice_as_long.json", "--show", "batch_size")
    seeds = {
        row["name"]: row["settings"] for row in longer["rows"] if row["label"]["kind"] == "seed"
    }
    trials = [
        run for run in BatchSize(size="four_times_as_long").runs({}) if run.settings is not None
    ]
    assert len(trials) == 54
    for run in trials:
        label = run.label
        base = _without_origin(f"{label['network']}-{label['method']}-{label['batch']}-seed1")
        before = {**seeds[base], "epochs": 40, "seed": 0}
        before["learning_rate"] *= (0.5, 1, 2)[label["number"]]
        assert results.as_json(dataclasses.asdict(run.settings)) == pytest.approx(before)


def _without_origin(name):
    return name.replace("_near_twice_as_long", "")


def test_the_devices():
    gpu = TABLE["environment"] == 1
    assert FOUND["environments"][1]["device"]["accelerators"] == ["NVIDIA H100 80GB HBM3"]
    assert f"{gpu.sum()} of the {len(TABLE):,} training runs used an H100" in PAGE
    assert gpu[TABLE["method"].str.endswith("_scaled") & (TABLE["batch"] > 128)].all()
    assert (gpu & (TABLE["kind"] == "trial")).equals(
        (TABLE["batch"] == 128) & (TABLE["kind"] == "trial")
    )
    # A rate that is also the tuned one was trained on both.
    differences = {}
    for place, rows in SEEDS.groupby(["batch", "network", "method"]):
        batch, network, name = place
        same = results.select(SEEDS, batch=batch, network=network, method=f"{name}_scaled")
        if batch > 128 and set(same["rate"]) == set(rows["rate"]):
            differences[place] = abs(rows["percent"].mean() - same["percent"].mean())
    assert len(differences) == 7
    small = max(value for (batch, *_), value in differences.items() if batch < 8192)
    text = f"at most {small:.1f} points at 512 and 2,048, and by {max(differences.values()):.1f}"
    assert f"{text} at 8,192" in PAGE


def test_all_methods_are_level_at_128():
    means = [MEANS[128, network][list(TUNED)].sort_values() for network in NETWORKS]
    text = "within {:.1f} points of each other in `plain`, {:.1f} in `residual` and {:.1f} in `vit`"
    assert text.format(*(each.iloc[-1] - each.iloc[0] for each in means)) in PAGE
    assert set(means[-1].index[-2:]) == {"nesterov_wide", "lars_nesterov"}
    assert f"lead the other three by {means[-1].iloc[-2] - means[-1].iloc[-3]:.1f} points" in PAGE


def costs(batch, name):
    """How many points the scaled rate costs, in each network."""
    return [-lead for lead in ahead(batch, f"{name}_scaled", name)]


def test_the_square_root_rule():
    small = {name: max(*costs(512, name), *costs(2048, name)) for name in LARS}
    text = "costs LARS at most {:.1f} points, compared with the rate tuned for that batch size, and"
    assert text.format(small["lars_wide"]) in PAGE
    assert f"and LARS with Nesterov momentum at most {small['lars_nesterov']:.1f}." in PAGE
    at_8192 = [listed(costs(8192, name)) for name in LARS]
    text = "it costs LARS {} points, and LARS with Nesterov momentum {}."
    assert text.format(*at_8192) in PAGE
    assert 4 < min(costs(32768, "lars_wide") + costs(32768, "lars_nesterov")) < 5
    assert "At 32,768 it costs both at least 4 points." in PAGE
    rates = SEEDS[SEEDS["method"].isin(LARS) & (SEEDS["batch"] >= 2048)]["rate"]
    scaled = SEEDS[SEEDS["method"].isin([f"{name}_scaled" for name in LARS])]
    assert not scaled["failed"].any()
    largest = results.select(scaled, batch=32768)["rate"]
    assert f"the tuned ones are {rates.min():.0f} to {rates.max():.0f}, and the scaled" in PAGE
    assert f"at 32,768 are {largest.min():.0f} to {largest.max():.0f}." in PAGE
    page = pages.on_one_line("docs/learning_rate.md")
    assert f"cost LARS {min(costs(8192, 'lars_wide')):.0f} to" in page


def test_the_linear_rule():
    assert max(map(abs, costs(512, "momentum_wide"))) < 0.3
    failed = {
        batch: [
            results.select(SEEDS, batch=batch, network=n, method="momentum_wide_scaled")["failed"]
            for n in NETWORKS
        ]
        for batch in (512, 2048, 8192, 32768)
    }
    counts = {batch: [each.sum() for each in several] for batch, several in failed.items()}
    assert counts == {512: [0, 0, 0], 2048: [4, 0, 0], 8192: [4, 0, 4], 32768: [4, 4, 4]}
    _, residual, vit = costs(2048, "momentum_wide")
    assert f"loses {vit:.1f} points in `vit` and {residual:.1f} in `residual`" in PAGE
    assert f"only `residual`, to {MEANS[8192, 'residual', 'momentum_wide_scaled']:.1f} %" in PAGE


@pytest.mark.parametrize("batch", BATCHES)
def test_lars_with_nesterov_momentum_is_the_best(batch):
    leads = []
    for network in NETWORKS:
        best = MEANS[batch, network][list(TUNED)].sort_values(ascending=False)
        assert best.index[0] == "lars_nesterov"
        leads += [best.iloc[0] - best.iloc[1], NAMES[best.index[1]]]
    text = "by {:.1f} points in `plain` ({}), {:.1f} in `residual` ({}) and {:.1f} in `vit` ({})"
    lost = [MEANS[512, n, "lars_nesterov"] - MEANS[batch, n, "lars_nesterov"] for n in NETWORKS]
    assert f"by {min(lost):.1f} to {max(lost):.1f}" in PAGE
    assert f"At {batch:,} it leads the next best {text.format(*leads)}" in PAGE


def test_what_nesterov_momentum_adds_to_lars():
    at_8192, at_32768 = (ahead(batch, "lars_nesterov", "lars_wide") for batch in BATCHES)
    assert f"adds {listed(at_8192)} points at 8,192, and {listed(at_32768)} at 32,768" in PAGE
    rates = pages.on_one_line("docs/learning_rate.md")
    assert f"gained {min(at_32768):.0f} to {max(at_32768):.0f} points" in rates
    assert f"{min(at_8192):.0f} to {max(at_8192):.0f} with 80," in rates
    at_2048 = max(abs(added) for added in ahead(2048, "lars_nesterov", "lars_wide"))
    assert f"a difference of at most {at_2048:.1f} points with 300." in rates
    assert results.select(SEEDS, batch=2048)["updates"].max() == 300


def test_the_transformer_with_lamb():
    leads = [ahead(batch, "lars_nesterov", "lamb_wide")[NETWORKS.index("vit")] for batch in BATCHES]
    page = pages.on_one_line("docs/numerics.md")
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
    means = MEANS[2048, "residual"][list(TUNED)]
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
    best = MEANS[512, "vit"][list(TUNED)].sort_values().index[-1]
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
