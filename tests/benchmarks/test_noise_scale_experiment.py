"""The study of the noise scale: its trainings, its predictions, their order, and its table."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the extra `benchmarks` is not installed")

from support import RESULTS, models, pages

import keras_lars
from benchmarks.experiments import noise_scale, results, sweep
from benchmarks.experiments.noise_scale import NoiseScale, Prediction, Task, Training, runs_of
from benchmarks.experiments.small import images, networks
from keras_lars._monitoring import record

pytestmark = pytest.mark.filterwarnings("ignore:`fit` will make only")
TASK = Task("digits", "plain", 8, images=48, epochs=4, batches=(2, 8, 24), parts=4)
PREDICTION = Prediction(
    noise_scale=30.0,
    global_batch_size=60,
    epochs=8,
    small_batch=6,
    by_epochs=((8, 0.9), (4, 0.8), (2, 0.7), (1, 0.6)),
)


@pytest.fixture(autouse=True)
def digits(monkeypatch):
    """Random images, a network of two layers, and one task."""
    random = np.random.default_rng(0)
    part = images.Part(
        random.normal(size=(48, 8, 8, 1)).astype("float32"), np.arange(48, dtype="int32") % 10
    )
    monkeypatch.setattr(images, "load", lambda *arguments: {"training": part, "test": part})
    monkeypatch.setitem(networks.NETWORKS, "plain", models.two_layers)
    monkeypatch.setattr(noise_scale, "TASKS", (TASK,))
    monkeypatch.setattr(noise_scale, "FRACTIONS", (1, 1 / 2, 1 / 8))


def test_a_prediction_is_the_accuracy_after_equivalent_epochs():
    # 8 epochs, each worth 1 / 3, equal 3.2 epochs of the small batch, each worth 5 / 6.
    found = PREDICTION.train(None)
    assert found["worth"] == round(1 / 3, 4)
    assert found["predicted_accuracy"] == pytest.approx(0.7 + 0.1 * np.log2(1.6), abs=1e-4)


@pytest.mark.parametrize("batch", [6, 60, 200])
def test_accuracy_that_is_linear_in_the_logarithm_is_predicted_exactly(batch):
    found = dataclasses.replace(PREDICTION, global_batch_size=batch).train(None)
    epochs = 8 * (30 + 6) / (30 + batch)
    assert found["predicted_accuracy"] == pytest.approx(0.6 + 0.1 * np.log2(epochs), abs=1e-4)


def test_fewer_epochs_than_the_shortest_training_give_no_prediction():
    found = dataclasses.replace(PREDICTION, global_batch_size=300).train(None)
    assert found["worth"] == round(1 / 11, 4)
    assert found["predicted_accuracy"] is None


@pytest.mark.parametrize("noise", [None, 0.0])
def test_without_a_noise_scale_there_is_no_prediction(noise):
    found = dataclasses.replace(PREDICTION, noise_scale=noise).train(None)
    assert found == {"diverged": False, "worth": None, "predicted_accuracy": None, "seconds": 0.0}


def asked(done):
    """The runs that can be trained, given these results."""
    ready = [run for run in NoiseScale(seeds=1).runs(done) if run.settings is not None]
    return {run.name.removeprefix("digits-plain-").removesuffix("-seed1"): run for run in ready}


def test_a_larger_batch_waits_for_its_prediction_which_waits_for_all_other_trainings():
    first = asked({})
    shorter = ["small-2-4_epochs", "small-2-2_epochs", "small-2-0.5_epochs"]
    assert list(first) == [*shorter, "measured-8-4_epochs"]
    of_each = zip((0.8, 0.7, 0.4, 0.75), first.values(), strict=True)
    done = {
        run.name: {"result": {"test_accuracy": accuracy, "noise_scale": 16.0}}
        for accuracy, run in of_each
    }
    for name in done:
        assert set(asked({k: v for k, v in done.items() if k != name})) == set(first)
    second = asked(done)
    predictions = ["prediction-8-4_epochs", "prediction-24-4_epochs"]
    assert list(second) == [*first, *predictions]
    assert second[predictions[1]].settings == Prediction(
        16.0, 24, 4, 2, ((4, 0.8), (2, 0.7), (0.5, 0.4))
    )
    name = second[predictions[1]].name
    third = asked({**done, name: {"result": second[predictions[1]].settings.train(None)}})
    assert list(third) == [*second, "larger-24-4_epochs"]
    larger = third["larger-24-4_epochs"].settings
    assert (larger.global_batch_size, larger.epochs, larger.parts) == (24, 4, None)


@pytest.mark.parametrize(("epochs", "trained"), [(4, (48, 4)), (1.0, (48, 1)), (0.5, (24, 1))])
def test_half_an_epoch_uses_half_of_the_images(monkeypatch, epochs, trained):
    calls = []
    monkeypatch.setattr(noise_scale, "reached", lambda *arguments: calls.append(arguments) or {})
    assert Training(48, 1, 2, epochs, None, "digits", "plain", 8).train(None) == {}
    ((_, optimizer, part, _, batch_size, passes, callbacks),) = calls
    assert (len(part.images), len(part.labels), passes) == (trained[0], *trained)
    assert (batch_size, callbacks, optimizer.record_noise_scale) == (2, [], False)
    schedule = keras_lars.schedules.for_fit(*trained, 2)
    assert optimizer.get_config()["learning_rate"]["config"] == schedule.get_config()


@pytest.mark.parametrize(("known", "expected"), [(True, 3 * 8), (False, None)])
def test_the_noise_scale_is_that_of_the_last_quarter_in_images(monkeypatch, known, expected):
    def reached(model, optimizer, part, held_out, batch_size, epochs, callbacks):
        assert (batch_size, optimizer.gradient_accumulation_steps) == (2, 4)
        assert optimizer.record_noise_scale
        monitor = callbacks[-1]
        writer = record.writer("csv", monitor.log_dir, record.NOISE_SCALE)
        writer.begin(1)
        for update in range(1, 81):
            squares = (1.0, 3.0 if update > 60 else 9.0) if known else (-1.0, 3.0)
            writer.add([record.NoiseRow(update, 0.0, "(all)", *squares, 0.0, 0.0, 0.0)])
        return {"test_accuracy": 0.5}

    monkeypatch.setattr(noise_scale, "reached", reached)
    found = Training(48, 1, 8, 4, 4, "digits", "plain", 8).train(None)
    answer = dict.fromkeys(("noise_scale", "low", "high"), expected)
    assert found == {"test_accuracy": 0.5, **answer}


@pytest.mark.parametrize("network", ["residual", "vit"])
def test_statistics_are_recalibrated_if_there_are_any(monkeypatch, network):
    calls = []
    monkeypatch.setattr(noise_scale, "reached", lambda *arguments: calls.append(arguments) or {})
    Training(48, 1, 2, 4, None, "digits", network, 8).train(None)
    kinds = [type(callback).__name__ for callback in calls[0][-1]]
    assert kinds == ["RecalibrateStatistics"] * (network == "residual")


def test_batches_divide_the_images_and_are_accumulated_evenly():
    for task in noise_scale.NoiseScale.constants["tasks"]:
        assert all(task["images"] % batch == 0 for batch in task["batches"])
        assert task["images"] // 2 % task["batches"][0] == 0
        assert task["batches"][1] % task["parts"] == 0
        assert list(task["batches"]) == sorted(task["batches"])
        # The last quarter has enough measurements for an estimate.
        updates = task["epochs"] * task["images"] // task["batches"][1]
        assert updates // 4 >= 2 * 16


def row(kind, batch, seed, epochs=4, **result):
    label = {"data": "digits", "network": "plain", "image_size": 8, "batch": batch}
    return {
        "name": f"{kind}-{batch}-{epochs}-{seed}",
        "label": {**label, "kind": kind, "epochs": epochs, "seed": seed},
        "settings": {},
        "result": {"diverged": False, **result},
        "environment": 0,
    }


def test_the_table_has_the_mean_of_the_seeds_and_of_their_predictions():
    found = {
        "environments": [{"versions": {}, "device": {}}],
        "rows": [
            row("small", 2, 1, test_accuracy=0.9),
            row("small", 2, 1, epochs=2, test_accuracy=0.1),
            row("measured", 8, 1, test_accuracy=0.8, noise_scale=1000.4),
            row("prediction", 8, 1, predicted_accuracy=0.81, worth=0.75),
            row("prediction", 24, 1, predicted_accuracy=0.7, worth=0.5),
            row("larger", 24, 1, test_accuracy=0.6),
            row("measured", 8, 2, test_accuracy=0.9, noise_scale=2000.4),
            row("prediction", 8, 2, predicted_accuracy=0.89, worth=0.85),
            row("prediction", 24, 2, predicted_accuracy=None, worth=None),
            row("larger", 24, 2, test_accuracy=0.5),
        ],
    }
    cells = [
        [cell.strip() for cell in line.split("|")[4:-1]]
        for line in NoiseScale.table(found).splitlines()[2:]
    ]
    measured = ["1,500 (1,000 to 2,000)", "80 (75 to 85)", "85.0 (81.0 to 89.0)"]
    told = ["50, 1 of 2 seeds", "70.0, 1 of 2 seeds"]
    assert cells == [
        ["2", "-", "-", "-", "90.0", "-"],
        ["8", *measured, "85.0 (80.0 to 90.0)", "+0.0 (-1.0 to +1.0)"],
        ["24", "-", *told, "55.0 (50.0 to 60.0)", "+10.0, 1 of 2 seeds"],
    ]


@pytest.mark.slow
def test_the_experiment_scaled_down(tmp_path):
    experiment = NoiseScale(seeds=1)
    progress = sweep.Sweep(experiment, tmp_path)
    saved = []
    progress.train(save=saved.append)
    found = progress.found()
    assert len(found["rows"]) == progress.planned == 7
    assert experiment.table(found).count("\n") == 1 + 3
    before_the_last = [row["name"] for row in saved[-2]["rows"]]
    assert before_the_last[-1] == "digits-plain-prediction-24-4_epochs-seed1"


# The committed results, and what the pages say about them.


@pytest.fixture(scope="module")
def committed():
    path = RESULTS / "studies" / "noise_scale.json"
    return results.read(path, "--show", "noise_scale")


def test_the_results_are_complete_and_each_prediction_follows_from_others(committed, monkeypatch):
    monkeypatch.undo()  # back to the tasks of the study
    assert len(committed["rows"]) == committed["planned"]
    found = {row["name"]: row for row in committed["rows"]}
    tasks = [Task(**each) for each in committed["settings"]["tasks"]]
    runs = [run for seed in (1, 2, 3) for task in tasks for run in runs_of(task, seed, found)]
    assert {run.name for run in runs} == set(found)
    for run in runs:
        row = found[run.name]
        assert row["settings"] == results.as_json(dataclasses.asdict(run.settings))
        if run.label["kind"] == "prediction":
            assert row["result"] == run.settings.train(None)


def test_pages_have_the_numbers_of_the_results(committed):
    rows = results.frame(committed)
    whole = rows[rows["epochs"] == rows.groupby("network")["epochs"].transform("max")]
    keys = ["network", "batch", "seed"]
    reached, predicted = (
        100 * whole.dropna(subset=name).set_index(keys)[name].astype(float)
        for name in ("test_accuracy", "predicted_accuracy")
    )
    too_high = (predicted - reached).dropna()
    assert len(too_high) == 3 * 9
    own, four, fifteen = (too_high.xs(batch, level="batch") for batch in (500, 2000, 7500))
    mean = [each.groupby(["network", "batch"]).mean() for each in (reached, predicted)]
    small, lost, told = (
        each.xs(batch, level="batch") for each, batch in zip([mean[0], *mean], (125, 2000, 2000))
    )
    times = ((small - lost) / (small - told)).dropna()
    digits = mean[0]["resnet50_quarter"]
    page, guide = pages.study("noise_scale"), pages.on_one_line("docs/learning_rate.md")
    assert f"each of the nine predictions is within {own.abs().max():.1f} points" in page
    assert f"within {own.abs().max():.1f} points of accuracy" in guide
    assert f"are too high, by {four.min():.1f} to {four.max():.1f} points" in page
    for text in (page, guide):
        assert f"{times.min():.1f} to {times.max():.1f} times what" in text
    assert f"too high by {fifteen.min():.1f} to {fifteen.max():.1f} points" in page
    assert f"a batch of 352 costs {digits[16] - digits[352]:.1f} points" in page
