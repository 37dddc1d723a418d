"""Files of earlier versions (see fixtures/make.py) load, and training continues from them."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from fixtures.make import (
    compiled_model,
    fit_with_backup,
    make_model,
    state_of,
    train,
    with_accumulation,
)
from support import TESTS
from support.saving import no_warning

from keras_lars import callbacks

FOLDER = TESTS / "fixtures"
FILES = sorted(
    path
    for pattern in ("*/*/model.keras", "*/*/model.weights.h5", "*/*/checkpoint.index")
    for path in FOLDER.glob(pattern)
)


def expected_of(path):
    return json.loads((path.parent / "expected.json").read_text())


def blank(serialized_optimizer):
    model = make_model()
    model.compile(keras.optimizers.deserialize(serialized_optimizer), "mse", jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


def loaded(path, serialized_optimizer):
    if path.suffix == ".keras":
        return keras.models.load_model(path)
    model = blank(serialized_optimizer)
    if path.suffix == ".h5":
        model.load_weights(path)
    else:
        checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
        checkpoint.read(path.with_suffix("")).assert_consumed()
    return model


def assert_equal_state(actual, expected, **tolerance):
    """Compare the weights, and the optimizer's state by name. Both are nested lists."""
    assert actual["optimizer"].keys() == expected["optimizer"].keys()
    pairs = [
        *zip(actual["weights"], expected["weights"], strict=True),
        *((actual["optimizer"][name], value) for name, value in expected["optimizer"].items()),
    ]
    for left, right in pairs:
        np.testing.assert_allclose(left, right, **tolerance)


def test_there_is_a_file_of_every_kind():
    assert {path.suffix for path in FILES} == {".keras", ".h5", ".index"}


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: "-".join(path.parts[-3:]))
def test_a_file_of_an_earlier_version_loads_and_training_continues(path):
    expected = expected_of(path)
    with no_warning():
        model = loaded(path, expected["optimizer"])
    # The shortest decimal form of a number determines its bits.
    assert_equal_state(state_of(model), expected["state"], rtol=0)
    train(model, expected["batches"])
    assert_equal_state(state_of(model), expected["after_batches"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "path",
    sorted(FOLDER.glob("*/*/expected.json")),
    ids=lambda path: "-".join(path.parts[-3:-1]),
)
def test_a_configuration_of_an_earlier_version_keeps_its_meaning(path):
    """Every saved argument still exists, and has the same value."""
    saved = expected_of(path)["optimizer"]["config"]
    # Read again, since Keras puts objects into the dictionaries that it is given.
    now = blank(expected_of(path)["optimizer"]).optimizer.get_config()
    if "inner_optimizer" in saved:
        saved, now = saved["inner_optimizer"]["config"], now["inner_optimizer"]["config"]
    plain = {name: value for name, value in saved.items() if not isinstance(value, dict | list)}
    assert "trust_coefficient" in plain
    assert {name: now[name] for name in plain} == plain
    for argument in ("exclude_from_layer_adaptation", "exclude_from_weight_decay"):
        assert len(now[argument]) == len(saved[argument])


def test_a_file_of_an_earlier_version_keeps_the_defaults_of_that_version():
    """In that version, a weight of norm 0 moved by the plain rate, and norms had no floor."""
    model = keras.models.load_model(FOLDER / "0.1.0" / "loss_scaling" / "model.keras")
    assert model.optimizer.inner_optimizer.zero_weight_ratio == 1.0
    assert model.optimizer.inner_optimizer.weight_norm_floor == 0.0


class Observer(keras.callbacks.Callback):
    """Keeps the state at the start of a training."""

    def on_train_begin(self, logs=None):
        self.state = state_of(self.model)


@pytest.mark.slow
def test_a_backup_of_an_earlier_version_is_restored(tmp_path):
    for path in FOLDER.glob("*/backup"):
        folder = shutil.copytree(path, tmp_path / path.parent.name)
        model, observer = compiled_model(with_accumulation), Observer()
        with no_warning():
            fit_with_backup(model, folder, observer)
        expected = json.loads((path / "state.json").read_text())["state"]
        assert_equal_state(observer.state, expected, rtol=0, atol=0)
        assert int(model.optimizer.iterations) == 2  # two batches each; one was before the backup
        assert callbacks.BackupAndRestore(folder).epoch == 1  # the end of `fit` is saved, too
    assert observer.state


@pytest.mark.slow
def test_a_backup_of_an_earlier_version_warns_about_the_learning_rate(tmp_path):
    folder = shutil.copytree(FOLDER / "0.1.0" / "backup", tmp_path / "backup")
    model = compiled_model(with_accumulation)
    model.optimizer.learning_rate = 0.25
    with pytest.warns(match="The learning rate is 0.5, as in the backup of version 0.1.0 in"):
        fit_with_backup(model, folder)
    assert float(model.optimizer.learning_rate) == 0.5
