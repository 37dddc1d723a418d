"""Data sets in memory: order and augmentation by seed and epoch, and checks of files."""

import gzip
import hashlib
import pkgutil
import subprocess
import sys

import keras
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the extra `benchmarks` is not installed")
if keras.backend.backend() != "tensorflow":
    pytest.skip("the benchmarks run on TensorFlow", allow_module_level=True)

import sklearn.datasets
import sklearn.model_selection
import tensorflow as tf
from support import ROOT

from benchmarks import data
from benchmarks.data import augmentation, cifar10, digits, fashion_mnist
from benchmarks.data.data_set import Shard, View
from benchmarks.data.in_memory import Images, InMemory
from benchmarks.recipe import DATA_SETS, RecipeError

AUGMENTATIONS = ["none", "paper", "extended"]


def view(**fields):
    fields = {"image_size": 8, "pixel_scale": 1 / 256, "augmentation": "none", "seed": 0, **fields}
    return View(**fields)


def epoch_of(data_set, epoch, view, batch_size=4, batches=2):
    """Images and labels of one epoch."""
    seen = list(data_set.training(tf.constant(epoch, tf.int64), view, batch_size, batches))
    return np.concatenate([x for x, _ in seen]), np.concatenate([y for _, y in seen])


def epochs_of(data_set, view, epochs=3):
    """Images and labels of several epochs, read as a training does."""
    dataset = tf.data.Dataset.range(epochs).flat_map(
        lambda epoch: data_set.training(epoch, view, 4, 2)
    )
    seen = list(dataset)
    images = np.stack([x for x, _ in seen])
    return images.reshape(epochs, 8, *images.shape[2:]), np.reshape([y for _, y in seen], (-1, 8))


def numbered(size=7):
    """Ten random images, identified by their labels."""
    random = np.random.default_rng(0)
    pixels = random.integers(256, size=(10, size, size, 1), dtype=np.uint8)
    images = Images(pixels, np.arange(10, dtype="int32"))
    return InMemory("numbered", 10, images, images)


@pytest.fixture
def deterministic():
    """Deterministic, as in a training. With its seed, 0, some functions of tf.data fail."""
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()


# --- all data sets --------------------------------------------------------------------------------


def test_each_data_set_has_a_module():
    for name in DATA_SETS:
        assert callable(pkgutil.resolve_name(f"benchmarks.data.{name}:load"))
    with pytest.raises(RecipeError, match=r"^--data must be one of digits, .* Received: cats$"):
        data.load("cats")


@pytest.mark.slow
def test_image_counts_are_known_without_tensorflow():
    code = (
        "import sys; from benchmarks import data; "
        "print([data.load(name).train_images for name in ('digits', 'synthetic')]); "
        "print([name for name in ('tensorflow', 'tensorflow_datasets') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["[1437, 1281167]", "[]"]


@pytest.mark.slow
@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_elements(name, augmentation):
    data_set, shown = data.load(name), view(augmentation=augmentation, image_size=12)
    training = data_set.training(tf.constant(0, tf.int64), shown, 4, 3)
    assert training.cardinality() == 3
    assert training.element_spec == (
        tf.TensorSpec([4, 12, 12, data_set.channels], tf.float32),
        tf.TensorSpec([4], tf.int32),
    )
    held_out = data_set.training_as_held_out(shown, 4, 6)
    for dataset in (data_set.validation(shown, 4), held_out):
        spec = tuple(tf.TensorSpec([None, *s.shape[1:]], s.dtype) for s in training.element_spec)
        assert tf.nest.map_structure(lambda a, b: a.is_compatible_with(b), spec,
                                     dataset.element_spec) == (True, True)  # fmt: skip
    assert [len(labels) for _, labels in held_out] == [4, 2]
    labels = np.concatenate([labels for _, labels in training])
    assert labels.min() >= 0
    assert labels.max() < data_set.classes


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_more_images_than_the_data_set_has_are_refused(name):
    data_set = data.load(name)
    with pytest.raises(RecipeError, match=rf"{data_set.train_images} training images\. Received:"):
        data_set.training(tf.constant(0, tf.int64), view(), 4, data_set.train_images)


# --- order and augmentation in memory -------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_an_epoch_is_a_function_of_seed_and_epoch(augmentation, deterministic):
    data_set, shown = numbered(), view(augmentation=augmentation)
    images, labels = epochs_of(data_set, shown)
    again, _ = epochs_of(numbered(), shown, epochs=4)
    np.testing.assert_array_equal(again[:3], images)
    third, labels_of_third = epoch_of(data_set, 2, shown)
    np.testing.assert_array_equal(third, images[2])
    np.testing.assert_array_equal(labels_of_third, labels[2])
    assert all(len(set(epoch)) == 8 for epoch in labels)
    assert not np.array_equal(labels[0], labels[1])
    _, labels_of_other = epoch_of(data_set, 0, view(augmentation=augmentation, seed=1))
    assert not np.array_equal(labels_of_other, labels[0])


@pytest.mark.slow
@pytest.mark.parametrize("augmentation", ["paper", "extended"])
def test_images_differ_between_epochs_and_from_each_other(augmentation):
    data_set, seen = numbered(), {}
    for epoch in range(6):
        for image, label in zip(*epoch_of(data_set, epoch, view(augmentation=augmentation))):
            seen.setdefault(int(label), set()).add(image.tobytes())
    assert all(len(images) >= 2 for images in seen.values())
    everything = [image for images in seen.values() for image in images]
    assert len(set(everything)) == len(everything)


@pytest.mark.slow
def test_the_batch_size_does_not_change_the_images():
    data_set, shown = numbered(), view(augmentation="extended")
    images, labels = epoch_of(data_set, 1, shown, batch_size=4, batches=2)
    same, same_labels = epoch_of(data_set, 1, shown, batch_size=2, batches=4)
    np.testing.assert_array_equal(labels, same_labels)
    np.testing.assert_array_equal(images, same)


@pytest.mark.slow
def test_crops_and_mirroring_of_the_paper():
    data_set, shown = numbered(), view(image_size=28, augmentation="paper", pixel_scale=1.0)
    pixels = data_set._parts["train"].pixels.astype("float32")
    scaled = tf.image.resize(pixels - pixels.mean(axis=0), (32, 32)).numpy()
    found = []
    for epoch in range(12):
        for image, label in zip(*epoch_of(data_set, epoch, shown)):
            for mirrored in (False, True):
                expected = image[:, ::-1] if mirrored else image
                found += [
                    (y, x, mirrored)
                    for y in range(5)
                    for x in range(5)
                    if np.array_equal(scaled[label, y : y + 28, x : x + 28], expected)
                ]
    assert len(found) == 12 * 8  # each image matches one crop
    assert {y for y, _, _ in found} == {x for _, x, _ in found} == set(range(5))
    assert 0.3 < np.mean([mirrored for _, _, mirrored in found]) < 0.7
    assert len({y == x for y, x, _ in found}) == 2


def test_held_out_images_are_central():
    data_set, shown = numbered(), view(image_size=28, augmentation="paper", pixel_scale=1.0)
    pixels = data_set._parts["validation"].pixels.astype("float32")
    expected = tf.image.resize(pixels - pixels.mean(axis=0), (32, 32)).numpy()[:, 2:30, 2:30]
    for dataset in (data_set.validation(shown, 4), data_set.training_as_held_out(shown, 4, 99)):
        images = np.concatenate([images for images, _ in dataset])
        np.testing.assert_array_equal(images, expected)


def test_validation_is_every_image_in_order():
    for name in AUGMENTATIONS:
        batches = numbered().validation(view(augmentation=name), 4)
        assert [label for _, labels in batches for label in labels.numpy()] == list(range(10))
    batches = numbered().training_as_held_out(view(), 4, 3)
    assert [label for _, labels in batches for label in labels.numpy()] == [0, 1, 2]


@pytest.mark.parametrize(("size", "scaled"), [(224, 256), (227, 256), (28, 32), (112, 128)])
def test_scaled_size(size, scaled):
    assert augmentation.scaled_size(size) == scaled


def test_all_corners_are_equally_likely():
    draws = tf.constant([0.0, 0.999 / 33, 1.001 / 33, 0.5, 1 - 2**-24])
    assert augmentation.corner(224, draws).numpy().tolist() == [0, 0, 1, 16, 32]
    assert augmentation.central_corner(224) == 16
    assert augmentation.central_corner(227) == 14


@pytest.mark.slow
def test_distorted_windows_keep_to_areas_and_aspects():
    windows = np.array(
        [augmentation.distorted_window(tf.constant([200, 300]), [0, i]) for i in range(300)]
    )
    y, x, height, width = windows.T
    assert (y >= 0).all()
    assert (x >= 0).all()
    assert (y + height <= 200).all()
    assert (x + width <= 300).all()
    areas, aspects = height * width / 60000, width / height
    assert 0.07 < areas.min() < 0.1
    assert areas.max() > 0.6
    assert 0.74 < aspects.min() < 0.8
    # If no window fits, the whole image is shown.
    assert 1.25 < aspects[areas < 1].max() < 1.35


# --- several workers ------------------------------------------------------------------------------


def test_workers_that_read_everything_keep_their_part_of_each_batch():
    data_set = numbered()
    epochs = tf.data.Dataset.range(2).flat_map(
        lambda epoch: data_set.training(epoch, view(), 4, 2, Shard(1, 2))
    )
    assert epochs.element_spec[1].shape == (4,)
    policy = tf.data.experimental.AutoShardPolicy.DATA
    distributed = data_set.distributed(epochs, tf.distribute.get_strategy())
    for dataset in (distributed, data_set.validation(view(), 4)):
        assert dataset.options().experimental_distribute.auto_shard_policy == policy


# --- the digits -----------------------------------------------------------------------------------


def test_the_digits_are_split_evenly():
    data_set = digits.load()
    assert (data_set.train_images, data_set.validation_images) == (1437, 360)
    assert (data_set.classes, data_set.channels) == (10, 1)
    ((images, labels),) = data_set.validation(view(), 360)
    assert images.shape == (360, 8, 8, 1)
    assert np.bincount(labels).min() >= 34
    assert np.abs(images).max() <= 1


@pytest.mark.parametrize("size", [8, 16])
def test_the_digits_are_those_of_the_committed_results(size):
    # Bit for bit as when results/studies/digits_resnet50.json was measured.
    images, labels = sklearn.datasets.load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype("float32") / 16
    train_images, validation_images, train_labels, validation_labels = (
        sklearn.model_selection.train_test_split(
            images, labels.astype("int32"), test_size=0.2, stratify=labels, random_state=0
        )
    )
    mean = train_images.mean(axis=0)

    def shown(images):
        images = images - mean
        return images if size == 8 else tf.image.resize(images, (size, size)).numpy()

    asked = view(image_size=size, seed=3)
    seen = list(digits.load().validation(asked, 64))
    np.testing.assert_array_equal(np.concatenate([x for x, _ in seen]), shown(validation_images))
    np.testing.assert_array_equal(np.concatenate([y for _, y in seen]), validation_labels)

    seeds = tf.constant([3, 5], tf.int64)
    order = tf.random.experimental.stateless_shuffle(tf.range(1437), seeds)[: 22 * 64].numpy()
    images, labels = epoch_of(digits.load(), 5, asked, batch_size=64, batches=22)
    np.testing.assert_array_equal(images, shown(train_images)[order])
    np.testing.assert_array_equal(labels, train_labels[order])


# --- Fashion-MNIST --------------------------------------------------------------------------------


def idx(array):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


@pytest.fixture
def idx_files(tmp_path, monkeypatch):
    """Files in the format of Fashion-MNIST, and their arrays."""
    random = np.random.default_rng(0)
    arrays, digests = {}, {}
    for part, count in (("train", 6), ("t10k", 3)):
        arrays[f"{part}-images-idx3-ubyte"] = random.integers(256, size=(count, 28, 28))
        arrays[f"{part}-labels-idx1-ubyte"] = random.integers(10, size=count)
    for number, (name, array) in enumerate(arrays.items()):
        content = idx(array.astype(np.uint8))
        digests[name] = hashlib.sha256(content).hexdigest()
        if number % 2:  # both are accepted
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(fashion_mnist, "SHA256", digests)
    return tmp_path, list(arrays.values())


def test_fashion_mnist_from_idx_files(idx_files):
    folder, (pixels, labels, validation_pixels, validation_labels) = idx_files
    data_set = data.load("fashion_mnist", folder)
    assert (data_set.train_images, data_set.validation_images) == (6, 3)
    assert (data_set.classes, data_set.channels) == (10, 1)
    mean, asked = pixels.mean(axis=0), view(image_size=28, pixel_scale=1.0)
    for dataset, expected, expected_labels in [
        (data_set.validation(asked, 4), validation_pixels, validation_labels),
        (data_set.training_as_held_out(asked, 6, 6), pixels, labels),
    ]:
        ((images, found),) = dataset
        np.testing.assert_allclose(images[..., 0], expected - mean, atol=1e-4)
        np.testing.assert_array_equal(found, expected_labels)


@pytest.mark.parametrize("number", [0, 1])
def test_fashion_mnist_with_a_wrong_checksum(idx_files, number):
    folder, _ = idx_files
    path = sorted(folder.iterdir())[number]  # one of each kind
    content = bytearray(gzip.decompress(path.read_bytes()) if path.suffix else path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(gzip.compress(content) if path.suffix else content)
    with pytest.raises(RecipeError, match=r"must have the SHA-256 .* Received: ") as error:
        data.load("fashion_mnist", folder)
    assert path.name.removesuffix(".gz") in str(error.value)
    assert "\n" not in str(error.value)


def test_fashion_mnist_cut_short(idx_files):
    folder, _ = idx_files
    path = folder / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(RecipeError, match=r"train-labels-idx1-ubyte.gz must be readable. Received"):
        data.load("fashion_mnist", folder)


@pytest.mark.slow
@pytest.mark.parametrize("module", [fashion_mnist, cifar10])
def test_prepared_by_tensorflow_datasets(module, tmp_path):
    tfds = pytest.importorskip(
        "tensorflow_datasets.public_api",
        reason="tensorflow-datasets, from the extra `benchmarks`, is missing or incomplete",
        exc_type=Exception,  # not an ImportError if protobuf is too old
    )
    path, name = tmp_path / module.TFDS_VERSION, module.TFDS_VERSION.split("/")[0]
    shape = {"fashion_mnist": (28, 28, 1), "cifar10": (32, 32, 3)}[name]
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=shape),
            "label": tfds.features.ClassLabel(num_classes=10),
        }
    )
    path.mkdir(parents=True)
    template = tfds.core.ShardedFileTemplate(path, dataset_name=name, filetype_suffix="tfrecord")
    pixels = np.random.default_rng(0).integers(256, size=(6, *shape), dtype=np.uint8)
    splits = []
    for split in ("train", "test"):
        of_split = template.replace(split=split)
        file = of_split.sharded_filepath(shard_index=0, num_shards=1)
        with tf.io.TFRecordWriter(str(file)) as writer:
            for label, image in enumerate(pixels):
                example = features.encode_example({"image": image, "label": label})
                writer.write(features.serialize_example(example))
        splits.append(
            tfds.core.SplitInfo(
                name=split, shard_lengths=[6], num_bytes=0, filename_template=of_split
            )
        )
    tfds.folder_dataset.write_metadata(
        data_dir=path,
        features=features,
        split_infos=splits,
        filename_template=template,
        check_data=False,
    )
    data_set = module.load(tmp_path)
    ((images, labels),) = data_set.validation(view(image_size=shape[0], pixel_scale=1.0), 6)
    np.testing.assert_allclose(images, pixels - pixels.mean(axis=0), atol=1e-4)
    assert labels.numpy().tolist() == list(range(6))


def test_tensorflow_datasets_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    monkeypatch.delitem(sys.modules, "tensorflow_datasets.public_api", raising=False)
    path = tmp_path / fashion_mnist.TFDS_VERSION
    path.mkdir(parents=True)
    (path / "dataset_info.json").write_text("{}")
    for name, folder in (("fashion_mnist", tmp_path), ("imagenet2012", None)):
        with pytest.raises(RecipeError, match=r"extra `benchmarks`.*Received: Module") as error:
            data.load(name, folder)
        assert "\n" not in str(error.value)


def test_cifar10_missing(tmp_path):
    with pytest.raises(RecipeError, match=r"tfds.builder\(\"cifar10\"\).*Received: no") as error:
        cifar10.load(tmp_path)
    assert str(tmp_path / "cifar10" / "3.0.2") in str(error.value)
    assert "\n" not in str(error.value)


def test_fashion_mnist_missing(tmp_path):
    with pytest.raises(RecipeError, match=r"dataset-fashion-mnist.*fashion_mnist/3.0.1") as error:
        data.load("fashion_mnist", tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.skipif(
    not (fashion_mnist.DEBIAN / "train-images-idx3-ubyte.gz").exists(),
    reason="Debian's package dataset-fashion-mnist is not installed",
)
def test_the_real_fashion_mnist():
    data_set = data.load("fashion_mnist")
    assert (data_set.train_images, data_set.validation_images) == (60_000, 10_000)
    ((_, labels),) = data_set.training_as_held_out(view(image_size=28), 60_000, 60_000)
    assert np.bincount(labels).tolist() == [6000] * 10
    images, _ = epoch_of(data_set, 0, view(image_size=28), batch_size=1000, batches=3)
    assert abs(images.mean()) < 0.02
    assert data_set._parts["train"].pixels.dtype == np.uint8


# --- noise ----------------------------------------------------------------------------------------


def test_noise_is_the_same_each_time_and_in_the_range_of_pixels():
    data_set, shown = data.load("synthetic"), view(image_size=16)
    images, labels = epoch_of(data_set, 0, shown)
    again, same_labels = epoch_of(data_set, 1, shown)
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(labels, same_labels)
    assert -0.5 <= images.min() < -0.49
    assert 0.49 < images.max() <= 0.5
    assert not np.array_equal(images, epoch_of(data_set, 0, view(image_size=16, seed=1))[0])
    *_, (last, last_labels) = data_set.validation(shown, 3000)
    assert len(last) == len(last_labels) == 50_000 % 3000
