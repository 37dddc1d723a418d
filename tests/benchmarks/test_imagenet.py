"""ImageNet as TensorFlow Datasets prepares it: its crops, their order, and shares of workers."""

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

from benchmarks import data
from benchmarks.data import augmentation, encoded, fake_imagenet, image_file, imagenet2012
from benchmarks.data.data_set import WHOLE, Shard, View
from benchmarks.recipe import RecipeError

pytestmark = pytest.mark.slow

IMAGES, HELD_OUT, FILES = 50, 7, 10  # files of 5 images
HEIGHT, WIDTH = 40, 60
AUGMENTATIONS = ["none", "paper", "extended"]


def view(**fields):
    fields = {"image_size": 28, "pixel_scale": 1.0, "augmentation": "paper", "seed": 0, **fields}
    return View(**fields)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A prepared folder of JPEGs. The label of an image is its number."""
    folder, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)

    def examples(numbers):
        coarse = random.integers(256, size=(len(numbers), 5, 6, 3))
        for number, image in zip(numbers, tf.image.resize(coarse, (HEIGHT, WIDTH), "bicubic")):
            # No subsampled color: at the edge of a crop it would come from one side only.
            image = tf.saturate_cast(image, tf.uint8)
            image = tf.io.encode_jpeg(image, quality=95, chroma_downsampling=False)
            yield {"image": image.numpy(), "label": number, "file_name": f"{number}.JPEG"}

    splits = {
        "train": list(examples(range(IMAGES))),
        "validation": list(examples(range(900, 900 + HELD_OUT))),
    }
    fake_imagenet.write_examples(folder, splits, FILES)
    return folder


@pytest.fixture
def data_set(folder):
    return data.load("imagenet2012", folder)


@pytest.fixture(autouse=True)
def deterministic():
    """Deterministic, as in a training. With its seed, 0, some functions of tf.data fail."""
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()


def epoch_of(data_set, epoch, view, batch_size=10, batches=5, shard=WHOLE):
    """Images and labels of one epoch."""
    batches = data_set.training(tf.constant(epoch, tf.int64), view, batch_size, batches, shard)
    seen = list(batches)
    return np.concatenate([x for x, _ in seen]), np.concatenate([y for _, y in seen])


def jpegs(folder, split="train"):
    """The JPEG strings, by label, as TensorFlow Datasets itself reads them."""
    builder = tfds.builder_from_directory(folder / "imagenet2012" / "5.1.0")
    dataset = builder.as_dataset(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    return {int(example["label"]): example["image"] for example in dataset}


# --- contents -------------------------------------------------------------------------------------


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_elements(data_set, augmentation):
    shown = view(augmentation=augmentation, pixel_scale=1 / 256)
    training = data_set.training(tf.constant(0, tf.int64), shown, 8, 6)
    assert training.cardinality() == 6
    assert training.element_spec == (
        tf.TensorSpec([8, 28, 28, 3], tf.float32),
        tf.TensorSpec([8], tf.int32),
    )
    images, labels = epoch_of(data_set, 0, shown)
    assert -0.5 <= images.min() < -0.3
    assert 0.3 < images.max() <= 0.6
    assert sorted(labels) == list(range(IMAGES))
    assert (data_set.train_images, data_set.validation_images) == (IMAGES, HELD_OUT)
    assert (data_set.classes, data_set.channels, data_set.name) == (1000, 3, "imagenet2012")


def test_the_folder_has_the_features_of_the_real_one(folder):
    ours = tfds.builder_from_directory(folder / "imagenet2012" / "5.1.0").info.features
    with tfds.testing.mock_data(num_examples=3):
        builder = tfds.builder("imagenet2012")
        real = builder.info.features
        assert ours.get_serialized_info() == real.get_serialized_info()
        assert ours["label"].num_classes == real["label"].num_classes == 1000
        mocked = builder.as_dataset(split="train", decoders={"image": tfds.decode.SkipDecoding()})
        for example in mocked:
            size = tf.image.extract_jpeg_shape(example["image"])[:2]
            window, _ = augmentation.training_window(size, view(), tf.constant([0, 0]))
            image = image_file.decode(example["image"], window, 28)
            assert image.shape == (28, 28, 3)
            assert image.dtype == tf.float32


@pytest.mark.parametrize("prepared", [False, True], ids=["empty", "old_version"])
def test_a_missing_folder(tmp_path, prepared):
    if prepared:
        (tmp_path / "imagenet2012" / "4.0.0").mkdir(parents=True)
    with pytest.raises(RecipeError, match=r"imagenet2012/5\.\*.*tfds build.*Received: ") as error:
        data.load("imagenet2012", tmp_path)
    for text in (f"--data_dir={tmp_path}", "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"):
        assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_without_validation(tmp_path):
    examples = [{"image": np.zeros((9, 9, 3), np.uint8), "label": 0, "file_name": "0.JPEG"}]
    fake_imagenet.write_examples(tmp_path, {"train": examples}, 1)
    with pytest.raises(RecipeError, match=r"splits train and validation.*Received: train, as tf"):
        data.load("imagenet2012", tmp_path)


# --- crops ----------------------------------------------------------------------------------------


def by_hand(image, window, mirrored, size=28):
    """A crop of a decoded image, scaled, as a NumPy array."""
    y, x, height, width = np.ravel(window).astype(int)
    part = tf.image.resize(image[y : y + height, x : x + width], (size, size)).numpy()
    return part[:, ::-1] if mirrored else part


@pytest.mark.parametrize("kind", ["paper", "extended"])
def test_images_are_mirrored_parts_of_the_decoded_file(folder, kind):
    flips, windows = [], set()
    for label, string in list(jpegs(folder).items())[:20]:
        shown = view(augmentation=kind)
        window, mirrored = augmentation.training_window(
            tf.constant([HEIGHT, WIDTH]), shown, tf.constant([label, 0])
        )
        decoded = tf.io.decode_jpeg(string).numpy()
        image = image_file.decode(string, window, 28)
        np.testing.assert_allclose(image, by_hand(decoded, window, False), atol=1e-3)
        flips.append(bool(mirrored))
        windows.add(tuple(window.numpy()))
    assert 0.2 < np.mean(flips) < 0.8
    assert len(windows) > 10


def extent(begin, pixels):
    """Begin and size, in an image of this many pixels, of a crop of 28 of 32 (half to even)."""
    first, last = round(begin * pixels / 32), round((begin + 28) * pixels / 32)
    return first, last - first


def test_crops_of_the_paper_are_those_of_a_scaled_image(data_set, folder):
    # The paper would scale 40x60 to 32x32, so a crop of 28 is 35 high and 52 or 53 wide.
    images, labels = epoch_of(data_set, 0, view())
    strings, found = jpegs(folder), []
    for image, label in zip(images, labels):
        decoded = tf.io.decode_jpeg(strings[int(label)]).numpy()
        places = [
            (y, x, mirrored)
            for y in range(5)
            for x in range(5)
            for mirrored in (False, True)
            for window in [[*zip(extent(y, HEIGHT), extent(x, WIDTH))]]
            if np.allclose(
                by_hand(decoded, window, mirrored),
                image + encoded.MEAN,
                atol=1e-2,
            )
        ]
        assert len(places) == 1
        found += places
    assert {y for y, _, _ in found} == {x for _, x, _ in found} == set(range(5))
    assert {mirrored for _, _, mirrored in found} == {False, True}


def test_held_out_images_are_the_central_crop_in_order(data_set, folder):
    strings = jpegs(folder, "validation")
    for kind in AUGMENTATIONS:
        seen = list(data_set.validation(view(augmentation=kind), 3))
        assert [len(labels) for _, labels in seen] == [3, 3, 1]
        labels = np.concatenate([labels for _, labels in seen])
        assert sorted(labels) == list(range(900, 900 + HELD_OUT))
        for image, label in zip(np.concatenate([images for images, _ in seen]), labels):
            decoded = tf.io.decode_jpeg(strings[int(label)]).numpy()
            # Two of 32 pixels at each edge: 2.5 of 40, rounded to even, and 3.75 of 60.
            expected = by_hand(decoded, (2, 4, 36, 52), False) - encoded.MEAN
            np.testing.assert_allclose(image, expected, atol=1e-2)


def test_training_images_as_held_out(data_set, folder):
    strings = jpegs(folder)
    (first, labels), (second, _) = data_set.training_as_held_out(view(), 4, 7)
    assert (len(first), len(second)) == (4, 3)
    decoded = tf.io.decode_jpeg(strings[int(labels[0])]).numpy()
    expected = by_hand(decoded, (2, 4, 36, 52), False) - encoded.MEAN
    np.testing.assert_allclose(first[0], expected, atol=1e-2)
    ((again, _), _) = data_set.training_as_held_out(view(seed=1), 4, 7)
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (375, 500), (2, 1)], ids=str)
@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_windows_are_inside_the_image(size, kind):
    for seed in range(20):
        for image_size in (28, 224, 227):
            shown = view(augmentation=kind, image_size=image_size)
            window, _ = augmentation.training_window(
                tf.constant(size), shown, tf.constant([seed, 0])
            )
            begin, extent = window.numpy()[:2], window.numpy()[2:]
            assert (begin >= 0).all()
            assert (extent >= 1).all()
            assert (begin + extent <= size).all()


# --- order and workers ----------------------------------------------------------------------------


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_an_epoch_is_a_function_of_seed_and_epoch(data_set, augmentation):
    shown = view(augmentation=augmentation)
    epochs = tf.data.Dataset.range(3).flat_map(lambda epoch: data_set.training(epoch, shown, 10, 5))
    seen = list(epochs)
    assert len(seen) == 15
    orders = []
    for epoch in range(3):
        images, labels = epoch_of(data_set, epoch, shown)
        np.testing.assert_array_equal(np.concatenate([x for x, _ in seen[5 * epoch :][:5]]), images)
        np.testing.assert_array_equal(np.concatenate([y for _, y in seen[5 * epoch :][:5]]), labels)
        assert len(set(labels)) == IMAGES
        orders.append(labels.tolist())
    _, of_other_seed = epoch_of(data_set, 0, view(augmentation=augmentation, seed=1))
    orders.append(of_other_seed.tolist())
    assert len(set(map(tuple, orders))) == 4
    assert list(range(IMAGES)) not in orders


def test_an_image_is_cropped_differently_in_each_epoch(data_set):
    images, labels = epoch_of(data_set, 0, view())
    later, later_labels = epoch_of(data_set, 1, view())
    same = [
        np.array_equal(images[labels == label], later[later_labels == label])
        for label in range(IMAGES)
    ]
    assert np.mean(same) < 0.2  # each has 50 possible crops


def test_images_left_over_differ_between_epochs(data_set):
    seen = [set(epoch_of(data_set, epoch, view(), 8, 4)[1].tolist()) for epoch in range(3)]
    assert {len(epoch) for epoch in seen} == {32}
    assert len(set.union(*seen)) > 40  # different ones each time


def test_images_are_shuffled_within_their_block(data_set, monkeypatch):
    _, one_block = epoch_of(data_set, 0, view())
    monkeypatch.setattr(imagenet2012, "SHUFFLED_AT_ONCE", 8)
    _, blocks = epoch_of(data_set, 0, view())
    assert sorted(blocks) == list(range(IMAGES))
    assert blocks.tolist() != one_block.tolist()
    monkeypatch.setattr(imagenet2012, "SHUFFLED_AT_ONCE", 1)
    _, unshuffled = epoch_of(data_set, 0, view())
    assert unshuffled.tolist() != blocks.tolist()
    assert [set(part) for part in np.split(blocks[:48], 6)] == [
        set(part) for part in np.split(unshuffled[:48], 6)
    ]


@pytest.mark.parametrize("workers", [2, 3])
def test_shares_of_workers_are_disjoint_without_repeats(folder, workers):
    data_set = data.load("imagenet2012", folder)
    seen = []
    for epoch in range(2):
        shares = [
            epoch_of(data_set, epoch, view(), workers * 7, 2, Shard(index, workers))[1]
            for index in range(workers)
        ]
        assert [len(share) for share in shares] == [14] * workers  # each worker has 15 to 25 images
        assert all(len(set(share)) == 14 for share in shares)
        together = np.concatenate(shares).tolist()
        assert len(set(together)) == len(together)
        seen.append(set(shares[0].tolist()))
    assert seen[0] != seen[1]  # different files


def test_the_workers_together_read_all_images(data_set):
    read = [epoch_of(data_set, 0, view(), 10, 5, Shard(index, 2))[1] for index in range(2)]
    assert set(read[0]) & set(read[1]) == set()
    assert len(set(read[0]) | set(read[1])) == IMAGES


def test_a_share_that_is_too_short_is_repeated(data_set, monkeypatch):
    files = data_set._files["train"]
    monkeypatch.setitem(data_set._files, "train", files[:2])
    _, labels = epoch_of(data_set, 0, view(), 24, 1, Shard(0, 2))
    assert len(labels) == 12
    assert len(set(labels)) == 5


def test_steps_of_a_worker_are_batches_of_its_replicas(data_set, strategy):
    shard = Shard(1, 3)
    epochs = tf.data.Dataset.range(2).flat_map(
        lambda epoch: data_set.training(epoch, view(), 12, 4, shard)
    )
    assert epochs.element_spec[1].shape == (4,)
    steps = [
        [part.numpy().tolist() for part in strategy.experimental_local_results(labels)]
        for _, labels in data_set.distributed(epochs, strategy)
    ]
    assert len(steps) == 8
    expected = [epoch_of(data_set, epoch, view(), 12, 4, shard)[1] for epoch in range(2)]
    assert np.reshape(steps, (2, 16)).tolist() == [labels.tolist() for labels in expected]


def test_impossible_numbers_of_workers_are_refused(data_set):
    for shard, batch_size, message in [
        (Shard(0, 11), 11, "at most 10 workers, .* of imagenet2012. Received: 11"),
        (Shard(0, 3), 10, "multiple of 3, the number of workers. Received: 10"),
    ]:
        with pytest.raises(RecipeError, match=message):
            epoch_of(data_set, 0, view(), batch_size, 1, shard)


def test_more_images_than_the_data_set_has_are_refused(data_set):
    with pytest.raises(RecipeError, match=r"its 50 training images. Received: 6 batches of 10"):
        epoch_of(data_set, 0, view(), 10, 6)


# --- the fake -------------------------------------------------------------------------------------


def test_the_fake_folder(tmp_path):
    fake_imagenet.write(tmp_path, images=10, height=30, width=50, files=3)
    data_set = data.load("imagenet2012", tmp_path)
    assert (data_set.train_images, data_set.validation_images) == (10, 2)
    images, labels = epoch_of(data_set, 0, view(), 5, 2)
    assert len({image.tobytes() for image in images}) == 10
    assert ((labels >= 0) & (labels < 1000)).all()
    assert "not ImageNet" in (tmp_path / "imagenet2012" / "README").read_text()
    shapes = {
        tuple(tf.io.extract_jpeg_shape(string).numpy()) for string in jpegs(tmp_path).values()
    }
    assert shapes == {(30, 50, 3)}


def test_the_fake_does_not_overwrite_a_folder(tmp_path):
    (tmp_path / "imagenet2012").mkdir()
    with pytest.raises(RecipeError, match=f"hold no imagenet2012 yet. Received: {tmp_path}$"):
        fake_imagenet.write(tmp_path, images=10, height=30, width=50)
    with pytest.raises(RecipeError, match=r"at most 427 and 640. Received: 428 and 10"):
        fake_imagenet.write(tmp_path / "new", images=10, height=428, width=10)
    assert not (tmp_path / "new").exists()
