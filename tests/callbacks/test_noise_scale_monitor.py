"""`NoiseScaleMonitor`: what it writes, what it tells, and that it goes on after a restart."""

import csv
import math
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.backups import After
from support.models import FEATURES, batch, compiled

import keras_lars
from keras_lars import _noise_scale
from keras_lars.callbacks import BackupAndRestore, NoiseScaleMonitor, TrustRatioMonitor

pytestmark = pytest.mark.slow

COLUMNS = "update,epoch,variable,gradient_square,noise_square,noise_scale,low,high"
STEPS = 2


def network():
    """One whose paths are the same however often it is made."""
    x = inputs = keras.Input((FEATURES,))
    x = keras.layers.Dense(FEATURES, activation="tanh", name="a")(x)
    return keras.Model(inputs, keras.layers.Dense(1, name="head")(x))


def make_model(**options):
    options = {"record_noise_scale": True, "gradient_accumulation_steps": STEPS, **options}
    lars = keras_lars.LARS(0.5, jit_compile=False, **options)
    return compiled(network, lars, run_eagerly=True)


def fit(model, *callbacks, epochs=2, size=80):
    """Of 80 examples ten updates an epoch."""
    x, y = batch(0, size)
    model.fit(x, y, 4, epochs, callbacks=list(callbacks), shuffle=False, verbose=0)


def rows_of(folder):
    with open(folder / "noise_scale.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class ByHand(keras.callbacks.Callback):
    """What the optimizer itself keeps after every batch."""

    def on_train_begin(self, logs=None):
        self.seen = {}

    def on_train_batch_end(self, batch, logs=None):
        self.seen[int(self.model.optimizer.iterations)] = self.model.optimizer._recorded_squares()


def test_rows_are_estimates_of_what_the_optimizer_kept(tmp_path, capsys):
    model, by_hand = make_model(), ByHand()
    monitor = NoiseScaleMonitor(tmp_path, 1, window=16, formats=["csv", "jsonl"])
    fit(model, monitor, by_hand)
    rows = rows_of(tmp_path)
    assert list(rows[0]) == COLUMNS.split(",")
    names = [v.path for v in model.trainable_variables]
    for update in range(1, 21):
        *parts, total = [row for row in rows if row["update"] == str(update)]
        assert [row["variable"] for row in (*parts, total)] == [*names, "(all)"]
        for row, kept in zip(parts, by_hand.seen[update].values(), strict=True):
            found = float(row["gradient_square"]), float(row["noise_square"])
            assert found == (
                _noise_scale.gradient_square(*kept, STEPS),
                _noise_scale.noise_square(*kept, STEPS),
            )
            assert float(row["epoch"]) == update / 10
        for name in ("gradient_square", "noise_square"):
            assert float(total[name]) == pytest.approx(sum(float(row[name]) for row in parts))
        assert math.isnan(float(total["low"])) or update >= 16
    assert len(rows) == 20 * (len(names) + 1)
    assert len((tmp_path / "noise_scale.jsonl").read_text().splitlines()) == len(rows)
    told = capsys.readouterr().out
    assert told.startswith("Gradient noise scale by quarter")
    assert "from 20 measurements: no estimate (5 measurements, but 16 are needed)" in told


def test_a_record_of_every_third_update_is_quiet_if_it_is_to_be(tmp_path, capsys):
    fit(make_model(), NoiseScaleMonitor(tmp_path, 3, verbose=False), epochs=1)
    assert [row["update"] for row in rows_of(tmp_path)][:: 4 + 1] == ["1", "4", "7", "10"]
    assert capsys.readouterr().out == ""


def test_batches_that_grow_are_measured_in_the_last_ones(tmp_path):
    """From where they have parts: in this unit the noise is the same, however large they are."""
    model, by_hand = make_model(gradient_accumulation_steps={0: 1, 3: 2, 5: 4}), ByHand()
    fit(model, NoiseScaleMonitor(tmp_path, 1, verbose=False), by_hand, epochs=1)
    names = [v.path for v in model.trainable_variables]
    seen = []
    for row in rows_of(tmp_path):
        if row["variable"] in names:
            parts = 2 if int(row["update"]) <= 5 else 4
            kept = by_hand.seen[int(row["update"])][row["variable"]]
            found = float(row["gradient_square"]), float(row["noise_square"])
            noise = _noise_scale.noise_square(*kept, parts) * parts / 4
            assert found == (_noise_scale.gradient_square(*kept, parts), noise)
            seen.append(int(row["update"]))
    assert seen == [update for update in range(4, 9) for _ in names]


@pytest.mark.filterwarnings("ignore:The backup")
def test_it_goes_on_after_a_restart(tmp_path):
    whole, again = tmp_path / "whole", tmp_path / "again"
    fit(make_model(), NoiseScaleMonitor(whole, 1, window=16, verbose=False), epochs=3)
    model = None
    for epochs in (2, 3):  # of which the second is a process that was started again
        model = make_model()
        backup = BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
        monitor = NoiseScaleMonitor(again, 1, window=16, verbose=False)
        fit(model, backup, monitor, epochs=epochs)
    assert (again / "noise_scale.csv").read_text() == (whole / "noise_scale.csv").read_text()
    assert [each.update for each in monitor._measurements.of_all] == list(range(1, 31))


def stop():
    """As a process is stopped."""
    raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore:The backup")
@pytest.mark.parametrize("recorded_before", [True, False])
def test_it_goes_on_between_two_updates(tmp_path, recorded_before):
    whole, again, backups = (tmp_path / name for name in ("whole", "again", "backup"))
    uninterrupted, restarted = make_model(), make_model()
    fit(uninterrupted, NoiseScaleMonitor(whole, 1, verbose=False), epochs=1)
    before = make_model(record_noise_scale=recorded_before)
    monitors = [NoiseScaleMonitor(again, 1, verbose=False)] * recorded_before
    with pytest.raises(KeyboardInterrupt):
        fit(before, BackupAndRestore(backups, 5), *monitors, After(7, stop), epochs=1)
    backup = BackupAndRestore(backups, 5)
    assert backup.batch == 5
    monitor = NoiseScaleMonitor(again, 1, verbose=False)
    fit(restarted, backup, monitor, epochs=1)
    for now, expected in zip(restarted.get_weights(), uninterrupted.get_weights(), strict=True):
        np.testing.assert_array_equal(now, expected)
    if recorded_before:
        assert (again / "noise_scale.csv").read_text() == (whole / "noise_scale.csv").read_text()
        assert [each.update for each in monitor._measurements.of_all] == list(range(1, 11))


def test_both_monitors_share_a_folder_and_tensorboard(tmp_path):
    model = make_model(record_trust_ratios=True)
    formats = ["csv", "tensorboard"]
    fit(
        model,
        NoiseScaleMonitor(tmp_path, 1, formats=formats, verbose=False),
        TrustRatioMonitor(tmp_path, 1, formats=formats, verbose=False),
    )
    assert (tmp_path / "trust_ratios.csv").is_file()
    scalars = {}
    for path in (tmp_path / "tensorboard").iterdir():
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                scalars[value.tag, event.step] = tf.make_ndarray(value.tensor)
    for row in rows_of(tmp_path):
        at = int(row["update"])
        for name in ("gradient_square", "noise_square", "noise_scale"):
            found = scalars.get((f"{name}/{row['variable']}", at), np.nan)
            np.testing.assert_allclose(found, float(row[name]), rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gradient_accumulation_steps": None}, "`gradient_accumulation_steps` to 2 or more"),
        ({"record_noise_scale": False}, r"needs `LARS\(record_noise_scale=True\)`"),
    ],
)
def test_it_says_before_training_what_it_needs(tmp_path, options, message):
    model = make_model(**options)
    with pytest.raises(ValueError, match=message):
        fit(model, NoiseScaleMonitor(tmp_path))
    assert int(model.optimizer.iterations) == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [{"update_freq": "epoch"}, {"update_freq": 0}, {"window": 15}, {"formats": "xml"}],
    ids=str,
)
def test_bad_arguments(tmp_path, arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=f"`{name}` must .*Received: {name}={value!r}"):
        NoiseScaleMonitor(tmp_path, **arguments)


@pytest.mark.parametrize("missing", ["tensorflow", "tensorboard"])
@pytest.mark.parametrize("monitor", [NoiseScaleMonitor, TrustRatioMonitor])
def test_a_format_that_needs_what_is_not_installed(tmp_path, monkeypatch, monitor, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=f"`pip install {missing}`"):
        monitor(tmp_path, formats=["csv", "tensorboard"])
    monitor(tmp_path, formats=["csv", "jsonl"])


def test_another_file_is_left_alone(tmp_path):
    (tmp_path / "noise_scale.csv").write_text("a,b\n")
    with pytest.raises(ValueError, match="hold a record of `NoiseScaleMonitor`"):
        fit(make_model(), NoiseScaleMonitor(tmp_path))
    assert (tmp_path / "noise_scale.csv").read_text() == "a,b\n"
