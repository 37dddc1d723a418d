"""Your own images: which files are used, their crops, their order, and errors."""

import dataclasses
import io
import json
import pathlib
import re

import keras
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the extra `benchmarks` is not installed")
pytest.importorskip(
    "tensorflow_datasets.public_api",
    reason="tensorflow-datasets, from the extra `benchmarks`, is missing or incomplete",
    exc_type=Exception,  # not an ImportError if protobuf is too old
)
if keras.backend.backend() != "tensorflow":
    pytest.skip("the benchmarks run on TensorFlow", allow_module_level=True)

import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image
from support.helpers import SMALLEST_NETWORK, run_command

from benchmarks import callbacks, data, loop, recipes
from benchmarks.data import augmentation, encoded, image_file, image_folder
from benchmarks.data.data_set import WHOLE, Shard, View
from benchmarks.plan import make_plan
from benchmarks.recipe import Execution, RecipeError

CLASSES = ["ant", "bee", "cat"]
EACH, HELD_OUT = 8, 2  # images of a class
AUGMENTATIONS = ["none", "paper", "extended"]


def view(**fields):
    fields = {"image_size": 14, "pixel_scale": 1.0, "augmentation": "none", "seed": 0, **fields}
    return View(**fields)


def coarse(number, size=(20, 30)):
    """An image of few colors. Its red channel encodes its number."""
    pixels = np.random.default_rng(number).integers(256, size=(2, 3, 3), dtype=np.uint8)
    pixels[..., 0] = 8 * number
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.NEAREST))


def content(pixels, kind="PNG", mode="RGB", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind, **options)
    return file.getvalue()


def write(folder, each=EACH, held_out=HELD_OUT, classes=CLASSES):
    """A folder of PNG and JPEG files, some with the other's extension."""
    number = 0
    for part, count in (("train", each), ("val", held_out)):
        for name in classes:
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                kind, ending = [
                    *(("PNG", "png"), ("JPEG", "JPEG"), ("PNG", "JPEG"), ("JPEG", "Jpg"))
                ][i % 4]
                options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
                (folder / part / name / f"{number:02}.{ending}").write_bytes(
                    content(coarse(number, (20 + i, 30)), kind, **options)
                )
                number += 1
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("images"))


@pytest.fixture
def copy(tmp_path):
    """A folder with two training images of each class, for tests to damage."""
    return write(tmp_path / "images", 2, 1)


@pytest.fixture
def data_set(folder):
    return data.load("image_folder", folder)


@pytest.fixture
def deterministic():
    """Deterministic, as in a training. With its seed, 0, some functions of tf.data fail."""
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()


def epoch_of(data_set, epoch=0, shown=None, batch_size=6, batches=4, shard=WHOLE):
    """Images and labels of one epoch."""
    shown = shown or view()
    batches = data_set.training(tf.constant(epoch, tf.int64), shown, batch_size, batches, shard)
    seen = list(batches)
    return np.concatenate([x for x, _ in seen]), np.concatenate([y for _, y in seen])


def numbers_of(images):
    """The number of each image: its red level divided by 8."""
    return np.rint((images[..., 0].mean(axis=(1, 2)) + encoded.MEAN[0]) / 8).astype(int).tolist()


# --- contents -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_elements(data_set, augmentation):
    shown = view(augmentation=augmentation)
    training = data_set.training(tf.constant(0, tf.int64), shown, 6, 4)
    assert training.cardinality() == 4
    assert training.element_spec == (
        tf.TensorSpec([6, 14, 14, 3], tf.float32),
        tf.TensorSpec([6], tf.int32),
    )
    images, labels = epoch_of(data_set, 0, shown)
    numbers = numbers_of(images)
    assert sorted(numbers) == list(range(24))
    # The first class in the alphabet has the first images.
    assert labels.tolist() == [number // EACH for number in numbers]


@pytest.mark.slow
def test_the_files_are_those_of_the_builder_of_tensorflow_datasets(folder, data_set):
    builder = tfds.folder_dataset.ImageFolder(str(folder))
    assert data_set.class_names == builder.info.features["label"].names == CLASSES
    assert (data_set.classes, data_set.channels, data_set.name) == (3, 3, "image_folder")
    assert data_set.train_images == builder.info.splits["train"].num_examples == 3 * EACH
    assert data_set.validation_images == builder.info.splits["val"].num_examples == 3 * HELD_OUT
    for part, split in (("train", "train"), ("validation", "val")):
        listed = [(each.image_path, each.label) for each in builder._split_examples[split]]
        assert data_set._files[part] == listed
    for example, (image, label) in zip(
        builder.as_dataset(split="val"), data_set.validation(view(), 1), strict=True
    ):
        assert int(label[0]) == int(example["label"])
        central = augmentation.held_out_window(tf.shape(example["image"])[:2], 14)
        assert_part(image[0] + encoded.MEAN, example["image"].numpy(), central)


def assert_part(image, decoded, window, atol=1e-2):
    """Assert that an image is a crop of a decoded file, scaled."""
    y, x, height, width = np.ravel(window).astype(int)
    part = tf.image.resize(decoded[y : y + height, x : x + width], image.shape[:2])
    np.testing.assert_allclose(image, part, atol=atol)


def test_hidden_files_and_other_files_are_skipped(copy):
    (copy / "train" / ".ipynb_checkpoints").mkdir()
    (copy / "train" / ".ipynb_checkpoints" / "a.png").write_bytes(b"")
    (copy / "train" / "ant" / "._a.png").write_bytes(b"resource fork")
    (copy / "train" / "ant" / "Thumbs.db").write_bytes(b"")
    (copy / "train" / "ant" / "deeper").mkdir()
    (copy / "train" / "list.txt").write_text("")
    (copy / "test" / "unknown").mkdir(parents=True)
    (copy / "test" / "unknown" / "a.jpg").write_bytes(b"")
    data_set = data.load("image_folder", str(copy))
    assert (data_set.class_names, data_set.train_images) == (CLASSES, 6)


def test_a_class_without_held_out_images_gives_a_warning(copy):
    for path in (copy / "val" / "bee").iterdir():
        path.unlink()
    (copy / "val" / "bee").rmdir()
    with pytest.warns(UserWarning, match=f"^{copy}/val has no images for these classes: bee$"):
        data_set = data.load("image_folder", copy)
    assert (data_set.classes, data_set.validation_images) == (3, 2)
    assert [int(label[0]) for _, label in data_set.validation(view(), 1)] in ([0, 2], [2, 0])


# --- crops ----------------------------------------------------------------------------------------

KINDS = {
    "png": content(coarse(9)),
    "grey png": content(coarse(9), mode="L"),
    "png with alpha": content(coarse(9), mode="RGBA"),
    "grey png with alpha": content(coarse(9), mode="LA"),
    "png of a palette": content(coarse(9), mode="P"),
    "black and white": content(coarse(9), mode="1"),
    "jpeg": content(coarse(9), "JPEG", quality=95),
    "grey jpeg": content(coarse(9), "JPEG", "L"),
    "jpeg for print": content(coarse(9), "JPEG", "CMYK", quality=95),
}


@pytest.mark.parametrize("kind", KINDS)
def test_crops_of_each_kind_of_file(kind, tmp_path):
    path = tmp_path / "image"
    path.write_bytes(KINDS[kind])
    assert image_file.fault_of_header(path) is image_file.fault(path) is None
    height_and_width = tf.function(image_file.height_and_width)(KINDS[kind])
    assert height_and_width.numpy().tolist() == [20, 30]
    whole = tf.io.decode_image(KINDS[kind], channels=3).numpy()
    for window in ([0, 0, 20, 30], [3, 5, 16, 8]):
        image = image_file.decode(KINDS[kind], tf.constant(window), 14)
        assert_part(image, whole, window)
    if "jpeg" not in kind and kind not in ("png of a palette", "black and white"):
        expected = Image.open(io.BytesIO(KINDS[kind])).convert("RGB")
        np.testing.assert_array_equal(whole, expected)


@pytest.mark.slow
@pytest.mark.parametrize("augmentation_name", ["paper", "extended"])
def test_training_images_are_windows_of_their_file(data_set, augmentation_name):
    shown = view(augmentation=augmentation_name)
    images, _ = epoch_of(data_set, 3, shown)
    seeds = tf.random.experimental.stateless_split(tf.constant([0, 3], tf.int64), 3)
    mirrorings = set()
    paths = [path for path, _ in data_set._files["train"]]
    for image, number in zip(images, numbers_of(images)):
        (position,) = [i for i, path in enumerate(paths) if f"/{number:02}." in path]
        seed = tf.random.experimental.stateless_fold_in(seeds[2], position)
        decoded = tf.io.decode_image(pathlib.Path(paths[position]).read_bytes()).numpy()
        window, is_mirrored = augmentation.training_window(tf.shape(decoded)[:2], shown, seed)
        expected = augmentation.mirrored(tf.constant(image), is_mirrored)
        assert_part(expected + encoded.MEAN, decoded, window)
        mirrorings.add(bool(is_mirrored))
    assert mirrorings == {False, True}


# --- order and workers ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_an_epoch_is_a_function_of_seed_and_epoch(data_set, augmentation, deterministic):
    shown = view(augmentation=augmentation)
    seen = list(
        tf.data.Dataset.range(2).flat_map(lambda epoch: data_set.training(epoch, shown, 6, 4))
    )
    orders = []
    for epoch in range(2):
        images, labels = epoch_of(data_set, epoch, shown)
        np.testing.assert_array_equal(np.concatenate([x for x, _ in seen[4 * epoch :][:4]]), images)
        np.testing.assert_array_equal(np.concatenate([y for _, y in seen[4 * epoch :][:4]]), labels)
        orders.append(numbers_of(images))
        assert sorted(orders[-1]) == list(range(24))
    orders.append(numbers_of(epoch_of(data_set, 0, view(augmentation=augmentation, seed=1))[0]))
    assert len(set(map(tuple, orders))) == 3


@pytest.mark.slow
def test_images_left_over_differ_between_epochs(data_set):
    seen = [set(numbers_of(epoch_of(data_set, epoch, batches=3)[0])) for epoch in range(3)]
    assert {len(epoch) for epoch in seen} == {18}
    assert len(set.union(*seen)) > 18  # different ones each time


@pytest.mark.slow
def test_workers_split_the_batches_of_a_single_worker(data_set):
    shown = view(augmentation="extended")
    images, labels = epoch_of(data_set, 1, shown)
    shares = [epoch_of(data_set, 1, shown, shard=Shard(index, 3)) for index in range(3)]
    for part, expected in enumerate((images, labels)):
        together = [np.split(share[part], 4) for share in shares]
        batches = [np.concatenate(parts) for parts in zip(*together)]
        np.testing.assert_array_equal(np.concatenate(batches), expected)


@pytest.mark.slow
def test_steps_of_a_worker_are_batches_of_its_replicas(data_set, strategy):
    shard = Shard(1, 3)
    epochs = tf.data.Dataset.range(2).flat_map(
        lambda epoch: data_set.training(epoch, view(), 12, 2, shard)
    )
    steps = [
        [part.numpy().tolist() for part in strategy.experimental_local_results(labels)]
        for _, labels in data_set.distributed(epochs, strategy)
    ]
    expected = [epoch_of(data_set, epoch, None, 12, 2, shard)[1].tolist() for epoch in range(2)]
    assert np.reshape(steps, (2, 8)).tolist() == expected


def test_impossible_batches_are_refused(data_set):
    with pytest.raises(RecipeError, match=r"multiple of 5, the number of workers\. Received: 6$"):
        epoch_of(data_set, shard=Shard(0, 5))
    with pytest.raises(RecipeError, match=r"its 24 training images\. Received: 1 batch of 25$"):
        epoch_of(data_set, batch_size=25, batches=1)


# --- errors ---------------------------------------------------------------------------------------


def remove(path):
    for inner in path.rglob("*"):
        if inner.is_file():
            inner.unlink()


def nested(path):
    (path / "images").mkdir()
    for inner in path.glob("*.*"):
        inner.rename(path / "images" / inner.name)


def loose(folder):
    for path in [*(folder / "val").glob("*/*")]:
        path.rename(folder / "val" / path.name)
    for path in [*(folder / "val").iterdir()]:
        if path.is_dir():
            path.rmdir()


def prepared(folder):
    (folder / "train").rename(folder / "elsewhere")
    (folder / "imagenet2012" / "5.1.0").mkdir(parents=True)
    (folder / "imagenet2012" / "5.1.0" / "dataset_info.json").write_text("{}")


FAULTS = {
    "no train": (lambda f: (f / "train").rename(f / "t"), "Received: {}, which has no train$"),
    "no val": (lambda f: (f / "val").rename(f / "validation"), "Received: {}, which has no val$"),
    "no class": (
        lambda f: [p.rename(f / p.name) for p in [*(f / "train").iterdir()]],
        "^{}/train must have a folder for each class. Received: an empty folder$",
    ),
    "loose": (
        loose,
        r"^{}/val must have a folder for each class. Received: \d\d.png outside any class folder",
    ),
    "empty class": (lambda f: remove(f / "val" / "bee"), "Received: {}/val/bee, which has none$"),
    "deeper": (lambda f: nested(f / "train" / "bee"), "not in subfolders. Received: {}/tr"),
    "other class": (
        lambda f: (f / "val" / "bee").rename(f / "val" / "wasp"),
        "^{0}/val must have the classes of {0}/train. Received: wasp$",
    ),
    "text": (
        lambda f: (f / "val" / "cat" / "a.jpg").write_text("<html> 404"),
        "^{}/val/cat/a.jpg must be a readable JPEG or PNG. Received: a file that begins with "
        "b'<html> ",
    ),
    "gif": (
        lambda f: (f / "train" / "cat" / "a.jpg").write_bytes(content(coarse(0), "GIF")),
        "^{}/train/cat/a.jpg must be .* Received: a file that begins with b'GIF8",
    ),
    "empty file": (
        lambda f: (f / "train" / "cat" / "a.png").write_bytes(b""),
        "^{}/train/cat/a.png must be .* Received: an empty file$",
    ),
    "dangling": (
        lambda f: (f / "train" / "cat" / "a.png").symlink_to(f / "nowhere"),
        "^{}/train/cat/a.png must be .* Received: a file that cannot be read",
    ),
    "prepared": (prepared, "--data=imagenet2012. Received: {}, which holds imagenet2012/5.1.0/"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_gives_a_one_line_error_that_names_it(fault, copy):
    spoil, message = FAULTS[fault]
    spoil(copy)
    with pytest.raises(RecipeError, match=message.format(re.escape(str(copy)))) as error:
        data.load("image_folder", copy)
    assert "\n" not in str(error.value)


def test_a_missing_folder(tmp_path):
    with pytest.raises(RecipeError, match=r"train/CLASS/\* and val/CLASS/\*.* Received: none$"):
        data.load("image_folder")
    with pytest.raises(RecipeError, match=f"Received: {tmp_path}/no, which does not exist$"):
        data.load("image_folder", tmp_path / "no")
    with pytest.raises(RecipeError, match=r"Received: .*, which has no train and no val$"):
        data.load("image_folder", tmp_path)


def test_one_class_is_too_few(tmp_path):
    write(tmp_path, 1, 1, ["ant"])
    with pytest.raises(RecipeError, match=f"{tmp_path}/train must hold two .* Received: ant$"):
        data.load("image_folder", tmp_path)


def test_each_of_the_two_forms_of_imagenet_names_the_other(copy):
    with pytest.raises(RecipeError, match=f"with --data=image_folder. Received: {copy}, which ho"):
        data.load("imagenet2012", copy)


def test_only_some_of_many_files_are_checked(copy, monkeypatch):
    _, (second, _), *_ = data.load("image_folder", copy)._files["validation"]
    pathlib.Path(second).write_bytes(b"no image")
    with pytest.raises(RecipeError, match=rf"{second} must be a readable JPEG"):
        data.load("image_folder", copy)
    monkeypatch.setattr(image_folder, "CHECKED", 1)  # only the first
    data_set = data.load("image_folder", copy)
    found = data_set.unreadable(view(), epoch=0, images=0, batch_size=1, evaluated=0)
    assert found.startswith(f"{second} must be a readable JPEG or PNG. Received: a file that begin")


# --- trainings ------------------------------------------------------------------------------------

TINY = {
    "model": "alexnet_tiny",
    "width": 0.25,
    "image_size": 16,
    "global_batch_size": 8,
    "virtual_batch_size": 0,
    "epochs": 2,
    "warmup_epochs": 0.5,
    "learning_rate": 4.0,
}


def tiny(**fields):
    return recipes.override(data="image_folder", **{**TINY, **fields})


def test_the_default_recipe_is_the_resnet_of_the_paper():
    recipe = recipes.override(data="image_folder")
    assert recipe == dataclasses.replace(
        recipes.find("resnet50_lars_256").recipe, data="image_folder"
    )
    assert recipes.override(data="image_folder", optimizer="sgd").learning_rate == 0.2
    moved = recipes.override("mlperf_32768", data="image_folder")
    assert moved == dataclasses.replace(recipes.find("mlperf_32768").recipe, data="image_folder")
    with pytest.raises(RecipeError, match=r"^--data=image_folder needs .* a recipe for digits$"):
        recipes.override("digits_lars", data="image_folder")


@pytest.mark.slow
def test_a_training_resumes_bit_for_bit(folder, fast_training, monkeypatch, tmp_path):
    recipe = tiny(width=1.0, augmentation="extended")
    how = {
        "data_dir": str(folder),
        "micro_batch_size": 4,
        "evaluate_training_images": 10,
        "resume": True,
    }
    whole = loop.train(recipe, Execution(output_dir=str(tmp_path / "whole"), **how))
    assert (whole["updates"], whole["epochs"]) == (6, 2)

    def stop(self, batch, logs=None):
        if callbacks.updates_of(self.model) == 4:
            self.backup.save()
            raise KeyboardInterrupt

    again = Execution(output_dir=str(tmp_path / "again"), **how)
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Stop, "on_train_batch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            loop.train(recipe, again)
    assert loop.train(recipe, again)["resumed_at_update"] == 4
    histories = [(tmp_path / run / "history.csv").read_text() for run in ("whole", "again")]
    assert histories[0] == histories[1]
    assert "train_accuracy" in histories[0]


@pytest.mark.slow
@pytest.mark.parametrize("part", ["train", "val"])
def test_an_image_that_cannot_be_decoded_is_named(part, copy, fast_training, tmp_path):
    damaged = copy / part / "bee" / "damaged.jpg"
    damaged.write_bytes(content(coarse(1, (60, 80)), "JPEG")[:-200])
    execution = Execution(output_dir=str(tmp_path / "run"), data_dir=str(copy))
    recipe = tiny(
        width=1.0, global_batch_size=6, epochs=2 if part == "train" else 1, warmup_epochs=0
    )
    with pytest.raises(RecipeError) as error:
        loop.train(recipe, execution)
    assert str(error.value) == (
        f"{damaged} must be a readable JPEG or PNG. Received: a damaged file"
    )


def test_other_failures_are_not_blamed_on_images(copy, tmp_path):
    execution = Execution(output_dir=str(tmp_path / "run"), data_dir=str(copy))
    plan = make_plan(tiny(global_batch_size=6, warmup_epochs=0), execution)
    model = type("Model", (), {"optimizer": type("Optimizer", (), {"iterations": 1})})
    with (
        pytest.raises(tf.errors.InvalidArgumentError, match="another"),
        loop._name_unreadable_images(plan, model),
    ):
        raise tf.errors.InvalidArgumentError(None, None, "another")


@pytest.mark.slow
def test_the_command_trains_on_replicas(folder, tmp_path):
    flags = [f"--{name}={value}" for name, value in TINY.items()]
    done = run_command(
        *("benchmarks.train", "--data=image_folder"),
        *(f"--data_dir={folder}", f"--output_dir={tmp_path / 'run'}", *flags),
        *("--strategy=mirrored", "--replicas=2", "--epochs=1", "--warmup_epochs=0"),
        **{SMALLEST_NETWORK: "1"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "image_folder, 24 training and 6 held-out images of 16x16x3, 3 classes" in done.stdout
    assert "3 updates per epoch, 1 epoch, 3 updates" in done.stdout
    assert "2 replicas on 1 worker, MirroredStrategy" in done.stdout
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["updates"] == 3
