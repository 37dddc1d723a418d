"""One file for all workers: what the chief writes, and what the others do meanwhile.

The two replicas are of one process here. Real workers save in `test_multi_worker.py`.
"""

import os
import pathlib
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.models import assert_equal, functional

import keras_lars
from keras_lars import _replicas
from keras_lars._keras import saving


@pytest.fixture
def worker(monkeypatch):
    """Who this process is."""

    class Worker:
        is_chief = True

    monkeypatch.setattr(_replicas, "is_chief", lambda strategy: Worker.is_chief)
    return Worker


@pytest.fixture(scope="module")
def original(strategy):
    with strategy.scope():
        model = functional()
        model.compile(keras_lars.LARS(jit_compile=False, gradient_accumulation_steps=2), "mse")
        model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture
def model(original, worker):
    """With methods that are repaired for one test."""
    saving.repair_saving(original)
    yield original
    del original.save, original.save_weights


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
@pytest.mark.parametrize("as_path", [str, pathlib.Path])
def test_the_chief_replaces_the_file(model, tmp_path, name, as_path):
    path = tmp_path / name
    path.write_text("old")
    model.save(as_path(path))
    assert files(tmp_path) == [name]
    loaded = keras.saving.load_model(path, compile=False)
    assert_equal(loaded.get_weights(), model.get_weights())


def test_other_arguments_reach_keras(model, tmp_path):
    model.save(tmp_path / "without.h5", include_optimizer=False)
    model.save(tmp_path / "with.h5", True, include_optimizer=True)
    sizes = [(tmp_path / name).stat().st_size for name in ("without.h5", "with.h5")]
    assert sizes[0] < sizes[1]


def test_the_chief_writes_weights(model, tmp_path):
    model.save_weights(tmp_path / "model.weights.h5")
    assert files(tmp_path) == ["model.weights.h5"]
    before = model.get_weights()
    model.set_weights([weight + 1 for weight in before])
    model.load_weights(tmp_path / "model.weights.h5")
    assert_equal(model.get_weights(), before)


def test_several_files_are_written_in_their_place(model, tmp_path):
    model.save(tmp_path / "folder", zipped=False)
    model.save_weights(tmp_path / "model.weights.json", max_shard_size=1)
    assert "folder" in files(tmp_path)
    assert "model.weights.json" in files(tmp_path)
    assert not any(name.startswith(".") for name in files(tmp_path))


@pytest.mark.parametrize("method", ["save", "save_weights"])
def test_others_write_nothing(model, worker, tmp_path, method):
    worker.is_chief = False
    assert getattr(model, method)(tmp_path / "model.weights.h5") is None
    assert files(tmp_path) == []


class UnwritableError(Exception):
    pass


@pytest.mark.parametrize("error", [OSError("no space"), UnwritableError("so"), KeyboardInterrupt()])
def test_the_old_file_survives_a_failed_save(model, tmp_path, monkeypatch, error):
    path = tmp_path / "model.keras"
    path.write_text("old")
    monkeypatch.setattr(zipfile.ZipFile, "close", lambda self: (_ for _ in ()).throw(error))
    with pytest.raises(type(error)):
        model.save(path)
    monkeypatch.undo()
    assert files(tmp_path) == ["model.keras"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("steps", [None, 2])
def test_workers_meet_only_to_read_sums(strategy, steps):
    """So the chief may save alone if there are none, as in many programs."""
    with strategy.scope():
        model = functional()
        optimizer = keras_lars.LARS(jit_compile=False, gradient_accumulation_steps=steps)
        model.compile(optimizer, "mse", metrics=["mae"])
        optimizer.build(model.trainable_variables)
    x = np.zeros((2, *model.input_shape[1:]), "float32")
    model.evaluate(x, model.predict(x, verbose=0), verbose=0)  # which makes the metrics
    assert bool(saving._values_from_all_workers(model)) == bool(steps)


@pytest.mark.parametrize("answer", ["n", "y"])
def test_keras_asks_whether_to_overwrite(model, tmp_path, monkeypatch, answer):
    path = tmp_path / "model.keras"
    path.write_text("old")
    asked = []
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or answer)
    model.save(path, overwrite=False)
    assert len(asked) == 1
    assert str(path) in asked[0]
    assert zipfile.is_zipfile(path) == (answer == "y")


def test_a_link_stays_a_link(model, tmp_path):
    (tmp_path / "link.keras").symlink_to(tmp_path / "model.keras")
    model.save(tmp_path / "link.keras")
    assert files(tmp_path) == ["link.keras", "model.keras"]
    assert os.path.islink(tmp_path / "link.keras")
    assert zipfile.is_zipfile(tmp_path / "model.keras")


class Summing(keras.Model):
    """It saves a sum over workers: one that is tracked, or one that Keras knows nothing of."""

    def __init__(self, is_tracked):
        super().__init__()
        self.seen = keras.metrics.Sum()
        self.is_tracked = is_tracked
        self.built = True
        options = {"synchronization": tf.VariableSynchronization.ON_READ}
        unknown = tf.Variable(2.0, aggregation=tf.VariableAggregation.SUM, **options)
        self.read_unknown = unknown.read_value

    def save_own_variables(self, store):
        store["sum"] = self.seen.total if self.is_tracked else self.read_unknown()


@pytest.mark.parametrize("is_tracked", [True, False])
def test_the_chief_never_waits_for_others_while_it_writes(strategy, worker, tmp_path, is_tracked):
    with strategy.scope():
        model = Summing(is_tracked)
        model.seen.update_state(3.0)
    saving.repair_saving(model)
    if is_tracked:
        model.save_weights(tmp_path / "model.weights.h5")
        other = Summing(True)
        stored = {}
        other.load_own_variables = lambda store: stored.update(sum=np.array(store["sum"]))
        other.load_weights(tmp_path / "model.weights.h5")
        assert stored["sum"] == model.seen.total.numpy() > 0
        return
    with pytest.raises(RuntimeError, match="cannot be reduced over workers"):
        model.save_weights(tmp_path / "model.weights.h5")
    assert files(tmp_path) == []
    strategy.reduce("SUM", model.seen.total.value, axis=None)  # as before
