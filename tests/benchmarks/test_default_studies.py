"""The studies that chose defaults: which trainings they are, their table, and what it shows."""

import collections
import json
import pathlib
import statistics
import warnings

import numpy as np
import pytest
from support import pages

import keras_lars
from benchmarks.studies import fine_tuning, first_try
from benchmarks.studies.batch_size import images, results, settings_table, tables, training
from benchmarks.studies.batch_size.forms import FORMS
from benchmarks.studies.batch_size.runs import Run, Study

FOLDER = pages.ROOT / "benchmarks" / "results" / "studies"
ZERO = ("zero_weights", "zero_weights_gamma", "zero_weights_resnet50", "zero_weights_digits")
CONSTANT = ("constant_rates", "constant_rates_digits")


def training_of(form, arm, batch):
    network = FORMS[form].networks[0]
    study = Study(FORMS[form], pathlib.Path("nowhere"))
    return study.training(Run(network, arm, batch, "seed", 1))


@pytest.mark.parametrize(("batch", "rate"), [(512, 8.0), (4096, 4 * 2**2.5), (8192, 30.0)])
@pytest.mark.parametrize("ratio", [1.0, 0.01, 0.001])
def test_weights_of_zero_at_the_rate_of_for_fit(batch, rate, ratio):
    asked = training_of("zero_weights", f"lars_zero_{ratio:g}", batch)
    assert (asked.learning_rate, asked.zero_weight_ratio) == (pytest.approx(rate), ratio)
    assert asked.learning_rate == keras_lars.schedules.for_fit(60_000, 8, batch).peak
    assert asked.weight_norm_floor == 0
    assert training.optimizer(asked, 1.0).zero_weight_ratio == ratio


@pytest.mark.parametrize("floor", [0.1, 0.05])
def test_the_floor_is_asked_of_the_optimizer(floor):
    asked = training_of("zero_weights", f"lars_floor_{floor:g}", 4096)
    optimizer = training.optimizer(asked, 1.0)
    assert (optimizer.weight_norm_floor, optimizer.zero_weight_ratio) == (floor, None)


@pytest.mark.parametrize("rate", [1.0, 4.0, 10.0, 20.0])
def test_constant_rates(rate):
    asked = training_of("constant_rates", f"lars_constant_{rate:g}", 1024)
    assert training.learning_rate(asked, 100) == rate
    optimizer = training.optimizer(asked, rate)
    assert (optimizer.zero_weight_ratio, optimizer.weight_norm_floor) == (None, 0.05)


def row(arm, batch, accuracy, number=1, loss=0.5):
    return {
        **{"network": "plain", "arm": arm, "batch": batch, "kind": "seed", "number": number},
        **{"diverged": False, "test_accuracy": accuracy, "measured_loss": loss},
    }


def test_the_table_has_means_and_what_is_lost_at_most():
    found = {
        "arms": ["lars_zero_1", "lars_zero_0.01"],
        "networks": ["plain"],
        "batches": [512, 4096],
        "rows": [
            row("lars_zero_1", 512, 0.80),
            row("lars_zero_1", 512, 0.90, 2),
            row("lars_zero_0.01", 512, 0.83),
            row("lars_zero_0.01", 512, 0.83, 2),
            row("lars_zero_1", 4096, 0.20, loss=2.4),  # no better than a guess
            row("lars_zero_0.01", 4096, 0.70),
        ],
    }
    assert settings_table.table(found).splitlines() == [
        "| network | batch | `zero_weight_ratio=1` | `zero_weight_ratio=0.01` |",
        "|---|---:|---:|---:|",
        "| `plain` | 512 | 85.0 (7.1) | 83.0 (0.0) |",
        "| `plain` | 4,096 | 10.0, 1 of 1 diverged | 70.0 |",
        "| most lost to the best of a row | | 60.0 | 2.0 |",
    ]


@pytest.mark.parametrize("study", [first_try, fine_tuning])
def test_small_studies_in_tiny(study, monkeypatch):
    random = np.random.default_rng(0)

    def part(count):
        pixels = random.normal(size=(count, 14, 14, 1)).astype("float32")
        return images.Part(pixels, np.arange(count, dtype="int32") % 10)

    data = {"training": part(40), "choosing": part(20), "test": part(20)}
    monkeypatch.setattr(images, "load", lambda data_dir, size: data)
    for name, value in {"EPOCHS": 2, "BATCH_SIZE": 8, "IMAGES": 20}.items():
        monkeypatch.setattr(study, name, value, raising=False)
    monkeypatch.setattr(
        *(fine_tuning, "OPTIMIZERS"),
        {name: (make, rates[:1]) for name, (make, rates) in fine_tuning.OPTIMIZERS.items()},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so few updates are warned of
        if study is first_try:
            rows = [study.train("residual", 1, None), study.train("plain", 1, None, 1e-3)]
        else:
            rows = study.train(1, None)
    assert study.report({"rows": rows}).count("\n") == 1 + len(rows)
    assert all(0 <= row["test_accuracy"] <= 1 for row in rows)


# What is committed, and what pages say of it.


def found(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [*ZERO, *CONSTANT])
def test_the_results_are_whole(name):
    form = found(name)
    assert len(form["rows"]) == form["planned"]
    assert len(results.of_earlier_sitting(form, name, FORMS[name])) == form["planned"]
    assert tables.report(form).endswith("trainings are done.")


def lost(names):
    """What each setting loses at most to the best of a row."""
    *_, last = settings_table.table(*map(found, names)).splitlines()
    return [float(cell) for cell in last.split("|")[3:-1]]


def test_the_default_for_weights_of_zero_is_best_at_its_worst():
    *others, of_floor = lost(ZERO)
    assert of_floor < min(others)
    assert keras_lars.LARS().weight_norm_floor == 0.05
    assert keras_lars.LARS().zero_weight_ratio is None


def test_readme_has_the_numbers_of_the_defaults():
    readme = " ".join(pages.read("README.md").split())
    means = {}
    for form in map(found, ZERO):
        for row in form["rows"]:
            key = row["network"], form["data"], row["batch"], row["arm"].removeprefix("lars_")
            means.setdefault(key, []).append(100 * row["test_accuracy"])
    means = {key: f"{sum(values) / len(values):.1f}" for key, values in means.items()}
    images = "fashion_mnist"
    for arm, words in {
        "floor_0.05": "reaches {} % at a batch of 4,096 and {} % at 8,192 with the floor",
        "zero_1": "and {} % and {} % with a ratio of 1",
    }.items():
        reached = [means["vit", images, batch, arm] for batch in (4096, 8192)]
        assert words.format(*reached) in readme
    gammas = means["residual_zero_gamma", images, 4096, "floor_0.05"]
    assert f"residual gammas start at 0 reaches {gammas} % at 4,096" in readme
    *_, of_floor = lost(ZERO)
    for page in (readme, " ".join(pages.read("benchmarks/README.md").split())):
        assert f"at most {of_floor} points to the best" in page


def test_the_default_rate_is_best_at_its_worst():
    rates = [1.0, 4.0, 10.0, 20.0]
    worst = dict(zip(rates, lost(CONSTANT), strict=True))
    assert keras_lars.LARS().learning_rate == min(worst, key=worst.get)
    page = " ".join(pages.read("benchmarks/README.md").split())
    assert f"it loses at most {worst[4.0]} points to the best of a row" in page
    assert f"A rate of 1 loses {worst[1.0]}, and" in page


def test_what_a_schedule_loses_to_the_best_constant_rate():
    differences = []
    for network in ("plain", "residual", "vit"):
        best, ours = (
            max(
                statistics.mean(100 * row["test_accuracy"] for row in rows)
                for rows in by_arm(name, network, 8192).values()
            )
            for name in (CONSTANT[0], ZERO[0])
        )
        differences.append(best - ours)
    page = " ".join(pages.read("benchmarks/README.md").split())
    assert f"reaches {min(differences):.1f} to {max(differences):.1f} points less" in page


def by_arm(name, network, batch):
    """The rows of a study, by setting; of the studies of weights of 0, those of the default."""
    rows = collections.defaultdict(list)
    for row in found(name)["rows"]:
        is_asked = (row["network"], row["batch"]) == (network, batch)
        if is_asked and (name != ZERO[0] or row["arm"] == "lars_floor_0.05"):
            rows[row["arm"]].append(row)
    return rows


def test_the_first_try_is_as_good_as_promised():
    least = {"vit": 0.78, "residual": 0.84, "plain": 0.76}
    rows = [row for row in found("first_try")["rows"] if "FitSchedule" in row["learning_rate"]]
    for network, accuracy in least.items():
        reached = [row["test_accuracy"] for row in rows if row["network"] == network]
        assert len(reached) == 3
        assert min(reached) >= accuracy
