"""With the arguments in docs/migration.md, LARS gives the results of other implementations."""

import functools
import json
import math
import pathlib
import re
import tempfile

import keras
import numpy as np
import pytest
from support import ROOT, TESTS, peers
from support.helpers import run_command
from support.peer_formulas import FORMULAS

import keras_lars
from keras_lars import _foreign_names

FOLDER = TESTS / "trajectories"
PAGE = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
NAMES = (ROOT / "docs" / "migration_names.md").read_text(encoding="utf-8")
FILES = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


@functools.cache
def outcomes():
    """The outcomes of all checks, in a separate process since they set Keras to float64."""
    with tempfile.TemporaryDirectory() as folder:
        result = pathlib.Path(folder, "result.json")
        done = run_command("support.trajectory_script", result)
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(result.read_text())


@pytest.mark.slow
@pytest.mark.parametrize(("file", "label", "dtype"), peers.COMPARED)
def test_recordings(file, label, dtype):
    outcome = outcomes()[f"{file}, {label}, {dtype}"]
    assert outcome == "ok", outcome


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(name):
    outcome = outcomes()[name]
    assert outcome == "ok", outcome


def test_all_recordings_are_compared():
    recorded = {(file, each["label"]) for file in FILES for each in FILES[file]["recordings"]}
    assert set(peers.RECORDED) == recorded
    assert {peers.BY_NAME[name].file for name, _ in peers.RECORDED.values()} | {"lightly"} == set(
        FILES
    )


def test_every_row_is_recorded_or_read():
    compared = {name for name, _ in peers.RECORDED.values()} | set(FORMULAS)
    assert compared == set(peers.BY_NAME)
    assert not set(FORMULAS) & {peer.name for peer in peers.PEERS if peer.file}


@pytest.mark.parametrize("file", FILES)
def test_recordings_say_what_made_them(file):
    assert {"python", "numpy"} < set(FILES[file]["versions"])
    for each in FILES[file]["recordings"]:
        weights = np.array(each["weights"])
        assert len(weights) == len(each["learning_rates"]) >= 12
        # Every weight moves at some step, and all are finite.
        assert np.isfinite(weights).all()
        assert (np.diff(weights, axis=0) != 0).any(axis=0).all()


@pytest.mark.parametrize("file", FILES)
def test_our_schedules_give_their_rates(file):
    """Separate from the other tests, since Keras's schedules are float32."""
    for each in FILES[file]["recordings"]:
        rates, peak = each["learning_rates"], each["peak_learning_rate"]
        decay = keras.optimizers.schedules.PolynomialDecay(peak, 9, 0.0, power=2.0)
        schedule = keras_lars.schedules.WarmUp(decay, 4, shift_decay=True)
        ramp = [float(schedule(step)) for step in range(len(rates))]
        # Their ramp reaches the peak in its last step, ours in the step after it.
        np.testing.assert_allclose(ramp[4:], rates[4:], rtol=1e-6)
        np.testing.assert_allclose(ramp[1:4], rates[:3], rtol=1e-6)


W, T, START, PEAK, END = 4, 20, 0.5, 8.0, 0.08


def cosine(peak, step, steps, end=0.0):
    return end + (peak - end) * (1 + math.cos(math.pi * min(step / steps, 1))) / 2


def ramp(step, start=0.0):
    return start + (PEAK - start) * step / W


# The rate of each schedule on the page, after its warm-up and in it, as their code has them.
SCHEDULES = {
    "optax": lambda t: cosine(PEAK, t - W, T - W, END) if t >= W else ramp(t, START),
    "torch": lambda t: cosine(PEAK, t - W, T - W, END) if t >= W else ramp(t, START),
    "timm": lambda t: cosine(PEAK, t, T, END) if t >= W else ramp(t, START),
    "SimCLR, BYOL, MoCo v3, MAE": lambda t: cosine(PEAK, t - W, T - W) if t >= W else ramp(t),
    "Barlow Twins, VICReg": lambda t: (
        cosine(PEAK, t - W, T - W, PEAK / 1000) if t >= W else ramp(t)
    ),
    "MLPerf, TensorFlow": lambda t: (
        1e-4 + (PEAK - 1e-4) * (1 - (t - W) / (T - W + 1)) ** 2 if t > W else ramp(t)
    ),
}


def test_the_schedules_on_the_page():
    (table,) = re.findall("<!-- schedules -->(.+?)<!-- /schedules -->", PAGE, re.S)
    rows = dict(re.findall(r"^\| ([^:|]+?)(?:: .*?)? \| `(.+?)` \|$", table, re.M))
    assert rows.keys() == SCHEDULES.keys()
    names = {**vars(keras.optimizers.schedules), **vars(keras_lars.schedules)}
    names |= {"W": W, "T": T, "start": START, "peak": PEAK, "end": END}
    for peer, code in rows.items():
        schedule = eval(code, names)
        rates = [float(schedule(step)) for step in range(T)]
        wanted = [SCHEDULES[peer](step) for step in range(T)]
        np.testing.assert_allclose(rates, wanted, rtol=1e-5, atol=1e-6, err_msg=peer)


def test_the_table_on_the_page():
    (table,) = [
        part.split("<!-- /peers -->")[0].strip() for part in PAGE.split("<!-- peers -->")[1:]
    ]
    assert table == peers.table()


def test_the_page_has_every_name_that_an_error_explains():
    """The page and the errors give the same names of ours."""
    rows = re.findall(r"^\| (`.+?`) \| (.+?) \|$", NAMES, re.M)
    explained = {name: ours for names, ours in rows for name in re.findall(r"`([^`]+)`", names)}
    forms = {f"{name}={value}": ours for (name, value), ours in _foreign_names._FORMS.items()}
    ours = {**_foreign_names._NAMES, **forms}
    assert explained.keys() == ours.keys() | _foreign_names._REFUSED.keys()
    for name, words in ours.items():
        assert re.findall("`[^`]+`", explained[name]) == re.findall("`[^`]+`", words), name


@pytest.mark.parametrize("peer", peers.PEERS, ids=lambda peer: peer.name)
def test_lars_accepts_the_arguments(peer):
    optimizer = keras_lars.LARS(1.0, **peer.options())
    assert optimizer.get_config()["momentum"] == 0.9
