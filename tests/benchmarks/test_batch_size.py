"""Accuracy by batch size: the search, its order, the chosen settings, and the tables."""

import collections
import dataclasses
import importlib.util
import json
import re

import numpy as np
import pytest
from support import models
from support.helpers import run_python

pytest.importorskip("scipy", reason="the extra `benchmarks` is not installed")

from benchmarks.experiments import experiment, results, sweep
from benchmarks.experiments.batch_size import SIZES, BatchSize, Size, training_of
from benchmarks.experiments.small import images, methods, plots, tables, training
from benchmarks.experiments.small.networks import NETWORKS
from keras_lars import LARS

SIZE = Size(("plain",), (128, 512), epochs=2, trials=4, seeds=2)
RATES = dataclasses.replace(SIZES["rates"], networks=("plain",), batches=(128, 512))
METHODS = [methods.BY_NAME[name] for name in SIZE.methods]
TUNED = [method for method in METHODS if method.space]


@pytest.fixture(autouse=True)
def small_sizes(monkeypatch):
    monkeypatch.setitem(SIZES, "tested", SIZE)
    monkeypatch.setitem(SIZES, "tested_rates", RATES)


# The search.


@pytest.mark.parametrize("method", TUNED, ids=lambda method: method.name)
def test_trials_are_spread_evenly_over_each_range(method):
    settings = methods.trials(method, 4)
    assert len(settings) == 4
    for name, of in method.space.items():
        found = [1 - s[name] if of.from_1 else s[name] for s in settings]
        shares = sorted(
            np.log(x / of.low) / np.log(of.high / of.low)
            if of.logarithmic
            else (x - of.low) / (of.high - of.low)
            for x in found
        )
        np.testing.assert_allclose(shares, [1 / 8, 3 / 8, 5 / 8, 7 / 8])


def test_every_tuned_optimizer_has_the_same_number_of_trials():
    runs = BatchSize(size="small").runs({})
    trials = [run.label["method"] for run in runs if run.label["kind"] == "trial"]
    counts = {method.name: trials.count(method.name) for method in METHODS}
    assert {counts[method.name] for method in TUNED} == {2 * 5 * 4}
    assert {counts[method.name] for method in METHODS if method not in TUNED} == {0}
    assert len(runs) == 2 * 5 * (4 * 4 + 6 * 3)


def test_the_second_round_has_equally_many_trials_of_each_method():
    runs = BatchSize(size="second_round").runs({})
    trials = collections.Counter(r.label["method"] for r in runs if r.label["kind"] == "trial")
    compared = [methods.BY_NAME[name] for name in SIZES["second_round"].methods]
    assert trials == {method.name: 3 * 5 * 8 for method in compared if method.space}
    rates = BatchSize(size="second_round_rates").runs({})
    for run in rates:
        assert run.settings.seed == run.label["number"] // 8
    settings = [(r.settings.seed, r.settings.learning_rate) for r in rates[:16]]
    assert len(set(settings)) == 16
    assert {rate for _, rate in settings} == {
        r.settings.learning_rate for r in runs if r.name.startswith("vit-lars_nesterov-128-trial")
    }


# The order, and the chosen settings.


def reached(settings, accuracy=0.5, diverged=False, accelerators=(), **more):
    """A made-up record of a finished training."""
    names = [f"{part}_{kind}" for part in ("choosing", "test", "measured") for kind in KINDS]
    result = {
        "diverged": diverged,
        **{n: None if diverged else KINDS[n.split("_")[1]](accuracy) for n in names},
        "images_per_second": 1000,
        "seconds": 2.0,
        **more,
    }
    return {
        "settings": dataclasses.asdict(settings),
        "result": result,
        "versions": {"keras": "x"},
        "device": {"accelerators": list(accelerators), "processor": "some", "cores": 2},
    }


KINDS = {"accuracy": lambda x: x, "loss": lambda x: 1 - x}


def make_sweep(folder, size="tested", before=None):
    return sweep.Sweep(BatchSize(size=size), folder, before or {})


def settings_of(some, name):
    (found,) = [run.settings for run in some.runs() if run.name == name]
    return found


def done(some, name, *what, **more):
    some.done[name] = reached(settings_of(some, name), *what, **more)


def gathered(some):
    return results.as_json(some.found())


def finish(some):
    """Finish all runs, and return their names in the order of training."""
    order = []
    while ready := some._ready({}, 3):
        for run in ready:
            done(some, run.name, 0.5 + len(order) / 1000)
        order += [run.name for run in ready]
    return order


def test_the_best_trial_is_chosen_for_fresh_seeds(tmp_path):
    some = make_sweep(tmp_path)
    assert settings_of(some, "plain-momentum-128-seed1") is None
    for number, accuracy in enumerate([0.5, 0.7, 0.6, 0.1]):
        assert settings_of(some, "plain-momentum-128-seed1") is None
        done(some, f"plain-momentum-128-trial{number}", accuracy)
    chosen = settings_of(some, "plain-momentum-128-seed2")
    tried = settings_of(some, "plain-momentum-128-trial1")
    assert dataclasses.replace(chosen, seed=tried.seed) == tried
    assert (tried.seed, chosen.seed) == (0, 2)


@pytest.mark.parametrize(("method", "factor"), [("momentum", 4), ("lars", 2)])
def test_a_batch_without_trials_of_its_own_gets_the_scaled_rate(method, factor, tmp_path):
    some = make_sweep(tmp_path)
    for number in range(4):
        done(some, f"plain-{method}-128-trial{number}")
    chosen = settings_of(some, f"plain-{method}-128-seed2")
    scaled = settings_of(some, f"plain-{method}_scaled-512-seed2")
    rate = pytest.approx(factor * chosen.learning_rate)
    assert scaled == dataclasses.replace(
        chosen, global_batch_size=512, learning_rate=scaled.learning_rate
    )
    assert scaled.learning_rate == rate


def test_if_all_trials_diverged_the_lowest_rate_is_chosen(tmp_path):
    some = make_sweep(tmp_path)
    names = [f"plain-momentum-128-trial{number}" for number in range(4)]
    for name in names:
        done(some, name, diverged=True)
    rates = [settings_of(some, name).learning_rate for name in names]
    assert settings_of(some, "plain-momentum-128-seed1").learning_rate == min(rates)


def test_nesterov_also_tunes_momentum_and_warm_up(tmp_path):
    some = make_sweep(tmp_path)
    asked = [settings_of(some, f"plain-nesterov-128-trial{number}") for number in range(4)]
    assert len({a.momentum for a in asked}) == len({a.warmup_fraction for a in asked}) == 4
    assert all(0.8 <= each.momentum <= 0.98 for each in asked)
    assert {settings_of(some, f"plain-lars-128-trial{n}").momentum for n in range(4)} == {0.9}


def test_each_run_is_trained_once_and_a_sweep_resumes(tmp_path):
    some = make_sweep(tmp_path)
    order = finish(some)
    assert len(order) == len(set(order)) == some.planned == 2 * (4 * 4 + 6 * 2)
    assert not some.waiting()
    assert some.seconds_left(2) == 0
    # If half of the rows are lost, those runs are waiting again.
    half = make_sweep(tmp_path, before={name: some.done[name] for name in order[::2]})
    assert {run.name for run in half.waiting()} == set(order[1::2])
    assert half.seconds_left(2) == pytest.approx(len(order[1::2]) * 2.0 / 2)


def test_a_sweep_resumes_from_a_results_file(tmp_path):
    some = make_sweep(tmp_path)
    finish(some)
    results.write(tmp_path / "results.json", gathered(some))
    before = experiment.done_before(BatchSize(size="tested"), tmp_path / "results.json")
    again = make_sweep(tmp_path, before=before)
    assert not again.waiting()
    assert gathered(again) == gathered(some)
    with pytest.raises(ValueError, match="--output must be new or hold results of the same"):
        experiment.done_before(BatchSize(size="quick"), tmp_path / "results.json")


def test_a_run_can_be_repeated_exactly_as_it_was(tmp_path):
    some = make_sweep(tmp_path)
    finish(some)
    found = gathered(some)
    for run in some.runs():
        asked, result = training_of(found, run.name)
        assert asked == run.settings
        assert result == some.done[run.name]["result"]
    with pytest.raises(ValueError, match="Received: plain-sgd"):
        training_of(found, "plain-sgd")


# Tables and plots.


def test_tables(tmp_path):
    some = make_sweep(tmp_path)
    for method in ("momentum", "lars"):
        for number, accuracy in enumerate([0.9, 0.89, 0.7, 0.6]):
            failed = method == "momentum" and number > 1
            done(some, f"plain-{method}-128-trial{number}", accuracy, failed)
    done(some, "plain-momentum-128-seed1", 0.8)
    done(some, "plain-momentum-128-seed2", 0.9)
    done(some, "plain-lars-128-seed1", 0.85)
    done(some, "plain-lars-128-seed2", diverged=True)
    found = gathered(some)
    text = tables.report(found)
    lines = [re.sub(" +", " ", line) for line in text.splitlines()]
    for line in (
        "| momentum, tuned | 85.0 (7.1) | |",
        "| LARS, tuned | 85.0, 1 of 2 diverged | |",
        "| momentum, tuned | 0.150 (0.071) | |",
        "| LARS, tuned | 2 of 4 | |",
        "| momentum, tuned | 2 of 4, 2 diverged | |",
        "| Lamb of Keras, tuned | | |",
    ):
        assert line in lines
    assert f"12 of {found['planned']} training runs are done." in text
    assert "2 x some; keras x" in text
    assert "Images per second" not in text


def test_speed_is_reported_for_accelerators(tmp_path):
    some = make_sweep(tmp_path)
    for number, speed in enumerate([1000, 3000, 4000]):
        name = f"plain-lars-512-trial{number}"
        done(some, name, accelerators=["some"], images_per_second=speed)
    text = tables.report(gathered(some))
    (after,) = text.split("in the fastest epoch, median of all training runs:")[1:]
    assert re.search(r"\| LARS, tuned +\| +\| 3,000 \|", after)


@pytest.mark.slow
def test_a_sweep_of_learning_rates_alone(tmp_path):
    some = make_sweep(tmp_path, "tested_rates")
    assert not [run for run in some.runs() if run.label["kind"] == "seed"]
    for name in RATES.methods:
        tried = methods.trials(methods.BY_NAME[name], 8)
        rates = sorted(setting["learning_rate"] for setting in tried)
        np.testing.assert_allclose(np.divide(rates[1:], rates[:-1]), 2)
    accuracies = [0.9, 0.885, 0.87, 0.1, 0.1, 0.1, 0.1, 0.1]
    for batch in RATES.batches:
        for number, accuracy in enumerate(accuracies):
            done(some, f"plain-lars_rates-{batch}-trial{number}", accuracy, number == 7)
    found = gathered(some)
    settings = methods.trials(methods.BY_NAME["lars_rates"], RATES.trials)
    low, high = sorted(setting["learning_rate"] for setting in settings[:2])
    text = re.sub(" +", " ", tables.report(found))
    assert "how many of 8 learning rates come within 2 points" in text
    assert f"| LARS | 2: {low:.3g} to {high:.3g} | 2: {low:.3g} to {high:.3g} |" in text
    assert "Test accuracy in % by learning rate, LARS:" in text
    assert f"| {settings[7]['learning_rate']:.3g} | diverged | diverged |" in text
    assert "Chosen learning rate" not in text
    # Without runs of several seeds, accuracy is plotted by learning rate.
    plots.plot(found, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_trials_of_several_seeds_are_averaged(tmp_path, monkeypatch):
    monkeypatch.setitem(SIZES, "tested_rates", dataclasses.replace(RATES, trial_seeds=2))
    some = make_sweep(tmp_path, "tested_rates")
    for batch in RATES.batches:
        for number in range(16):
            accuracy = {1: 0.9, 9: 0.8, 2: 0.84, 10: 0.85}.get(number, 0.1)
            done(some, f"plain-lars_rates-{batch}-trial{number}", accuracy, number in (7, 8, 15))
    rates = [s["learning_rate"] for s in methods.trials(methods.BY_NAME["lars_rates"], 8)]
    text = re.sub(" +", " ", tables.report(gathered(some)))
    low, high = sorted(rates[1:3])
    assert f"| LARS | 2: {low:.3g} to {high:.3g} | 2: {low:.3g} to {high:.3g} |" in text
    for number, cell in {1: "85.0", 2: "84.5", 0: "10.0, 1 of 2 diverged", 7: "diverged"}.items():
        assert f"| {rates[number]:.3g} | {cell} | {cell} |" in text


def test_a_training_that_only_guesses_counts_as_failed(tmp_path):
    some = make_sweep(tmp_path)
    done(some, "plain-lars-128-trial0", diverged=True)
    done(some, "plain-lars-128-trial1", measured_loss=2.3026)
    done(some, "plain-lars-128-trial2", measured_loss=2.2)
    assert tables.frame(gathered(some))["failed"].tolist() == [True, True, False]


def test_one_setting_for_all_batch_sizes(tmp_path):
    some = make_sweep(tmp_path)
    accuracies = {128: [0.8, 0.7, 0.9, 0.1], 512: [0.3, 0.6, 0.9, 0.1]}
    for batch, of_batch in accuracies.items():
        for method in TUNED:
            for number, accuracy in enumerate(of_batch):
                diverged = method.name == "momentum" and (batch, number) == (512, 2)
                done(some, f"plain-{method.name}-{batch}-trial{number}", accuracy, diverged)
    table = re.sub(" +", " ", tables.one_setting(gathered(some), "plain"))
    first = methods.trials(methods.BY_NAME["momentum"], 4)[1]["learning_rate"]
    # The third setting is best, except for momentum, where it diverged at 512: 0.9 + 0.1 is less
    # than 0.7 + 0.6.
    assert f"| momentum, tuned | {first:.3g} | 70.0 | 60.0 |" in table
    assert " | 90.0 | 90.0 |" in table.splitlines()[3]


# A real training.


@pytest.fixture
def small_data(monkeypatch):
    random = np.random.default_rng(0)

    def part(count):
        labels = random.integers(10, size=count).astype("int32")
        bright = labels[:, None, None, None] / 5 - 1
        noise = random.normal(size=(count, 14, 14, 1)) / 10
        return images.Part((bright + noise).astype("float32"), labels)

    data = {"training": part(300), "measured": part(100)}
    data |= {"choosing": part(100), "test": part(100)}
    monkeypatch.setattr(images, "load", lambda data_dir, size, data_set: data)


@pytest.fixture
def small_network(monkeypatch):
    """Replaces "plain" with two layers. Only `test_a_training` trains the real network."""
    monkeypatch.setitem(NETWORKS, "plain", models.two_layers)


ASKED = training.Training("plain", "lars", 64, 8, 14, 1, 10.0, 0.9, 0.2)


@pytest.mark.slow
def test_a_training(small_data):
    check_a_training("lars")


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["momentum", "nesterov", "lamb"])
def test_a_training_with_another_optimizer(optimizer, small_data, small_network):
    check_a_training(optimizer)


def check_a_training(optimizer):
    rate = {"lars": 10.0}.get(optimizer, 0.1)
    asked = dataclasses.replace(ASKED, optimizer=optimizer, learning_rate=rate)
    found = asked.train(None)
    assert not found["diverged"]
    # 300 images make four updates of 64 and one of 44.
    assert found["updates"] == 8 * 5
    assert found["test_accuracy"] > 0.2
    assert found["images_per_second"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["lars", "lamb"])
def test_micro_batches(optimizer, small_data, small_network):
    rate = {"lars": 10.0, "lamb": 0.03}[optimizer]
    asked = dataclasses.replace(ASKED, optimizer=optimizer, learning_rate=rate)
    asked = dataclasses.replace(asked, micro_batch_size=32)
    found = asked.train(None)
    # 300 images make ten micro-batches, two to an update.
    assert found["updates"] == 8 * 5
    assert found["test_accuracy"] > 0.2
    whole = dataclasses.replace(asked, micro_batch_size=100)
    assert whole.accumulated == 1


@pytest.mark.slow
def test_a_training_that_diverges(small_data, small_network):
    asked = dataclasses.replace(ASKED, optimizer="momentum", learning_rate=1e30)
    found = asked.train(None)
    assert found["diverged"]
    assert found["test_accuracy"] is None
    json.dumps(found, allow_nan=False)


@pytest.mark.slow
def test_docstrings_of_networks_give_the_right_number_of_parameters():
    for name in ("plain", "residual"):
        model = NETWORKS[name]((14, 14, 1), 10)
        assert f"{model.count_params():,} parameters" in NETWORKS[name].__doc__
    normalized = [type(layer).__name__ for layer in NETWORKS["plain"]((14, 14, 1), 10).layers]
    assert "BatchNormalization" not in normalized


@pytest.mark.slow
def test_recalibrated_statistics_are_those_of_the_images():
    model = NETWORKS["residual"]((14, 14, 1), 10)
    data = np.random.default_rng(0).normal(3, 2, size=(3000, 14, 14, 1)).astype("float32")
    part = images.Part(data, np.zeros(3000))
    training.fit(model, LARS(0.0), part, 1000, 1, training.recalibration(model, data, 1))
    first = model.get_layer("stem_conv")(data)
    layer = model.get_layer("stem_bn")
    means, variances = np.mean(first, axis=(0, 1, 2)), np.var(first, axis=(0, 1, 2))
    np.testing.assert_allclose(layer.moving_mean, means, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(layer.moving_variance, variances, rtol=1e-2)
    assert not training.recalibration(NETWORKS["plain"]((14, 14, 1), 10), data, 1)


def test_images_are_averaged():
    pixels = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    np.testing.assert_allclose(
        255 * images._averaged(pixels, 2)[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]], rtol=1e-6
    )


WITHOUT_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = None
import numpy as np
from benchmarks.data import fashion_mnist
from benchmarks.data.in_memory import Images, InMemory
from benchmarks.experiments import batch_size
from benchmarks.experiments.small import networks, training
from support import models

networks.NETWORKS["plain"] = models.two_layers

def part(count):
    pixels = np.random.default_rng(0).integers(256, size=(count, 28, 28, 1), dtype=np.uint8)
    return Images(pixels, np.arange(count, dtype="int32") % 10)

fashion_mnist.load = lambda data_dir: InMemory("fashion_mnist", 10, part(300), part(6000))
asked = training.Training("plain", "lars", 60, 2, 14, 1, 10.0, 0.9, 0.2)
print(asked.train(None)["updates"])
"""


@pytest.mark.slow
def test_it_runs_without_tensorflow():
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    assert run_python("-c", WITHOUT_TENSORFLOW, KERAS_BACKEND="jax").split() == ["10"]
