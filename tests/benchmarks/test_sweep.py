"""The runs of an experiment: skipping, resuming, refusing, and the estimate of the time left."""

import concurrent.futures.process
import dataclasses
import json
import multiprocessing
import os
import pathlib
import signal
import threading
import types
from unittest import mock

import keras
import pytest

pytest.importorskip("sklearn", reason="the extra `benchmarks` is not installed")
if keras.backend.backend() != "tensorflow":
    pytest.skip("the benchmarks run on TensorFlow", allow_module_level=True)

from benchmarks import files, recipes, run_folder
from benchmarks.experiments import experiment
from benchmarks.experiments import sweep as sweep_module
from benchmarks.experiments.paper.experiment import Paper, Preset
from benchmarks.experiments.paper.rows import make_run
from benchmarks.experiments.sweep import Sweep
from benchmarks.recipe import RecipeError

RECIPE = recipes.override(model="resnet_tiny", width=0.125, epochs=2, warmup_epochs=0.0)
# 22 updates of 64 images an epoch.
IMAGES_OF_A_RUN = 2 * 22 * 64


def runs(*rates, seeds=(0,)):
    return [
        make_run({"rate": rate}, dataclasses.replace(RECIPE, learning_rate=rate, seed=seed))
        for rate in rates
        for seed in seeds
    ]


class FakeTrain:
    """Writes the files of the loop, in no time. Diverges at 9, and is interrupted on request."""

    def __init__(self, interrupted_at=(), seconds=10.0):
        self.trained, self.executions = [], []
        self.interrupted_at, self.seconds = list(interrupted_at), seconds

    def __call__(self, recipe, execution):
        folder = pathlib.Path(execution.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        config = {"recipe": dataclasses.asdict(recipe), "versions": {}, "device": {}}
        config["micro_batch_size"] = execution.micro_batch_size
        files.write_json(folder / "config.json", config)
        self.executions.append(execution)
        if recipe.learning_rate in self.interrupted_at:
            self.interrupted_at.remove(recipe.learning_rate)
            raise KeyboardInterrupt("in the middle")
        self.trained.append(recipe.learning_rate)
        print("a line of a training")
        diverged = recipe.learning_rate == 9
        result = {
            "validation_accuracy": 0.5,
            "epochs": 1 if diverged else 2,
            "updates": 11 if diverged else 44,
            "diverged": diverged,
            "diverged_at_update": 11 if diverged else None,
            "resumed_at_update": None,
            "seconds": self.seconds,
        }
        files.write_json(folder / "history.json", {"loss": [1.0]})
        files.write_json(folder / "result.json", result)
        return result


def sweep(asked, folder, train=None, **fields):
    class Some(Paper):
        preset = Preset(**fields)

        def runs(self, done):
            return asked

        if train:
            train_recipe = staticmethod(train)

    return Sweep(Some(model="alexnet", data="digits"), folder)


def run(asked, folder, train=None, save=lambda found: None, **preset):
    """Train, and return all finished runs by name."""
    some = sweep(asked, folder, train, **preset)
    some.train(save=save)
    return some.done


def test_each_run_is_trained_in_a_folder_of_its_own(tmp_path, capsys):
    train, saved = FakeTrain(), []

    def save(found):
        saved.append([row["name"] for row in found["rows"]])

    done = run(runs(1, 2), tmp_path, train, save)
    assert train.trained == [1, 2]
    assert list(done) == ["rate_1-seed0", "rate_2-seed0"]
    assert all((tmp_path / "runs" / name / "result.json").is_file() for name in done)
    assert all(execution.resume and not execution.save_model for execution in train.executions)
    assert saved == [["rate_1-seed0"], ["rate_1-seed0", "rate_2-seed0"]]
    assert capsys.readouterr().out.splitlines() == [
        f"2 training runs, 0 done, {2 * IMAGES_OF_A_RUN:,} images to train on",
        "[1/2] rate_1-seed0: 50.0% in 10 s; about 10 seconds left",
        "[2/2] rate_2-seed0: 50.0% in 10 s",
    ]
    log = (tmp_path / "runs" / "rate_1-seed0.log").read_text(encoding="utf-8")
    assert log.splitlines()[1:] == ["a line of a training"]


def test_finished_runs_are_not_trained_again(tmp_path, capsys):
    run(runs(1), tmp_path, FakeTrain())
    again, saved = FakeTrain(), []
    run(runs(1, 2), tmp_path, again, save=lambda found: saved.append(len(found["rows"])))
    assert again.trained == [2]
    assert saved == [1, 2]  # existing results are written at once
    assert "2 training runs, 1 done" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_can_be_interrupted_and_resumed_twice(tmp_path):
    train = FakeTrain(interrupted_at=[2, 2])
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt, match="in the middle"):
            run(runs(1, 2, 3), tmp_path, train)
        assert train.trained == [1]
    run(runs(1, 2, 3), tmp_path, train)
    assert train.trained == [1, 2, 3]
    assert len({execution.output_dir for execution in train.executions}) == 3


class HalfDone(concurrent.futures.Executor):
    """An executor in which a training at a rate of 3 never ends, and one at a higher rate fails."""

    def submit(self, function, run, *folder):
        future, rate = concurrent.futures.Future(), run.settings.learning_rate
        if rate < 3:
            future.set_result(function(run, *folder))
        elif rate > 3:
            future.set_exception(concurrent.futures.BrokenExecutor())
        return future


def test_an_interruption_keeps_all_that_is_done_and_ends_what_is_running(tmp_path, monkeypatch):
    saved, ended = [], []
    process = types.SimpleNamespace(terminate=lambda: ended.append(True))
    monkeypatch.setattr(sweep_module, "_process_pool", lambda processes: HalfDone())
    monkeypatch.setattr(multiprocessing, "active_children", lambda: [process])

    def save(found):
        saved.append({row["name"] for row in found["rows"]})
        if len(saved) == 1:
            raise KeyboardInterrupt

    some = sweep(runs(1, 2, 3, 4), tmp_path, FakeTrain())
    with pytest.raises(KeyboardInterrupt):
        some.train(processes=4, save=save)
    assert saved[-1] == {"rate_1-seed0", "rate_2-seed0"}
    assert ended == [True]


def test_a_process_that_trains_ends_with_its_parent(monkeypatch):
    pool, status = sweep_module._process_pool(1), []
    ended, parent_ends = threading.Event(), threading.Event()
    parent = types.SimpleNamespace(join=parent_ends.wait)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: parent)
    monkeypatch.setattr(os, "_exit", lambda number: (status.append(number), ended.set()))
    before = signal.getsignal(signal.SIGINT)
    try:
        pool._initializer(*pool._initargs)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN  # Ctrl-C is for the parent
    finally:
        signal.signal(signal.SIGINT, before)
    assert not status
    parent_ends.set()
    assert ended.wait(60)
    assert status == [1]


def test_sigterm_interrupts_an_experiment_and_a_lost_process_is_a_one_line_error(monkeypatch):
    monkeypatch.setattr(experiment, "flags", mock.MagicMock())
    monkeypatch.setattr(experiment, "define_flags_of", mock.MagicMock())
    monkeypatch.setattr(experiment, "run_command", mock.MagicMock())
    before = signal.getsignal(signal.SIGTERM)
    try:
        Paper.main()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)  # does not interrupt what the first one has begun
    finally:
        signal.signal(signal.SIGTERM, before)

    experiment.flags.FLAGS.show = experiment.flags.FLAGS.dry_run = None
    lost = concurrent.futures.process.BrokenProcessPool("terminated abruptly")
    monkeypatch.setattr(experiment, "_train", mock.Mock(side_effect=lost))
    with pytest.raises(RecipeError, match=r"^a training run was killed; .* fewer --processes$"):
        experiment._run(mock.Mock())


def test_an_experiment_is_not_started_twice(monkeypatch, tmp_path):
    """Each would write its own rows over those of the other."""
    pytest.importorskip("fcntl")
    path = tmp_path / "results.json"
    monkeypatch.setattr(experiment, "flags", mock.MagicMock())
    experiment.flags.FLAGS.output = experiment.flags.FLAGS.output_dir = path
    with files.reserved(path), pytest.raises(RecipeError, match="by one process at a time"):
        experiment._train(mock.Mock(keeps_results=True))


def test_a_folder_with_another_recipe_is_refused_before_anything_is_trained(tmp_path):
    run(runs(2), tmp_path, FakeTrain())
    longer = [
        dataclasses.replace(one, settings=dataclasses.replace(one.settings, epochs=3))
        for one in runs(1, 2)
    ]
    train = FakeTrain()
    with pytest.raises(RecipeError, match=r"^rate_2-seed0: .*--epochs=3 instead of 2$") as error:
        run(longer, tmp_path, train)
    assert train.trained == []
    assert "\n" not in str(error.value)


def test_an_impossible_run_is_refused_before_anything_is_trained(tmp_path):
    large = make_run({"rate": 5}, dataclasses.replace(RECIPE, global_batch_size=5000))
    train = FakeTrain()
    with pytest.raises(RecipeError, match=r"^rate_5-seed0: --global_batch_size must be at most"):
        run([*runs(1), large], tmp_path, train)
    assert train.trained == []
    assert not (tmp_path / "runs").exists()


def test_divergence_is_a_result(tmp_path, capsys):
    train = FakeTrain()
    done = run(runs(9, 1), tmp_path, train)
    assert [each["result"]["diverged"] for each in done.values()] == [True, False]
    assert "rate_9-seed0: diverged at update 11 in 10 s" in capsys.readouterr().out
    again = FakeTrain()
    run(runs(9, 1), tmp_path, again)
    assert again.trained == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "nothing to train"),
        (runs(1, 2, 1), "must have different names. Received: rate_1-seed0 twice"),
        (runs(1, seeds=(0, 0)), "must have different names"),
    ],
    ids=["none", "rate", "seed"],
)
def test_no_runs_and_duplicate_runs_are_refused(given, message, tmp_path):
    with pytest.raises(RecipeError, match=message):
        run(given, tmp_path, FakeTrain())


def test_the_estimate_counts_images_also_of_diverged_and_resumed_runs(tmp_path):
    """The diverged run took 10 s for a quarter of its images, so a whole run takes 40 s."""
    some = sweep(runs(9, 1), tmp_path, FakeTrain())
    assert some.seconds_left() is None
    some.done = run(runs(9), tmp_path, FakeTrain())
    assert some.seconds_left() == pytest.approx(40)
    some.done["rate_9-seed0"]["result"]["resumed_at_update"] = 10
    assert some.seconds_left() == pytest.approx(440)
    some.done["rate_1-seed0"] = some.done["rate_9-seed0"]
    assert some.seconds_left() == 0


@pytest.mark.parametrize(
    ("records_per_epoch", "every"), [(0, 0), (2, 11), (100, 1)], ids=["none", "two", "all"]
)
def test_records_are_spread_over_an_epoch(records_per_epoch, every, tmp_path):
    train = FakeTrain()
    run(runs(1), tmp_path, train, records_per_epoch=records_per_epoch)
    assert train.executions[0].record_trust_ratios_every == every


def test_names_of_runs():
    (one,) = [make_run({"optimizer": "LARS", "variant": "no warm-up", "rate": 0.5}, RECIPE)]
    assert one.name == "lars-no_warm_up-rate_0.5-seed0"
    assert (one.row, one.published, one.source) == ("", None, "")
    row = recipes.find("alexnet_bn_lars_8192")
    known = make_run({"batch": 8192}, row.recipe, row)
    assert (known.name, known.row, known.published) == ("batch_8192-seed1", row.name, 60.1)


@pytest.mark.slow
@pytest.mark.usefixtures("fast_training")
def test_a_real_training(tmp_path):
    """With the real loop: two runs in one process, then again without training."""
    recipe = dataclasses.replace(
        RECIPE, model="alexnet_tiny", width=1.0, epochs=1, global_batch_size=256
    )
    asked = [
        make_run({"rate": rate}, dataclasses.replace(recipe, learning_rate=rate))
        for rate in (1.0, 2.0)
    ]
    done = run(asked, tmp_path, training_images=50, records_per_epoch=2)
    for name, one in done.items():
        folder = tmp_path / "runs" / name
        history = json.loads((folder / "history.json").read_text(encoding="utf-8"))
        assert history["val_accuracy"] == [one["result"]["validation_accuracy"]]
        assert len(history["train_loss"]) == 1
        assert not (folder / "model.keras").exists()
        rows = run_folder.read_table(folder / "trust_ratios.csv")
        assert {row["update"] for row in rows} == {1, 3, 5}
    results = [one["result"] for one in done.values()]
    again = run(asked, tmp_path, lambda *arguments: pytest.fail("trained again"))
    assert [one["result"] for one in again.values()] == results
