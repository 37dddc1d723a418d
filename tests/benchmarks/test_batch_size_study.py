"""The study of batch sizes: what is searched, in which order, what is chosen, and what is told."""

import dataclasses
import importlib.util
import json
import pathlib

import keras
import numpy as np
import pytest
from support.helpers import run_python

pytest.importorskip("scipy", reason="the extra `benchmarks` is not installed")

from benchmarks.studies.batch_size import arms, drawing, images, pool, results, tables, training
from benchmarks.studies.batch_size.arms import ARMS
from benchmarks.studies.batch_size.forms import FORMS, Form
from benchmarks.studies.batch_size.networks import NETWORKS
from benchmarks.studies.batch_size.runs import Run, Study

FORM = Form(("plain",), (128, 512), epochs=2, trials=4, seeds=2)
TUNED = [arm for arm in ARMS if arm.space]


# The search.


@pytest.mark.parametrize("arm", TUNED, ids=lambda arm: arm.name)
def test_each_part_of_a_range_is_tried_once(arm):
    settings = arms.trials(arm, 4)
    assert len(settings) == 4
    for name, of in arm.space.items():
        shares = sorted(
            np.log(setting[name] / of.low) / np.log(of.high / of.low)
            if of.logarithmic
            else (setting[name] - of.low) / (of.high - of.low)
            for setting in settings
        )
        np.testing.assert_allclose(shares, [1 / 8, 3 / 8, 5 / 8, 7 / 8])


def test_every_tuned_optimizer_has_the_same_number_of_trials():
    study = Study(FORMS["small"], pathlib.Path("nowhere"))
    trials = [run for run in study.runs() if run.kind == "trial"]
    counts = {arm.name: sum(run.arm == arm.name for run in trials) for arm in ARMS}
    assert {counts[arm.name] for arm in TUNED} == {2 * 5 * 4}
    assert {counts[arm.name] for arm in ARMS if arm not in TUNED} == {0}
    assert len(list(study.runs())) == 2 * 5 * (4 * 4 + 6 * 3)


def test_scaling():
    of = arms.BY_NAME
    assert arms.scaled(of["momentum_scaled"], {"learning_rate": 0.1}, 16)["learning_rate"] == 1.6
    assert arms.scaled(of["lars_scaled"], {"learning_rate": 2.0}, 16)["learning_rate"] == 8.0


# The order, and what is chosen.


def done(study, run, accuracy=0.5, diverged=False, **more):
    found = {
        "diverged": diverged,
        **{key: None if diverged else accuracy for key in results._REACHED if "accuracy" in key},
        **{key: None if diverged else 1 - accuracy for key in results._REACHED if "loss" in key},
        "images_per_second": 1000,
        "seconds": 2.0,
        "versions": {"keras": "x"},
        "device": {"accelerators": [], "processor": "some", "cores": 2},
        **more,
    }
    study.keep(run, study.training(run), found)


def trial(number, arm="momentum", batch=128):
    return Run("plain", arm, batch, "trial", number)


def seed(number, arm="momentum", batch=128):
    return Run("plain", arm, batch, "seed", number)


def test_the_best_trial_is_chosen_for_fresh_seeds(tmp_path):
    study = Study(FORM, tmp_path)
    assert study.training(seed(1)) is None
    for number, accuracy in enumerate([0.5, 0.7, 0.6, 0.1]):
        assert study.training(seed(1)) is None
        done(study, trial(number), accuracy)
    chosen, tried = study.training(seed(2)), study.training(trial(1))
    assert dataclasses.replace(chosen, seed=tried.seed) == tried
    assert tried.seed == 0
    assert chosen.seed == 2
    # And for a larger batch without trials, scaled.
    assert study.training(seed(1, "momentum_scaled", 512)).learning_rate == pytest.approx(
        4 * chosen.learning_rate
    )


def test_where_all_diverged_the_lowest_rate_stands_for_them(tmp_path):
    study = Study(FORM, tmp_path)
    for number in range(4):
        done(study, trial(number), diverged=True)
    rates = [study.training(trial(number)).learning_rate for number in range(4)]
    assert study.training(seed(1)).learning_rate == min(rates)


def test_momentum_and_warm_up_of_nesterov_are_tuned_too():
    study = Study(FORM, pathlib.Path("nowhere"))
    asked = [study.training(trial(number, "nesterov")) for number in range(4)]
    assert len({each.momentum for each in asked}) == len({each.warmup_share for each in asked}) == 4
    assert all(0.8 <= each.momentum <= 0.98 for each in asked)
    assert {study.training(trial(n, "lars")).momentum for n in range(4)} == {0.9}


def finish(study):
    """All of it, in the order in which the pool takes it."""
    order = []
    while ready := pool._ready(study, {}, 3):
        for run in ready:
            done(study, run, 0.5 + len(order) / 1000)
        order += ready
    return order


def test_everything_is_trained_once_and_gone_on_with(tmp_path):
    study = Study(FORM, tmp_path)
    order = finish(study)
    assert len(order) == len(set(order)) == len(list(study.runs())) == 2 * (4 * 4 + 6 * 2)
    assert not study.waiting()
    assert pool.seconds_left(study, 2) == 0
    again = Study(FORM, tmp_path)
    assert again.results == study.results
    # Half of it lost: that half is waiting.
    for run in order[::2]:
        (tmp_path / "runs" / f"{run.name}.json").unlink()
    half = Study(FORM, tmp_path)
    assert set(half.waiting()) == set(order[::2])
    assert pool.seconds_left(half, 2) == len(order[::2]) * 2.0 / 2


def test_a_file_of_results_is_gone_on_with(tmp_path):
    study = Study(FORM, tmp_path)
    finish(study)
    found = json.loads(json.dumps(results.gather("small", study)))
    before = results.of_earlier_sitting(found, "small", FORM)
    again = Study(FORM, tmp_path / "elsewhere", before)
    assert not again.waiting()
    assert results.gather("small", again) == results.gather("small", study)
    with pytest.raises(ValueError, match="--output must be new, or hold results of this form"):
        results.of_earlier_sitting(found, "quick", FORM)
    with pytest.raises(ValueError, match="--output must be new, or hold results of this form"):
        results.of_earlier_sitting(found, "small", dataclasses.replace(FORM, epochs=3))


def test_a_point_can_be_repeated_exactly_as_it_was(tmp_path):
    study = Study(FORM, tmp_path)
    finish(study)
    found = json.loads(json.dumps(results.gather("small", study)))
    for run in study.runs():
        asked, row = results.training_of(found, run.name)
        assert dataclasses.asdict(asked) == study.results[run]["training"]
        assert row["test_accuracy"] == study.results[run]["test_accuracy"]
    with pytest.raises(ValueError, match="Received: plain-sgd"):
        results.training_of(found, "plain-sgd")


# What is told.


def test_tables(tmp_path):
    study = Study(FORM, tmp_path)
    for arm in ("momentum", "lars"):
        for number, accuracy in enumerate([0.9, 0.89, 0.7, 0.6]):
            done(study, trial(number, arm), accuracy, diverged=arm == "momentum" and number > 1)
    done(study, seed(1), 0.8)
    done(study, seed(2), 0.9)
    done(study, seed(1, "lars"), 0.85)
    done(study, seed(2, "lars"), diverged=True)
    found = results.gather("small", study)
    assert tables.accuracy(found, "plain", "momentum", 128) == "85.0 (7.1)"
    assert tables.accuracy(found, "plain", "lars", 128) == "85.0, 1 of 2 diverged"
    assert tables.training_loss(found, "plain", "momentum", 128) == "0.150 (0.071)"
    assert tables.works(found, "plain", "lars", 128) == "2 of 4"
    assert tables.works(found, "plain", "momentum", 128) == "2 of 4, 2 diverged"
    assert tables.accuracy(found, "plain", "lamb", 128) == ""
    text = tables.report(found)
    assert "| momentum, tuned | 85.0 (7.1) |  |" in text
    assert f"12 of {found['planned']} trainings are done." in text
    assert "2 x some; keras x" in text
    assert "Images a second" not in text


def test_speed_is_told_of_accelerators(tmp_path):
    study = Study(FORM, tmp_path)
    for number, speed in enumerate([1000, 3000, 4000]):
        device = {"accelerators": ["some"], "processor": "other", "cores": 2}
        done(study, trial(number, "lars", 512), images_per_second=speed, device=device)
    text = tables.report(results.gather("resnet50", study))
    (after,) = text.split("Images a second in the fastest epoch, median of all trainings:")[1:]
    assert "| LARS, tuned |  | 3,000 |" in after


RATES = dataclasses.replace(FORMS["rates"], networks=("plain",), batches=(128, 512))


def test_learning_rates_are_tried_alone(tmp_path):
    study = Study(RATES, tmp_path)
    assert not [run for run in study.runs() if run.kind == "seed"]
    for arm in arms.RATES:
        rates = sorted(setting["learning_rate"] for setting in arms.trials(arm, RATES.trials))
        np.testing.assert_allclose(np.divide(rates[1:], rates[:-1]), 2)
    reached = [0.9, 0.885, 0.87, 0.1, 0.1, 0.1, 0.1, 0.1]
    for batch in RATES.batches:
        for number, accuracy in enumerate(reached):
            done(study, trial(number, "lars_rates", batch), accuracy, diverged=number == 7)
    found = json.loads(json.dumps(results.gather("rates", study)))
    settings = arms.trials(arms.BY_NAME["lars_rates"], RATES.trials)
    low, high = sorted(setting["learning_rate"] for setting in settings[:2])
    assert tables.width(found, "plain", "lars_rates", 128) == f"2: {low:.3g} to {high:.3g}"
    text = tables.report(found)
    assert "of the same optimizer, of 8 that were tried:" in text
    assert f"| LARS | 2: {low:.3g} to {high:.3g} | 2: {low:.3g} to {high:.3g} |" in text
    assert "Test accuracy in % by learning rate, LARS:" in text
    rate = settings[7]["learning_rate"]
    assert f"| {rate:.3g} | diverged | diverged |" in text
    assert "Chosen learning rate" not in text


def test_a_picture_of_seeds_needs_seeds(tmp_path):
    study = Study(RATES, tmp_path)
    done(study, trial(0, "lars_rates"))
    with pytest.raises(ValueError, match="--plot needs results of seeds"):
        drawing.draw(results.gather("rates", study), tmp_path / "picture.png")
    assert not list(tmp_path.glob("*.png"))


def test_guessing_is_failing():
    assert results.failed({"diverged": True, "measured_loss": None})
    assert results.failed({"diverged": False, "measured_loss": 2.3026})
    assert not results.failed({"diverged": False, "measured_loss": 2.2})


def test_one_setting_for_all_batch_sizes(tmp_path):
    study = Study(FORM, tmp_path)
    reached = {128: [0.8, 0.7, 0.9, 0.1], 512: [0.3, 0.6, 0.9, 0.1]}
    for batch, accuracies in reached.items():
        for arm in TUNED:
            for number, accuracy in enumerate(accuracies):
                diverged = arm.name == "momentum" and (batch, number) == (512, 2)
                done(study, trial(number, arm.name, batch), accuracy, diverged)
    table = tables.one_setting(results.gather("small", study), "plain")
    first = arms.trials(arms.BY_NAME["momentum"], 4)[1]["learning_rate"]
    # The third setting is the best one, unless it diverges; then 0.9 + 0.1 is less than 0.7 + 0.6.
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


ASKED = training.Training("plain", "lars", 64, 8, 14, 1, 10.0, 0.9, 0.2)


@pytest.mark.parametrize("optimizer", ["momentum", "nesterov", "lars", "lamb"])
def test_a_training(optimizer, small_data):
    rate = {"lars": 10.0, "lamb": 0.03}.get(optimizer, 0.1)
    asked = dataclasses.replace(ASKED, optimizer=optimizer, learning_rate=rate)
    found = training.train(asked, None)
    assert not found["diverged"]
    # 300 images are four updates of 64 and one of 44.
    assert found["updates"] == 8 * 5
    assert found["test_accuracy"] > 0.2
    assert found["images_per_second"] > 0
    assert found["versions"]["keras"] == keras.__version__


@pytest.mark.parametrize("optimizer", ["lars", "lamb"])
def test_micro_batches(optimizer, small_data):
    rate = {"lars": 10.0, "lamb": 0.03}[optimizer]
    asked = dataclasses.replace(ASKED, optimizer=optimizer, learning_rate=rate, micro_batch=32)
    found = training.train(asked, None)
    # 300 images are ten micro-batches, of which two are an update.
    assert found["updates"] == 8 * 5
    assert found["test_accuracy"] > 0.2
    whole = dataclasses.replace(asked, micro_batch=100)
    assert whole.accumulated == 1


def test_a_training_that_diverges(small_data):
    asked = dataclasses.replace(ASKED, optimizer="momentum", learning_rate=1e30)
    found = training.train(asked, None)
    assert found["diverged"]
    assert found["test_accuracy"] is None
    json.dumps(found, allow_nan=False)


def test_networks_have_the_parameters_that_they_say():
    for name in ("plain", "residual"):
        model = NETWORKS[name]((14, 14, 1), 10)
        assert f"{model.count_params():,} parameters" in NETWORKS[name].__doc__
    normalized = [type(layer).__name__ for layer in NETWORKS["plain"]((14, 14, 1), 10).layers]
    assert "BatchNormalization" not in normalized


def test_statistics_of_normalization_are_those_of_the_images():
    model = NETWORKS["residual"]((14, 14, 1), 10)
    data = np.random.default_rng(0).normal(3, 2, size=(3000, 14, 14, 1)).astype("float32")
    training.average_statistics(model, data)
    first = model.get_layer("stem_conv")(data)
    layer = model.get_layer("stem_bn")
    means, variances = np.mean(first, axis=(0, 1, 2)), np.var(first, axis=(0, 1, 2))
    np.testing.assert_allclose(layer.moving_mean, means, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(layer.moving_variance, variances, rtol=1e-2)
    training.average_statistics(NETWORKS["plain"]((14, 14, 1), 10), data)


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
from benchmarks.studies.batch_size import __main__, training

def part(count):
    pixels = np.random.default_rng(0).integers(256, size=(count, 28, 28, 1), dtype=np.uint8)
    return Images(pixels, np.arange(count, dtype="int32") % 10)

fashion_mnist.load = lambda data_dir: InMemory("fashion_mnist", 10, part(300), part(6000))
asked = training.Training("plain", "lars", 64, 2, 14, 1, 10.0, 0.9, 0.2)
print(training.train(asked, None)["updates"])
"""


def test_it_runs_without_tensorflow():
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    assert run_python("-c", WITHOUT_TENSORFLOW, KERAS_BACKEND="jax").split() == ["10"]
