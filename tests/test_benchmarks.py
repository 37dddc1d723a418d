"""The network is the paper's, the loop learns and repeats itself, mistakes are told in a line."""

import csv
import dataclasses
import json
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the extra `benchmarks` is not installed")
if keras.backend.backend() != "tensorflow":
    pytest.skip("the benchmarks run on TensorFlow", allow_module_level=True)

from benchmarks import collect, data, loop, models, plan, recipes, report

ROOT = pathlib.Path(__file__).parents[1]
FILES = ["config.json", "history.csv", "history.json", "model.keras", "plot.png", "result.json"]


def tiny(**fields):
    """A recipe of a few seconds."""
    fields = {"model": "resnet_tiny", "width": 0.125, "epochs": 2, "warmup_epochs": 1, **fields}
    return recipes.override(**fields)


def convolutions(model):
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]


# --- the network ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def resnet50():
    return models.MODELS["resnet50"]((224, 224, 3), 1000)


def test_parameters_of_resnet50(resnet50):
    assert report.trainable_parameters(resnet50) == 25_557_032
    # Moving means and variances, one of each for each gamma and beta.
    assert resnet50.count_params() == 25_557_032 + 53_120


def test_layers_of_resnet50(resnet50):
    layers = convolutions(resnet50)
    assert len(layers) == report.convolutions(resnet50) == 53
    assert sum(isinstance(layer, keras.layers.Add) for layer in resnet50.layers) == 16
    assert not any(layer.use_bias for layer in layers)
    assert resnet50.get_layer("stage4_block3_relu").output.shape == (None, 7, 7, 2048)


def test_stride_is_on_the_first_1x1_and_on_the_projection(resnet50):
    strided = {
        layer.name: layer.kernel_size for layer in convolutions(resnet50) if layer.strides == (2, 2)
    }
    expected = {"stem": (7, 7)}
    for stage in (2, 3, 4):
        expected[f"stage{stage}_block1_conv1"] = (1, 1)
        expected[f"stage{stage}_block1_projection"] = (1, 1)
    assert strided == expected


def test_normalization_and_fillers_are_the_authors(resnet50):
    normalizations = [
        layer for layer in resnet50.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert len(normalizations) == 53
    assert {(layer.momentum, layer.epsilon) for layer in normalizations} == {(0.9, 1e-4)}
    assert all(np.all(keras.ops.convert_to_numpy(layer.gamma) == 1) for layer in normalizations)
    kernel = keras.ops.convert_to_numpy(resnet50.get_layer("stage4_block2_conv2").kernel)
    deviation = np.sqrt(2 / (3 * 3 * 512))
    assert np.std(kernel) == pytest.approx(deviation, rel=0.01)
    assert np.max(np.abs(kernel)) > 4 * deviation  # no tails cut off
    twin = keras.ops.convert_to_numpy(resnet50.get_layer("stage4_block3_conv2").kernel)
    assert not np.array_equal(kernel, twin)


def test_small_images_and_narrow_widths_keep_all_layers():
    model = models.MODELS["resnet50"]((8, 8, 1), 10, 0.25)
    assert len(convolutions(model)) == 53
    assert model.get_layer("stem").strides == (1, 1)
    assert model.get_layer("stem").filters == 16
    assert model.get_layer("stage4_block3_relu").output.shape == (None, 1, 1, 512)


# --- data and recipes -----------------------------------------------------------------------------


def test_the_digits_are_split_evenly():
    images = data.digits()
    assert images.train_images.shape == (1437, 8, 8, 1)
    assert images.validation_images.shape == (360, 8, 8, 1)
    assert np.bincount(images.validation_labels).min() >= 34
    assert np.abs(images.train_images).max() <= 1


def numbered(samples):
    """Images that are told apart by their label."""
    images = np.zeros((samples, 1, 1, 1), "float32")
    labels = np.arange(samples, dtype="int32")
    return data.Images(images, labels, images, labels, classes=samples)


def epochs_of(seed, epochs=3):
    batches = data.training_batches(numbered(10), 1, 4, epochs, seed)
    labels = np.stack([labels.numpy() for _, labels in batches])
    return labels.reshape(epochs, 8)


def test_order_is_a_function_of_seed_and_epoch():
    first = epochs_of(seed=0)
    np.testing.assert_array_equal(epochs_of(seed=0), first)
    np.testing.assert_array_equal(epochs_of(seed=0, epochs=5)[:3], first)
    assert all(len(set(epoch)) == 8 for epoch in first)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(epochs_of(seed=1)[0], first[0])


def test_validation_is_every_image_in_order():
    batches = data.validation_batches(numbered(10), 1, 4)
    assert [label for _, labels in batches for label in labels.numpy()] == list(range(10))


def test_images_are_resized():
    (images, _), *_ = data.validation_batches(numbered(2), 5, 2)
    assert images.shape == (2, 5, 5, 1)


def test_names_that_recipes_know_are_the_tables():
    choices = {
        field.name: field.metadata["choices"] for field in dataclasses.fields(recipes.Recipe)
    }
    assert choices["model"] == tuple(models.MODELS)
    assert choices["data"] == tuple(data.DATA_SETS)
    assert choices["optimizer"] == tuple(loop.OPTIMIZERS)


@pytest.mark.parametrize("row", recipes.RECIPES, ids="-".join)
def test_every_recipe_can_be_trained(row, tmp_path):
    recipe = recipes.RECIPES[row]
    assert (recipe.data, recipe.optimizer) == row
    assert plan.make_plan(recipe, tmp_path).updates > 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "vgg"}, "--model must be one of resnet50, resnet_tiny. Received: vgg"),
        ({"data": "cats"}, "--data must be one of"),
        ({"optimizer": "adam"}, "--optimizer must be one of"),
        ({"epochs": 0}, "--epochs must be a finite number of at least 1. Received: 0"),
        ({"global_batch_size": 0}, "--global_batch_size must be"),
        ({"learning_rate": float("nan")}, "--learning_rate must be"),
        ({"learning_rate": float("inf")}, "--learning_rate must be"),
        ({"momentum": 1.0}, "--momentum must be .* at least 0 and below 1. Received: 1.0"),
        ({"width": 0.0}, "--width must be"),
        ({"seed": -1}, "--seed must be"),
        ({"global_batch_size": 1438}, "--global_batch_size must be at most the 1437 training"),
        ({"epochs": 2, "warmup_epochs": 2}, "--warmup_epochs must be less than --epochs"),
    ],
)
def test_what_cannot_be_trained_is_refused(fields, message, tmp_path):
    with pytest.raises(recipes.RecipeError, match=message) as error:
        loop.train(recipes.override(**fields), tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("here")
    for folder in (tmp_path, tmp_path / "precious", tmp_path / "precious" / "run"):
        with pytest.raises(recipes.RecipeError, match="--output_dir"):
            loop.train(tiny(), folder)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


# --- training -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "first"
    return folder, loop.train(tiny(), folder)


def test_run_folder(run):
    folder, result = run
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert json.loads((folder / "result.json").read_text()) == result
    config = json.loads((folder / "config.json").read_text())
    assert config["recipe"] == dataclasses.asdict(tiny())
    assert config["updates"] == 44
    assert config["versions"]["keras"] == keras.__version__
    assert config["device"]["backend"] == "tensorflow"
    assert (folder / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_history(run):
    folder, result = run
    history = json.loads((folder / "history.json").read_text())
    with open(folder / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    for name, values in history.items():
        assert [float(row[name]) for row in rows] == values
    assert history["val_accuracy"] == [
        result["validation_accuracy_at_half_time"],
        result["validation_accuracy"],
    ]
    # The last of 22 updates of the ramp, and the last of 22 of the decay.
    assert history["learning_rate"] == pytest.approx([4 * 21 / 22, 4 * (1 / 22) ** 2], rel=1e-5)


def test_the_saved_model_is_the_trained_one(run):
    folder, result = run
    model = keras.saving.load_model(folder / "model.keras")
    assert int(model.optimizer.iterations) == 44
    batches = data.validation_batches(data.digits(), 8, 64)
    accuracy = model.evaluate(batches, verbose=0, return_dict=True)["accuracy"]
    assert accuracy == result["validation_accuracy"]


def test_the_same_seed_repeats_exactly(run, tmp_path):
    folder, _ = run
    loop.train(tiny(), tmp_path / "same")
    loop.train(tiny(seed=1), tmp_path / "other")
    history = (folder / "history.csv").read_bytes()
    assert (tmp_path / "same" / "history.csv").read_bytes() == history
    assert (tmp_path / "other" / "history.csv").read_bytes() != history


def test_sgd_is_trained_in_the_same_loop(tmp_path):
    result = loop.train(tiny(optimizer="sgd"), tmp_path)
    assert result["epochs"] == 2
    model = keras.saving.load_model(tmp_path / "model.keras")
    assert type(model.optimizer) is keras.optimizers.SGD


def test_divergence_is_told(tmp_path):
    fields = {"optimizer": "sgd", "learning_rate": 1e30, "start_learning_rate": 1e30}
    result = loop.train(tiny(**fields), tmp_path)
    assert result["diverged"]
    assert "| diverged |" in collect.table(
        [{"recipe": dataclasses.asdict(tiny()), "result": result}]
    )
    assert "NaN" not in (tmp_path / "history.json").read_text()


def test_main_job_in_short_learns(tmp_path):
    recipe = recipes.override(width=0.125, epochs=6, warmup_epochs=1)
    result = loop.train(recipe, tmp_path)
    assert result["validation_accuracy"] > 0.6


# --- the commands ---------------------------------------------------------------------------------


def command(module, *arguments):
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--model=vgg", "error: flag --model=vgg: value should be one of <resnet50.resnet_tiny>"),
        ("--epochs=many", "error: flag --epochs=many: .*"),
        ("--epoch=1", "error: Unknown command line flag 'epoch'.*"),
        ("extra", "error: unknown argument extra"),
        ("--global_batch_size=2000", "error: --global_batch_size must be at most the 1437 .*"),
        ("--warmup_epochs=100", "error: --warmup_epochs must be less than --epochs, .*"),
    ],
)
def test_a_wrong_flag_is_told_in_one_line(argument, message, tmp_path):
    done = command("train", argument, f"--output_dir={tmp_path / 'run'}")
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(message, done.stderr.strip())
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_is_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    done = command("train", f"--output_dir={tmp_path / 'file' / 'run'}")
    assert done.returncode == 1
    assert re.fullmatch("error: --output_dir cannot be written. Received: .*", done.stderr.strip())


def test_train_says_what_it_does_and_what_it_reached(tmp_path):
    done = command(
        "train",
        "--model=resnet_tiny",
        "--width=0.125",
        "--epochs=1",
        "--warmup_epochs=0",
        f"--output_dir={tmp_path / 'run'}",
    )
    assert done.returncode == 0, done.stderr[-4000:]
    lines = done.stdout.strip().split("\n")
    assert lines[0].startswith("model         resnet_tiny of width 0.125, 9 convolutions, ")
    assert "22 updates" in done.stdout
    assert re.fullmatch(r"\d+\.\d% of the held-out images right after 22 updates .*", lines[-1])
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == FILES
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["validation_accuracy_at_half_time"] is None  # there is no half of one epoch


def test_collect(run, tmp_path):
    folder, result = run
    done = command("collect", f"--output={tmp_path / 'results.json'}", folder)
    (collected,) = json.loads((tmp_path / "results.json").read_text())
    assert collected["result"] == result
    assert collected["recipe"]["optimizer"] == "lars"
    assert done.stdout.strip() == collect.table([collected])


def test_readme_shows_the_committed_results():
    runs = json.loads((ROOT / "benchmarks" / "results" / "digits_resnet50.json").read_text())
    assert collect.table(runs) in (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    lars = [run for run in runs if run["recipe"]["optimizer"] == "lars"]
    main_job = recipes.override()
    assert {run["recipe"]["seed"] for run in lars} == {0, 1, 2}
    for run in lars:
        assert run["recipe"] == dataclasses.asdict(
            dataclasses.replace(main_job, seed=run["recipe"]["seed"])
        )
        assert run["result"]["validation_accuracy"] >= 0.95
        assert run["result"]["validation_accuracy_at_half_time"] > 0.5
        assert run["result"]["seconds"] <= 180
    accuracies = [f"{100 * run['result']['validation_accuracy']:.1f}" for run in lars]
    seconds = [f"{run['result']['seconds']:.0f}" for run in lars]
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"reached {min(accuracies)} to {max(accuracies)} % on the held-out fifth" in text
    assert f"in {min(seconds)} to {max(seconds)} s on two cores" in text
