"""`benchmarks.speed.step` measures both optimizers alternately."""

import dataclasses
import json
import math
import re
import statistics

import pytest
from support import RESULTS, pages
from support.helpers import run_command
from support.models import one_layer

from benchmarks import models
from benchmarks.recipe import RecipeError
from benchmarks.speed import step, tables


def command(*arguments):
    return run_command("benchmarks.speed.step", *arguments)


TINY = step.Settings(model="resnet_tiny", image_size=8, global_batch_size=2, rounds=2)


@pytest.mark.slow
def test_measuring_and_showing_results(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "build", one_layer)
    results = step.measure(TINY)
    assert {name: len(us) for name, us in results["rounds_us"].items()} == {"sgd": 2, "lars": 2}
    assert results["settings"]["global_batch_size"] == 2
    assert results["versions"]["tensorflow"]
    assert results["device"]["backend"] == "tensorflow"
    path, copy = tmp_path / "results.json", tmp_path / "copy.json"
    path.write_text(json.dumps(results))
    done = command(f"--show={path}", f"--output={copy}")
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == step.table(results) + "\n"
    assert json.loads(copy.read_text()) == results


@pytest.mark.slow
def test_with_micro_batches_one_contender_records_the_noise_scale(monkeypatch):
    monkeypatch.setattr(models, "build", one_layer)
    settings = dataclasses.replace(TINY, global_batch_size=6, micro_batches=3)
    results = step.measure(settings)
    assert list(results["rounds_us"]) == ["lars", "lars, record_noise_scale"]
    for name in settings.optimizers:
        training = step.Training(settings, name)
        assert [images.shape[0] for images, _ in training.batches] == [2, 2, 2]
        training.seconds()
        optimizer = training.model.optimizer
        assert int(optimizer.iterations) == 1
        assert optimizer.gradient_accumulation_steps == 3
        assert optimizer.record_noise_scale == ("noise" in name)


def test_micro_batches_divide_the_batch():
    with pytest.raises(RecipeError, match=r"must divide --global_batch_size. Received: 3 and 2"):
        dataclasses.replace(TINY, micro_batches=3)


def test_the_network_is_that_of_a_training_except_for_its_stem():
    network = step.Training(TINY, "lars").model
    assert network.get_layer("stem").kernel_size == (7, 7)


def test_table():
    results = {
        "settings": {"global_batch_size": 10},
        "rounds_us": {"sgd": [100_000, 200_000, 400_000], "lars": [150_000, 200_000, 440_000]},
    }
    *_, sgd, lars = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in step.table(results).splitlines()
    )
    assert sgd == ["sgd", "50.0", "200 (150 to 300)", "1.000"]
    assert lars == ["lars", "50.0", "200 (175 to 320)", "1.100"]
    assert "time relative to SGD" in step.table(results)
    del results["rounds_us"]["sgd"]
    assert "time relative to LARS" in step.table(results)


def test_a_missing_file_gives_a_one_line_error(tmp_path):
    done = command(f"--show={tmp_path / 'none.json'}")
    assert done.returncode == 1
    assert re.fullmatch("error: .*none.json", done.stderr.strip().splitlines()[-1])


def test_the_page_agrees_with_the_committed_results():
    text = pages.on_one_line("docs/speed.md")
    here, elsewhere = (ratios_to_sgd(f"update_cost_models{end}") for end in ("", "_xeon"))
    assert f"{here[0]} times as long as with SGD under XLA for ResNet-50, and {here[1]}" in text
    assert f"slower memory it took {elsewhere[0]} and {elsewhere[1]} times" in text
    first = updates_on("tensorflow", "update_cost_models", "resnet50")["first_call_seconds"]
    ours, sgd = (f"{first[name]:.3g} s" for name in ("keras_lars", "Keras SGD, XLA"))
    assert f"on TensorFlow took {ours}, and {sgd} with SGD under XLA" in text


def test_the_page_of_updates_agrees_with_the_committed_results():
    text = pages.on_one_line("benchmarks/results/speed/update.md")
    resnet50, alexnet = ratios_to_sgd("update_cost_models")
    assert f"the ratio is {resnet50} for ResNet-50 and {alexnet} for AlexNet, which misses" in text
    assert float(resnet50) > 1.4
    assert float(alexnet) > 1.5
    elsewhere = " and ".join(ratios_to_sgd("update_cost_models_xeon"))
    assert f"slower memory it was {elsewhere}, which misses both" in text

    first = [
        updates_on("tensorflow", "update_cost_models", model).loc["keras_lars", "first_call_ratio"]
        for model in ("resnet50", "alexnet")
    ]
    assert f"takes {first[0]:.1f} times as long as with SGD, which misses the goal of 1.6" in text
    assert f"For AlexNet it takes {first[1]:.1f} times as long" in text


def test_the_page_of_updates_says_that_the_machine_changed():
    text = pages.on_one_line("benchmarks/results/speed/update.md")
    rows = updates_on("tensorflow", "update_cost_models", "resnet50")["rounds_us"]
    rounds = list(zip(rows["keras_lars"], rows["Keras SGD, XLA"], strict=True))
    slow = [(lars, sgd) for lars, sgd in rounds if sgd >= 15_000]
    fast = [each for each in rounds if each not in slow]
    of_slow, of_fast = (tables.ratio(*zip(*part, strict=True)) for part in (slow, fast))
    assert f"In the {len(slow)} rounds in which SGD took 15 ms or more, the ratio was " in text
    assert f"ratio was {of_slow:.2f}. In the other {len(fast)}, memory was faster" in text
    assert f"LARS took more, and the ratio was {of_fast:.2f}." in text
    assert statistics.median(lars for lars, _ in fast) > max(lars for lars, _ in slow)


def of_next_best(name, model):
    """The time on torch relative to the fastest other LARS, and the name of that one."""
    rows = updates_on("torch", name, model)
    times = rows[rows["role"] == "lars"]["median_ms"]
    others = times[~times.index.str.startswith("keras_lars")]
    return f"{times['keras_lars'] / others.min():.2f}", others.idxmin()


def test_the_page_of_updates_compares_those_on_torch():
    text = pages.on_one_line("benchmarks/results/speed/update.md")
    theirs = "pytorch_optimizer LARS, foreach"
    networks = ("update_cost_models", "resnet50"), ("update_cost_models", "alexnet")
    embedding, small = (("update_cost_small", model) for model in ("embedding", "small_variables"))
    ratios, names = zip(*(of_next_best(*each) for each in (*networks, embedding)), strict=True)
    assert set(names) == {theirs}
    assert max(map(float, ratios)) < 1
    told = "takes {}, {} and {} of the time of pytorch_optimizer's"
    assert told.format(*ratios) in text
    ratio, name = of_next_best(*small)
    assert name == theirs
    assert f"it takes {ratio} times as long as pytorch_optimizer's, which misses the" in text
    assert float(ratio) > 1

    to_sgd = [
        f"{updates_on('torch', *each).loc['keras_lars', 'ratio']:.2f}"
        for each in (*networks, embedding)
    ]
    told = (
        "{} times as long as Keras's SGD for ResNet-50, {} times for AlexNet and {} times for one"
    )
    assert told.format(*to_sgd) in text


def test_the_page_of_updates_compares_those_on_jax():
    text = pages.on_one_line("benchmarks/results/speed/update.md")

    def times(name, model):
        return updates_on("jax", name, model)["median_ms"]

    networks = ("update_cost_models", "resnet50"), ("update_cost_models", "alexnet")
    resnet50, alexnet, small = (
        f"{found['keras_lars'] / found['optax.lars, jit']:.2f}"
        for found in (times(*n) for n in (*networks, ("update_cost_small", "small_variables")))
    )
    assert f"takes {resnet50} of the time of optax's LARS for ResNet-50, and {alexnet} for" in text
    assert f"it takes {small} of it, which misses the goal of a half" in text
    to_sgd = [f"{updates_on('jax', *each).loc['keras_lars', 'ratio']:.2f}" for each in networks]
    assert "{} times as long for ResNet-50 and {} times for AlexNet".format(*to_sgd) in text


def test_the_page_gives_the_interval_of_the_noise_scale_cost():
    text = pages.on_one_line("benchmarks/results/speed/training.md")
    # These two order statistics bound the median with more than 95 % confidence.
    for name, size, first, last, count in (
        ("noise_scale_step", "smaller images", 14, 27, 40),
        ("noise_scale_step_112", "larger ones", 31, 50, 80),
    ):
        rounds = json.loads((RESULTS / "speed" / f"{name}.json").read_text())["rounds_us"]
        without, recorded = rounds.values()
        ratios = sorted(b / a for a, b in zip(without, recorded, strict=True))
        assert len(ratios) == count
        ordered = [math.comb(count, below) for below in range(first, last)]
        assert sum(ordered) / 2**count > 0.95
        median, low, high = tables.ratio(recorded, without), ratios[first - 1], ratios[last - 1]
        assert f"{median:.3f} with the {size}" in text
        assert f"from {low:.3f} to {high:.3f}" in text
        assert (high <= 1.01) == (size == "larger ones")  # whether the goal is clearly met


def updates_on(backend, name, model):
    """A row for each contender."""
    path = RESULTS / "speed" / f"{name}.json"
    models = {each["model"]: each for each in json.loads(path.read_text())["contenders"]}
    return tables.times(models[model]).set_index(["framework", "contender"]).loc[backend]


def ratios_to_sgd(name):
    found = [updates_on("tensorflow", name, model) for model in ("resnet50", "alexnet")]
    return [f"{each.loc['keras_lars']['ratio']:.2f}" for each in found]
