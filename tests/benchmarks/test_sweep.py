"""The trainings of a figure: skipped, resumed, refused, and how long the rest will take."""

import dataclasses
import json
import pathlib

import keras
import pytest

pytest.importorskip("sklearn", reason="the extra `benchmarks` is not installed")
if keras.backend.backend() != "tensorflow":
    pytest.skip("the benchmarks run on TensorFlow", allow_module_level=True)

from benchmarks import files, recipes, run_folder
from benchmarks.figures import point, sweep
from benchmarks.recipe import Execution, RecipeError

RECIPE = recipes.override(model="resnet_tiny", width=0.125, epochs=2, warmup_epochs=0.0)
# 22 updates of 64 images an epoch.
IMAGES_OF_A_POINT = 2 * 22 * 64


def points(*rates, seeds=(0,)):
    return [
        point.make({"rate": rate}, dataclasses.replace(RECIPE, learning_rate=rate, seed=seed))
        for rate in rates
        for seed in seeds
    ]


class FakeTrain:
    """Leaves what the loop leaves, in no time. Diverges at 9, is interrupted as often as told."""

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
        files.write_json(folder / "result.json", result)
        return result


def run(asked, folder, train, **options):
    return sweep.run(asked, folder, Execution(), train, **options)


def test_each_point_is_trained_in_a_folder_of_its_own(tmp_path, capsys):
    train, saved = FakeTrain(), []

    def save(finished):
        saved.append([run.point.name for run in finished])

    finished = run(points(1, 2), tmp_path, train, save=save)
    assert train.trained == [1, 2]
    assert [run.folder for run in finished] == [
        tmp_path / "runs" / "rate_1-seed0",
        tmp_path / "runs" / "rate_2-seed0",
    ]
    assert all(execution.resume and not execution.save_model for execution in train.executions)
    assert saved == [["rate_1-seed0"], ["rate_1-seed0", "rate_2-seed0"]]
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith(f"2 points, 0 of them finished, {2 * IMAGES_OF_A_POINT:,} image-epochs")
    assert lines == [
        "[1/2] rate_1-seed0: 50.0% in 10 s; about 10 seconds left",
        "[2/2] rate_2-seed0: 50.0% in 10 s",
    ]
    log = (tmp_path / "runs" / "rate_1-seed0.log").read_text(encoding="utf-8")
    assert log.splitlines()[1:] == ["a line of a training"]


def test_finished_points_are_not_trained_again(tmp_path, capsys):
    run(points(1), tmp_path, FakeTrain())
    again, saved = FakeTrain(), []
    run(points(1, 2), tmp_path, again, save=lambda finished: saved.append(len(finished)))
    assert again.trained == [2]
    assert saved == [1, 2]  # what is there already is written at once
    assert "2 points, 1 of them finished" in capsys.readouterr().out


def test_an_interrupted_point_goes_on_and_again(tmp_path):
    train = FakeTrain(interrupted_at=[2, 2])
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt, match="in the middle"):
            run(points(1, 2, 3), tmp_path, train)
        assert train.trained == [1]
    run(points(1, 2, 3), tmp_path, train)
    assert train.trained == [1, 2, 3]
    assert len({execution.output_dir for execution in train.executions}) == 3


def test_a_folder_with_another_recipe_is_refused_before_anything_is_trained(tmp_path):
    run(points(2), tmp_path, FakeTrain())
    longer = [
        dataclasses.replace(one, recipe=dataclasses.replace(one.recipe, epochs=3))
        for one in points(1, 2)
    ]
    train = FakeTrain()
    with pytest.raises(RecipeError, match=r"^rate_2-seed0: .*--epochs=2 there, 3 now$") as error:
        run(longer, tmp_path, train)
    assert train.trained == []
    assert "\n" not in str(error.value)


def test_a_point_that_cannot_be_is_told_before_anything_is_trained(tmp_path):
    large = point.make({"rate": 5}, dataclasses.replace(RECIPE, global_batch_size=5000))
    train = FakeTrain()
    with pytest.raises(RecipeError, match=r"^rate_5-seed0: --global_batch_size must be at most"):
        run([*points(1), large], tmp_path, train)
    assert train.trained == []
    assert not (tmp_path / "runs").exists()


def test_divergence_is_a_result(tmp_path, capsys):
    train = FakeTrain()
    finished = run(points(9, 1), tmp_path, train)
    assert [run.result["diverged"] for run in finished] == [True, False]
    assert "rate_9-seed0: diverged at update 11 in 10 s" in capsys.readouterr().out
    again = FakeTrain()
    run(points(9, 1), tmp_path, again)
    assert again.trained == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "nothing to train"),
        (points(1, 2, 1), "must not have a value twice. Received: rate_1-seed0 twice"),
        (points(1, seeds=(0, 0)), "must not have a value twice"),
    ],
    ids=["none", "rate", "seed"],
)
def test_points_that_are_none_or_twice(given, message, tmp_path):
    with pytest.raises(RecipeError, match=message):
        run(given, tmp_path, FakeTrain())


def test_the_estimate_is_by_images_and_counts_those_of_diverged_and_resumed_runs(tmp_path):
    """A quarter of the images in 10 s, as it diverged: four times as long for a whole point."""
    (diverged,) = run(points(9), tmp_path, FakeTrain())
    waiting = sweep.Run(points(1)[0], diverged.execution, 10 * IMAGES_OF_A_POINT)
    assert sweep.estimate([waiting], [diverged]) == "; about 7 minutes left"
    assert sweep.estimate([], [diverged]) == ""
    assert sweep.estimate([waiting], []) == ""
    path = diverged.folder / "result.json"
    resumed = json.loads(path.read_text(encoding="utf-8")) | {"resumed_at_update": 10}
    files.write_json(path, resumed)
    assert sweep.estimate([waiting], [diverged]) == "; about 73 minutes left"


@pytest.mark.parametrize(
    ("records_per_epoch", "every"), [(0, 0), (2, 11), (100, 1)], ids=["none", "two", "all"]
)
def test_records_are_spread_over_an_epoch(records_per_epoch, every, tmp_path):
    train = FakeTrain()
    run(points(1), tmp_path, train, records_per_epoch=records_per_epoch)
    assert train.executions[0].record_trust_ratios_every == every


def test_names_are_those_of_folders():
    (one,) = [point.make({"optimizer": "LARS", "variant": "no warm-up", "rate": 0.5}, RECIPE)]
    assert one.name == "lars-no_warm_up-rate_0.5-seed0"
    assert (one.row, one.published, one.source) == ("", None, "")
    row = recipes.find("alexnet_bn_lars_8192")
    known = point.make({"batch": 8192}, row.recipe, row)
    assert (known.name, known.row, known.published) == ("batch_8192-seed1", row.name, 60.1)


def test_a_real_training(tmp_path):
    """By the loop itself: twice in one process, and again without training."""
    recipe = dataclasses.replace(
        RECIPE, model="alexnet_tiny", width=1.0, epochs=1, global_batch_size=256
    )
    asked = [
        point.make({"rate": rate}, dataclasses.replace(recipe, learning_rate=rate))
        for rate in (1.0, 2.0)
    ]
    execution = Execution(evaluate_training_images=50)
    finished = sweep.run(asked, tmp_path, execution, records_per_epoch=2)
    for one in finished:
        history = json.loads((one.folder / "history.json").read_text(encoding="utf-8"))
        assert history["val_accuracy"] == [one.result["validation_accuracy"]]
        assert len(history["train_loss"]) == 1
        assert not (one.folder / "model.keras").exists()
        rows = run_folder.read_table(one.folder / "trust_ratios.csv")
        assert {row["update"] for row in rows} == {1, 3, 5}
    results = [one.result for one in finished]
    assert [one.result for one in sweep.run(asked, tmp_path, execution)] == results
