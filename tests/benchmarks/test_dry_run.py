"""`--dry_run` of any recipe, on a machine without data."""

import keras
import pytest

pytest.importorskip("sklearn", reason="the extra `benchmarks` is not installed")
pytest.importorskip(
    "tensorflow_datasets.public_api",
    reason="tensorflow-datasets, from the extra `benchmarks`, is missing or incomplete",
    exc_type=Exception,  # not an ImportError if protobuf is too old
)
if keras.backend.backend() != "tensorflow":
    pytest.skip("the benchmarks run on TensorFlow", allow_module_level=True)

import re

import tensorflow as tf
from test_benchmarks import command

from benchmarks import data, loop, recipes
from benchmarks.data.data_set import View
from benchmarks.plan import make_plan
from benchmarks.recipe import Execution, RecipeError

RUNNABLE = [row for row in recipes.ROWS.values() if row.recipe is not None]
IMAGES = {
    "digits": (1437, 360, 10, 1),
    "fashion_mnist": (60_000, 10_000, 10, 1),
    "imagenet2012": (1_281_167, 50_000, 1000, 3),
    "synthetic": (1_281_167, 50_000, 1000, 3),
}
NEED_FILES = ("fashion_mnist", "imagenet2012")


@pytest.mark.parametrize("name", IMAGES)
def test_every_recipe_has_a_plan_without_its_data(name, tmp_path):
    execution = Execution(data_dir=str(tmp_path))
    for row in RUNNABLE:
        if name in ("digits", row.recipe.data) or row.recipe.data == "imagenet2012":
            recipe = recipes.override(row.name, data=name)
            plan = make_plan(recipe, execution, described=True)
            numbers = plan.data_set
            assert IMAGES[name] == (
                numbers.train_images,
                numbers.validation_images,
                numbers.classes,
                numbers.channels,
            )
            assert plan.updates == recipe.epochs * (IMAGES[name][0] // recipe.global_batch_size)
            assert (numbers.missing is not None) == (name in NEED_FILES)


@pytest.mark.parametrize("name", NEED_FILES)
def test_described_data_cannot_be_trained_on(name, tmp_path):
    recipe = recipes.override("resnet50_lars_256", data=name)
    with pytest.raises(RecipeError, match="Received: ") as error:
        make_plan(recipe, Execution(data_dir=str(tmp_path)))
    described = data.describe(name, tmp_path)
    assert described.missing == str(error.value)
    view = View(image_size=8, pixel_scale=1.0, augmentation="none", seed=0)
    for ask in (
        lambda: described.training(tf.constant(0, tf.int64), view, 1, 1),
        lambda: described.validation(view, 1),
        lambda: described.training_as_held_out(view, 1, 1),
    ):
        with pytest.raises(RecipeError, match=re.escape(str(error.value))):
            ask()


def test_available_data_is_described(tmp_path):
    assert data.describe("digits").missing is None
    for name in data.SIZES:
        assert data.describe(name, tmp_path).missing
    with pytest.raises(RecipeError, match=r"which has no train and no val$"):
        data.describe("image_folder", tmp_path)
    with pytest.raises(RecipeError, match="--data must be one of"):
        data.describe("cats", tmp_path)


@pytest.mark.slow
def test_the_description_without_data(tmp_path, capsys):
    recipe = recipes.override("alexnet_lars_512", model="alexnet_tiny", image_size=16)
    execution = Execution(output_dir=str(tmp_path / "run"), data_dir=str(tmp_path))
    loop.describe(make_plan(recipe, execution, described=True))
    lines = dict(re.findall(r"^(.{14})(.*)$", capsys.readouterr().out, re.MULTILINE))
    assert lines["data".ljust(14)].startswith(
        "imagenet2012, 1,281,167 training and 50,000 held-out images of 16x16x3, 1000 classes, "
    )
    assert lines["missing data".ljust(14)].startswith("--data_dir must hold imagenet2012/5.*, ")
    assert lines["batch".ljust(14)].startswith("512 images, 2502 updates per epoch, 100 epochs, ")


@pytest.mark.parametrize("name", ["simclr", "googlenet_lars_8192"])
def test_a_dry_run_shows_recipes_that_cannot_be_trained(name):
    done = command("train", f"--recipe={name}", "--dry_run")
    assert done.returncode == 0
    assert done.stdout == f"As published:\n{recipes.details(recipes.find(name))}\n\n"


def test_image_folder_needs_images():
    done = command("train", "--data=image_folder", "--dry_run")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"error: --data_dir must be a folder with images in train/CLASS/\* and val/CLASS/\*, for "
        r"--data=image_folder\. Received: none",
        done.stderr.strip(),
    )
