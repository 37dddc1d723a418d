"""The experiments that chose the defaults: their trainings, their tables, what the tables show."""

import pathlib

import numpy as np
import pytest
from support import RESULTS, models, pages, paper_experiments

import keras_lars
from benchmarks.experiments import (
    experiment,
    fine_tuning,
    first_try,
    learning_rate_choice,
    linear_probe,
    results,
    sweep,
)
from benchmarks.experiments.batch_size import SIZES, BatchSize
from benchmarks.experiments.small import images, tables, training
from benchmarks.experiments.small.networks import NETWORKS

FOLDER = RESULTS / "studies"
ZERO = ("zero_weights", "zero_weights_gamma", "zero_weights_resnet50", "zero_weights_digits")
NINE_SEEDS = ("zero_weights_more_seeds", "zero_weights_resnet50_more_seeds")
CONSTANT = ("constant_rates", "constant_rates_digits")


def training_of(size, method, batch):
    name = f"{SIZES[size].networks[0]}-{method}-{batch}-seed1"
    (asked,) = [run.settings for run in BatchSize(size=size).runs({}) if run.name == name]
    return asked


@pytest.mark.parametrize(("batch", "rate"), [(512, 8.0), (4096, 4 * 2**2.5), (8192, 30.0)])
@pytest.mark.parametrize("ratio", [1.0, 0.01, 0.001])
def test_zero_weight_ratios_are_tried_at_the_rate_of_for_fit(batch, rate, ratio):
    asked = training_of("zero_weights", f"lars_zero_{ratio:g}", batch)
    assert (asked.learning_rate, asked.zero_weight_ratio) == (pytest.approx(rate), ratio)
    assert asked.learning_rate == keras_lars.schedules.for_fit(60_000, 8, batch).peak
    assert asked.weight_norm_floor == 0
    assert training.optimizer(asked, 1.0).zero_weight_ratio == ratio


@pytest.mark.parametrize("floor", [0.2, 0.1, 0.05])
def test_the_floor_is_passed_to_the_optimizer(floor):
    asked = training_of("zero_weights", f"lars_floor_{floor:g}", 4096)
    optimizer = training.optimizer(asked, 1.0)
    assert (optimizer.weight_norm_floor, optimizer.zero_weight_ratio) == (floor, None)


@pytest.mark.parametrize("rate", [1.0, 4.0, 10.0, 20.0])
def test_constant_rates(rate):
    asked = training_of("constant_rates", f"lars_constant_{rate:g}", 1024)
    assert training.learning_rate(asked, 100) == rate
    optimizer = training.optimizer(asked, rate)
    assert (optimizer.zero_weight_ratio, optimizer.weight_norm_floor) == (None, 0.05)


def row(method, batch, accuracy, number=1, loss=0.5):
    label = {"network": "plain", "method": method, "batch": batch, "kind": "seed"}
    reached = {"diverged": False, "test_accuracy": accuracy, "choosing_accuracy": accuracy}
    return {
        "name": f"{method}-{batch}-{number}",
        "label": {**label, "number": number},
        "settings": {},
        "result": {**reached, "measured_loss": loss},
        "environment": 0,
    }


def test_the_table_has_means_and_the_largest_gap():
    found = {
        "settings": {"methods": ["lars_zero_1", "lars_zero_0.01"], "data": "fashion_mnist"},
        "environments": [{"versions": {}, "device": {}}],
        "rows": [
            row("lars_zero_1", 512, 0.80),
            row("lars_zero_1", 512, 0.90, 2),
            row("lars_zero_0.01", 512, 0.83),
            row("lars_zero_0.01", 512, 0.83, 2),
            row("lars_zero_1", 4096, 0.20, loss=2.4),  # no better than a guess
            row("lars_zero_0.01", 4096, 0.70),
        ],
    }
    lines = [line.replace(" ", "") for line in tables.by_setting(found).splitlines()]
    assert [lines[0], *lines[2:]] == [
        "|network|batch|`zero_weight_ratio=1`|`zero_weight_ratio=0.01`|",
        "|`plain`|512|85.0(7.1)|83.0(0.0)|",
        "|`plain`|4,096|10.0,1of1diverged|70.0|",
        "|largestgaptothebestinarow||60.0|2.0|",
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # warnings about so few updates
@pytest.mark.parametrize("module", [first_try, fine_tuning, linear_probe, learning_rate_choice])
def test_experiments_over_seeds_scaled_down(module, monkeypatch, tmp_path):
    random = np.random.default_rng(0)

    def part(count):
        pixels = random.normal(size=(count, 14, 14, 1)).astype("float32")
        return images.Part(pixels, np.arange(count, dtype="int32") % 10)

    data = {"training": part(40), "held_out": part(40), "test": part(20)}
    monkeypatch.setattr(images, "load", lambda *arguments: data)
    monkeypatch.setitem(images.TRAINING, "fashion_mnist", 40)
    for name, value in {"BATCH_SIZE": 8, "FIRST_BATCH_SIZE": 8, "IMAGES": 20}.items():
        monkeypatch.setattr(module, name, value, raising=False)
    epochs = {"digits": 2} if module is learning_rate_choice else 2
    monkeypatch.setattr(module, "EPOCHS", epochs)
    if module is first_try:
        monkeypatch.setattr(first_try, "WAYS", (("residual", 0.0), ("plain", 1e-3)))
    elif module is learning_rate_choice:
        monkeypatch.setattr(module, "TASKS", {"digits": (("plain",), (8,))})
    else:
        of_each = {name: rates[:1] for name, rates in module.RATES.items()}
        monkeypatch.setattr(module, "RATES", of_each)
    if module is not first_try:  # it trains the real networks
        monkeypatch.setitem(NETWORKS, "plain", models.two_layers)
    one = paper_experiments.find(module.__name__.rpartition(".")[2])(seeds=1)
    progress = sweep.Sweep(one, tmp_path)
    progress.train()
    found = progress.found()
    rows = {learning_rate_choice: 1}.get(module, progress.planned)
    assert one.table(found).count("\n") == 1 + rows
    assert all(0 <= row["result"]["test_accuracy"] <= 1 for row in found["rows"])


# The committed results, and what the pages say about them.


def found(name):
    return results.read(FOLDER / f"{name}.json", "--show", "batch_size")


@pytest.mark.parametrize("name", [*ZERO, *NINE_SEEDS, *CONSTANT])
def test_the_results_are_complete(name):
    assert len(found(name)["rows"]) == found(name)["planned"]
    before = experiment.done_before(BatchSize(size=name), FOLDER / f"{name}.json")
    assert not sweep.Sweep(BatchSize(size=name), pathlib.Path("nowhere"), before).waiting()
    assert tables.report(found(name)).endswith("training runs are done.")


def largest_gaps(names):
    """For each setting, its largest gap to the best of a row."""
    *_, last = tables.by_setting(*map(found, names)).splitlines()
    return [float(cell) for cell in last.split("|")[3:-1]]


def gaps(names=ZERO):
    """For each row, the points by which each setting misses the best."""
    rows = {}
    for each in map(found, names):
        means = (
            tables.frame(each).groupby(["network", "batch", "method"])["counted_accuracy"].mean()
        )
        for (network, batch), reached in means.groupby(level=[0, 1]):
            reached = 100 * reached.droplevel([0, 1])
            rows[network, each["settings"]["data"], batch] = reached.max() - reached
    return rows


def test_the_default_for_zero_weights_has_the_best_worst_case_but_for_one_setting():
    assert keras_lars.LARS().weight_norm_floor == 0.05
    assert keras_lars.LARS().zero_weight_ratio is None
    *others, larger, _, of_floor = largest_gaps(ZERO)
    assert larger < of_floor < min(others)
    assert f"a floor of 0.2 loses at most {larger}." in pages.study("defaults")


def test_with_nine_seeds_the_default_has_the_best_worst_case():
    *others, of_floor = largest_gaps(NINE_SEEDS)
    assert of_floor < min(others)
    assert f"the default is within {of_floor} points of the best" in pages.study("defaults")
    assert f"at most {of_floor} in the two rows" in pages.on_one_line("docs/update_rule.md")
    rows = gaps(NINE_SEEDS)
    of_tenth = rows["resnet50_quarter", "fashion_mnist", 8192]["lars_floor_0.1"]
    assert f"A floor of 0.1 loses {of_tenth:.1f} points with ResNet-50" in pages.study("defaults")
    of_fifth = rows["vit", "fashion_mnist", 4096]["lars_floor_0.2"]
    assert f"a floor of 0.2 loses {of_fifth:.1f} points, and 2 of its 9" in pages.study("defaults")


def test_the_transformer_ends_above_78_with_all_seeds_of_the_default():
    table = tables.frame(found(NINE_SEEDS[0]))
    larger, default = (
        results.select(table, method=f"lars_floor_{floor}")["percent"] for floor in (0.2, 0.05)
    )
    assert (len(larger), sum(larger < 78)) == (9, 2)
    assert f"The lowest of the default ends at {default.min():.1f} %" in pages.study("defaults")


def test_in_two_rows_the_default_loses_more_than_the_seeds_differ():
    rows = gaps()
    gammas = rows["residual_zero_gamma", "fashion_mnist", 4096]
    page = pages.study("defaults")
    assert f"loses {gammas['lars_floor_0.05']:.1f} points with `residual_zero_gamma`" in page
    assert f"A floor of 0.2 loses {gammas['lars_floor_0.2']:.1f} there" in page
    digits = rows["resnet50_quarter", "digits", 512]
    assert f"loses {digits['lars_floor_0.05']:.1f} points on the digits at 512" in page
    assert gammas["lars_zero_1"] == digits["lars_zero_1"] == 0
    table = results.select(tables.frame(found("zero_weights_digits")), batch=512)
    of_training = 100 * table.groupby("method")["measured_accuracy"].mean()
    assert 99.8 <= of_training.min() < 99.9


def test_no_setting_is_near_the_best_in_every_row():
    assert all(any(gap[name] > 0.5 for gap in gaps().values()) for name in SIZES[ZERO[0]].methods)


def test_the_page_has_the_numbers_of_the_defaults():
    rule = pages.on_one_line("docs/update_rule.md")
    means = {}
    for each in map(found, ZERO):
        for row in tables.frame(each).to_dict("records"):
            method = row["method"].removeprefix("lars_")
            key = row["network"], each["settings"]["data"], row["batch"], method
            means.setdefault(key, []).append(100 * row["test_accuracy"])
    means = {key: f"{sum(values) / len(values):.1f}" for key, values in means.items()}
    images = "fashion_mnist"
    for method, words in {
        "floor_0.05": "reaches {} % at a batch of 4,096 and {} % at 8,192 with the floor",
        "zero_1": "and {} % and {} % with a ratio of 1",
    }.items():
        reached = [means["vit", images, batch, method] for batch in (4096, 8192)]
        assert words.format(*reached) in rule
    gammas = means["residual_zero_gamma", images, 4096, "floor_0.05"]
    assert f"residual gammas start at 0 reaches {gammas} % at 4,096" in rule
    *_, of_floor = largest_gaps(ZERO)
    for page in (rule, pages.study("defaults")):
        assert f"at most {of_floor} points to the best" in page


def test_the_default_rate_has_the_best_worst_case():
    rates = [1.0, 4.0, 10.0, 20.0]
    worst = dict(zip(rates, largest_gaps(CONSTANT), strict=True))
    assert keras_lars.LARS().learning_rate == min(worst, key=worst.get)
    page = pages.study("defaults")
    assert f"it loses at most {worst[4.0]} points to the best of a row" in page
    assert f"A rate of 1 loses up to {worst[1.0]} points, and" in page


def test_the_gap_of_a_schedule_to_the_best_constant_rate():
    differences = []
    for network in ("plain", "residual", "vit"):
        best, ours = (
            100 * rows["test_accuracy"].groupby(rows["method"]).mean().max()
            for rows in (
                at_8192(CONSTANT[0], network),
                at_8192(ZERO[0], network, "lars_floor_0.05"),
            )
        )
        differences.append(best - ours)
    page = pages.study("defaults")
    assert f"reaches {min(differences):.1f} to {max(differences):.1f} points less" in page


def at_8192(name, network, *method):
    wanted = {"method": method[0]} if method else {}
    return results.select(tables.frame(found(name)), network=network, batch=8192, **wanted)


def test_the_first_try_is_as_good_as_promised():
    least = {"vit": 0.78, "residual": 0.84, "plain": 0.76}
    table = results.frame(results.read(FOLDER / "first_try.json", "--show", "first_try"))
    table = table[table["learning_rate"].str.contains("FitSchedule")]
    for network, accuracy in least.items():
        reached = results.select(table, network=network)["test_accuracy"]
        assert len(reached) == 3
        assert reached.min() >= accuracy


def test_linear_probing_agrees_with_its_page():
    found = results.frame(results.read(FOLDER / "linear_probe.json", "--show", "linear_probe"))
    mean = 100 * found.groupby(["optimizer", "learning_rate"])["test_accuracy"].mean()
    best = mean.groupby("optimizer").max().round(1)
    assert set(best) == {85.2}
    assert mean["LARS"].idxmax() == 16 * 1.6
