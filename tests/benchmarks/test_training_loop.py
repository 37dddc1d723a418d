"""The training loop: interruption, resuming, accumulation, divergence, mixed precision."""

import contextlib
import dataclasses
import functools
import json
import os
import re
import signal
import threading
import types
from unittest import mock

import keras
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the extra `benchmarks` is not installed")
if keras.backend.backend() != "tensorflow":
    pytest.skip("the benchmarks run on TensorFlow", allow_module_level=True)

import keras_lars
from benchmarks import (
    callbacks,
    collect,
    estimate,
    loop,
    losses,
    optimizers,
    plan,
    recipes,
    report,
    run_folder,
    words,
)
from benchmarks.data.data_set import WHOLE
from benchmarks.files import write_json
from benchmarks.recipe import Execution, RecipeError
from keras_lars.callbacks import _backup_file
from keras_lars.callbacks._backup_header import Header, Position

# 22 updates an epoch.
RECIPE = recipes.override(
    model="alexnet_tiny", width=1.0, image_size=8, dropout=0.5, epochs=3, warmup_epochs=1.0
)
AUGMENTED = dataclasses.replace(RECIPE, augmentation="paper", label_smoothing=0.1)

pytestmark = pytest.mark.usefixtures("fast_training")

# How `RECIPE` is run.
ASKED = {
    "validate_every_epochs": 2,
    "evaluate_training_images": 1437,
    "record_trust_ratios_every": 10,
    "tensorboard": True,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder and the result of an uninterrupted run."""
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    folder = tmp_path_factory.mktemp("whole")
    return folder, loop.train(RECIPE, Execution(output_dir=str(folder), **ASKED))


def files(folder, *names):
    return {name: (folder / name).read_bytes() for name in names}


def weights(folder):
    model = keras.saving.load_model(folder / "model.keras")
    return [np.array(v) for v in (*model.weights, *model.optimizer.variables)]


def interrupt_at(monkeypatch, update, number=signal.SIGTERM):
    """Send this process a signal during an update, once."""
    original, done = callbacks.StopAtDivergence.on_batch_end, []

    def on_batch_end(self, batch, logs=None):
        original(self, batch, logs)
        if not done and int(self.model.optimizer.iterations) >= update:
            done.append(update)
            os.kill(os.getpid(), number)

    monkeypatch.setattr(callbacks.StopAtDivergence, "on_batch_end", on_batch_end)


def interrupt_outside_updates(monkeypatch, update):
    """Send this process a signal in a validation and as statistics are recomputed, once each."""
    done = set()

    def interrupt(place, at):
        if place not in done and at:
            done.add(place)
            os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail("the signal was not handled at once")

    def on_test_batch_end(self, batch, logs=None):
        interrupt("validation", batch == 0 and callbacks.updates_of(self.model) > update)

    write = keras_lars.callbacks.RecalibrateStatistics._write

    def write_first(self, *arguments):
        write(self, *arguments)
        interrupt("statistics", callbacks.updates_of(self.model) > update)

    monkeypatch.setattr(callbacks.StopAtDivergence, "on_test_batch_end", on_test_batch_end)
    monkeypatch.setattr(keras_lars.callbacks.RecalibrateStatistics, "_write", write_first)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "execution", "update"),
    [
        # In mid-epoch, with micro-batches, a record, and layers that draw random numbers.
        (
            {"virtual_batch_size": 16},
            {"micro_batch_size": 32, "record_trust_ratios_every": 5},
            30,
        ),
        # At the end of an epoch of four updates, after which statistics are recomputed.
        (
            {
                "precision": "mixed_float16",
                "optimizer": "sgd",
                "learning_rate": 0.02,
                "global_batch_size": 359,
                "virtual_batch_size": 0,
            },
            {},
            4,
        ),
    ],
    ids=["accumulation-record", "loss-scaling-statistics-anew"],
)
def test_an_interrupted_run_ends_like_an_uninterrupted_one(
    fields, execution, update, monkeypatch, tmp_path
):
    handler = signal.getsignal(signal.SIGTERM)  # coverage, if it is measured, has its own
    recipe = dataclasses.replace(AUGMENTED, **fields)
    how = {"evaluate_training_images": 100, **execution}
    whole = loop.train(recipe, Execution(output_dir=str(tmp_path / "whole"), **how))
    assert whole["resumed_at_update"] is None

    again = Execution(output_dir=str(tmp_path / "again"), resume=True, **how)
    interrupt_at(monkeypatch, update)
    with pytest.raises(KeyboardInterrupt) as error:
        loop.train(recipe, again)
    said = re.fullmatch(r"interrupted by SIGTERM after update (\d+), saved", str(error.value))
    done = int(said[1])
    assert update <= done <= update + 1
    assert run_folder.result(tmp_path / "again") is None
    assert signal.getsignal(signal.SIGTERM) is handler

    if not recipe.virtual_batch_size:
        interrupt_outside_updates(monkeypatch, done)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt, match=f" after update {done + 4}, saved$"):
                loop.train(recipe, again)
        done += 4

    result = loop.train(recipe, again)
    assert result["resumed_at_update"] == done
    names = ["history.csv", *(["trust_ratios.csv"] if execution else [])]
    assert files(tmp_path / "again", *names) == files(tmp_path / "whole", *names)
    for found, expected in zip(weights(tmp_path / "again"), weights(tmp_path / "whole")):
        np.testing.assert_array_equal(found, expected)
    assert not (tmp_path / "again" / run_folder.BACKUP).exists()
    # A finished run is not trained again.
    before = files(tmp_path / "again", "result.json", "model.keras")
    assert loop.train(recipe, again) == result
    assert files(tmp_path / "again", "result.json", "model.keras") == before


@pytest.mark.slow
def test_a_killed_run_goes_back_to_its_last_backup(whole, monkeypatch, tmp_path):
    """As with SIGKILL: nothing is saved, and the tables have rows from after the backup."""
    again = Execution(
        output_dir=str(tmp_path / "again"), resume=True, backup_every_updates=15, **ASKED
    )

    class KilledError(Exception):
        pass

    def kill(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == 50:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Stop, "on_train_batch_end", kill)
        with pytest.raises(KilledError):
            loop.train(RECIPE, again)
    assert loop.train(RECIPE, again)["resumed_at_update"] == 45
    names = ["history.csv", "trust_ratios.csv"]
    assert files(tmp_path / "again", *names) == files(whole[0], *names)


@pytest.mark.slow
def test_a_run_killed_between_its_last_epoch_and_its_result(monkeypatch, tmp_path):
    execution = Execution(output_dir=str(tmp_path / "run"), resume=True)
    with monkeypatch.context() as patch:
        on_disk = []
        patch.setattr(loop, "synchronize", on_disk.append)

        def kill(plan):
            assert on_disk == [tmp_path / "run" / "model.keras"]
            raise KeyError("killed")

        patch.setattr(loop.report, "write_history", kill)
        with pytest.raises(KeyError, match="killed"):
            loop.train(RECIPE, execution)
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    write_json(path, {**config, "device": "that of another machine"})
    result = loop.train(RECIPE, execution)
    assert result["epochs"] == 3
    assert result["updates"] == result["resumed_at_update"] == 66
    assert json.loads(path.read_text()) == config


@pytest.mark.slow
def test_ctrl_c_interrupts_too(monkeypatch, tmp_path):
    interrupt_at(monkeypatch, 3, signal.SIGINT)
    # A shell that runs the tests in the background ignores it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt, match=r"by SIGINT after update \d, saved"):
            loop.train(RECIPE, Execution(output_dir=str(tmp_path / "run")))
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("replicas", "message"),
    [
        (None, r"--output_dir must be .* Received: .* cannot be read; delete it to start over\."),
        (2, r"--output_dir must be .* replicas as wrote it \(2\), .* Received: 1 replica"),
        (1, r"--output_dir must be .* Received: .* is of another optimizer, other\."),
    ],
    ids=["damaged", "replicas", "optimizer"],
)
def test_a_backup_that_cannot_be_restored(replicas, message, tmp_path):
    path = tmp_path / run_folder.BACKUP / "backup.npz"
    path.parent.mkdir()
    if replicas:
        _backup_file.write(path, Header(Position(1, 0, 5), replicas, "other", None, {}), {})
    else:
        path.write_bytes(b"damaged")
    config = {"recipe": dataclasses.asdict(RECIPE), "micro_batch_size": 0}
    write_json(tmp_path / "config.json", config)
    before = files(tmp_path, "config.json", f"{run_folder.BACKUP}/backup.npz")
    with pytest.raises(RecipeError, match=message) as error:
        loop.train(RECIPE, Execution(output_dir=str(tmp_path), resume=True))
    assert "\n" not in str(error.value)
    assert files(tmp_path, *before) == before


@pytest.mark.parametrize("method", ["on_train_batch_begin", "on_train_begin"])
def test_an_error_of_something_else_is_not_about_the_folder(method, tmp_path, monkeypatch):
    def fail(*arguments, **named):
        raise ValueError("a fault")

    monkeypatch.setattr(callbacks.StopAtDivergence, method, fail)
    with pytest.raises(ValueError, match=r"^a fault$"):
        loop.train(RECIPE, Execution(output_dir=str(tmp_path)))


def history_of(path, start, has_training_columns, **logs):
    """The rows of a table after one more epoch, which a run that resumes at `start` writes."""
    callbacks.History(path, start, has_training_columns).on_epoch_end(start, logs)
    return run_folder.read_table(path)


@pytest.mark.parametrize("first", [True, False])
def test_the_columns_of_the_history_may_change_when_a_run_resumes(first, tmp_path):
    logs = {"loss": 1.0, **({"train_loss": 2.0} if first else {})}
    before = history_of(tmp_path / "history.csv", 0, first, **logs)
    logs = {"loss": 3.0, **({} if first else {"train_loss": 4.0})}
    after = history_of(tmp_path / "history.csv", 1, not first, **logs)
    assert [row["epoch"] for row in after] == [0, 1]
    assert [row["loss"] for row in after] == [1.0, 3.0]
    assert [row["train_loss"] for row in after] == ([2.0, None] if first else [None, 4.0])
    assert {name: after[0][name] for name in before[0]} == before[0]


def test_training_goes_on_without_a_history_that_cannot_be_written(tmp_path, monkeypatch):
    history, full = callbacks.History(tmp_path / "history.csv", 0, False), OSError("no space")
    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "write_table", mock.Mock(side_effect=full))
        with pytest.warns(match=r"history of epoch 1 could not be written \(no space\), and train"):
            history.on_epoch_end(0, {"loss": 1.0})
        with pytest.raises(OSError, match="no space"):
            history.on_train_end()
    history.on_epoch_end(1, {"loss": 2.0})
    rows = run_folder.read_table(tmp_path / "history.csv")
    assert [row["loss"] for row in rows] == [1.0, 2.0]


@pytest.mark.parametrize(
    "text", [b"", b"\xff\x00", b"hello\n1\n", b"epoch,loss\r\n,1\r\n0,1,2\r\n"]
)
def test_an_epoch_that_a_damaged_history_lacks_is_blank(text, tmp_path):
    (tmp_path / "history.csv").write_bytes(text)
    rows = history_of(tmp_path / "history.csv", 1, False, loss=2.0)
    assert [(row["epoch"], row["loss"]) for row in rows] == [(0, None), (1, 2.0)]


@pytest.fixture
def stop():
    """A `Stop` of a model after three updates, for tests that send signals."""
    numbers = signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in before:
        signal.signal(number, signal.default_int_handler)
    backup = types.SimpleNamespace(save=mock.Mock(return_value=True))
    made = callbacks.Stop(backup)
    optimizer = types.SimpleNamespace(iterations=3)
    made.set_model(types.SimpleNamespace(optimizer=optimizer, stop_training=False))
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


def listening(stop, *actions):
    """How many actions are done until `stop` ends them, and what it says then."""
    done = 0
    try:
        with stop.listening():
            for action in actions:
                action()
                done += 1
    except KeyboardInterrupt as interruption:
        return done, str(interruption)
    return done, None


def sent(number):
    return functools.partial(signal.raise_signal, number)


def update(stop, signals=()):
    """Makes an update, in which signals arrive."""
    stop.on_train_batch_begin(0)
    for number in signals:
        signal.raise_signal(number)
    stop.on_train_batch_end(0)


def test_an_update_is_finished_and_all_else_is_stopped_at_once(stop):
    terminate, one_update = sent(signal.SIGTERM), functools.partial(update, stop)
    saved = "interrupted by SIGTERM after update 3, saved"
    assert listening(stop, terminate, one_update) == (1, saved)  # before the first update
    for actions in (
        (functools.partial(update, stop, [signal.SIGTERM]),),
        (one_update, terminate),  # such as in a validation
    ):
        stop._received = None
        assert listening(stop, *actions) == (len(actions) - 1, saved)
    assert stop.backup.save.call_count == 3


def test_only_a_second_ctrl_c_ends_the_save(stop):
    terminate, interrupt = sent(signal.SIGTERM), sent(signal.SIGINT)
    actions = [functools.partial(update, stop), terminate]
    stop.backup.save = lambda: [terminate(), interrupt()]
    assert listening(stop, *actions) == (1, "interrupted by SIGTERM after update 3, saved")
    stop._received = None
    stop.backup.save = lambda: [interrupt(), interrupt()]
    assert listening(stop, *actions) == (1, "")


def test_python_may_be_unable_to_raise_where_a_signal_arrives(stop):
    """As in a `__del__`. The next batch notices it."""

    def ignored():
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)

    actions = [functools.partial(update, stop), ignored, lambda: stop.on_test_batch_end(0)]
    assert listening(stop, *actions) == (2, "interrupted by SIGTERM after update 3, saved")


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs a POSIX system")
def test_a_terminal_that_closes_interrupts_unless_that_is_ignored(stop):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop.listening():
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    actions = [functools.partial(update, stop), sent(signal.SIGHUP)]
    stop.model.stop_training = True  # a training that has diverged is over, and must not be resumed
    assert listening(stop, *actions) == (2, None)
    assert signal.getsignal(signal.SIGHUP) == signal.default_int_handler
    stop.model.stop_training = False
    stop.backup = None
    message = "interrupted by SIGHUP after update 3, to be continued from the last backup"
    assert listening(stop, *actions) == (0, message)


def test_signals_are_left_alone_outside_the_main_thread():
    before = signal.getsignal(signal.SIGTERM)
    inside = []

    def listen():
        with callbacks.Stop(None).listening():
            inside.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert inside == [before]


@pytest.mark.slow
def test_statistics_are_recomputed_after_few_updates(tmp_path):
    """Twelve updates leave 28 % of the initial statistics, and 66 leave 0.1 %."""
    few = dataclasses.replace(RECIPE, global_batch_size=359, dropout=0.0)
    found = {}
    for recipe, anew in ((few, True), (few, False), (RECIPE, True)):
        execution = Execution(output_dir=str(tmp_path / "run"), recalibrate_statistics=anew)
        made = plan.make_plan(recipe, execution)
        with loop.compiled_model(made) as model:
            text = report.summary(made, model)
        callbacks_of_it = loop._statistics(made, model, WHOLE)
        found[recipe.global_batch_size, anew] = [type(each).__name__ for each in callbacks_of_it]
        assert ("statistics recomputed" in text) == (len(callbacks_of_it) == 2)
    assert found == {
        (359, True): ["AverageStatistics", "RecalibrateStatistics"],
        (359, False): ["AverageStatistics"],
        (64, True): ["AverageStatistics"],
    }
    for anew in (True, False):
        execution = Execution(output_dir=str(tmp_path / str(anew)), recalibrate_statistics=anew)
        loop.train(few, execution)
        config = json.loads((tmp_path / str(anew) / "config.json").read_text())
        assert config["statistics_taken_anew"] == anew
    ends = [weights(tmp_path / name) for name in ("True", "False")]
    model = keras.saving.load_model(tmp_path / "True" / "model.keras")
    moving = {i for i, v in enumerate(model.weights) if "moving" in v.name}
    for i, (anew, left) in enumerate(zip(*ends)):
        assert np.array_equal(anew, left) == (i not in moving)
    # They are those of the epoch's batches, so recomputing them again changes nothing.
    made = plan.make_plan(few, Execution(output_dir=str(tmp_path / "run")))
    again = loop._statistics(made, model, WHOLE)[1]
    again.set_model(model)
    again.on_test_begin()
    for i in sorted(moving):
        np.testing.assert_allclose(model.weights[i], ends[0][i], rtol=1e-6)


@pytest.mark.slow
def test_divergence_names_the_update(tmp_path):
    recipe = dataclasses.replace(
        RECIPE, optimizer="sgd", learning_rate=1e25, start_learning_rate=1e25
    )
    result = loop.train(recipe, Execution(output_dir=str(tmp_path / "run")))
    assert result["diverged"]
    # The first update ruins the weights, and the third is the first to notice.
    assert result["diverged_at_update"] == 3
    assert result["updates"] == 3
    assert result["epochs"] == 1
    assert "NaN" not in (tmp_path / "run" / "history.json").read_text()
    run = {"recipe": dataclasses.asdict(recipe), "result": result}
    assert "| diverged |" in collect.table([run])


@pytest.mark.slow
def test_the_same_seed_repeats_exactly(whole, tmp_path):
    same, other = (Execution(output_dir=str(tmp_path / name), **ASKED) for name in ("a", "b"))
    loop.train(RECIPE, same)
    loop.train(dataclasses.replace(RECIPE, seed=1, epochs=2), other)
    assert files(tmp_path / "a", "history.csv") == files(whole[0], "history.csv")
    first_rows = [
        (folder / "history.csv").read_bytes().splitlines()[1]
        for folder in (tmp_path / "a", tmp_path / "b")
    ]
    assert first_rows[0] != first_rows[1]


@pytest.mark.slow
def test_sgd_is_trained_in_the_same_loop(tmp_path):
    recipe = dataclasses.replace(RECIPE, optimizer="sgd", epochs=1, warmup_epochs=0.0)
    assert loop.train(recipe, Execution(output_dir=str(tmp_path)))["epochs"] == 1
    model = keras.saving.load_model(tmp_path / "model.keras")
    assert model.optimizer.name == "sgd"
    assert not any(row.adapted for row in model.optimizer.variable_table())


@pytest.mark.slow
def test_validation_by_interval_and_training_images_without_dropout(whole):
    folder, result = whole
    history = json.loads((folder / "history.json").read_text())
    for name in ("val_loss", "val_accuracy", "train_loss", "train_accuracy"):
        assert [value is None for value in history[name]] == [True, False, False]
    assert result["validation_accuracy"] == history["val_accuracy"][-1]
    assert None not in history["loss"]
    # The same as `evaluate` gives for the saved model, so without dropout.
    made = plan.make_plan(RECIPE, Execution())
    model = keras.saving.load_model(folder / "model.keras")
    batches = made.data_set.training_as_held_out(made.view, 64, 1437)
    found = model.evaluate(batches, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(history["train_loss"][-1], rel=1e-5)
    assert found["accuracy"] == pytest.approx(history["train_accuracy"][-1])


@pytest.mark.slow
def test_micro_batches_equal_whole_batches(tmp_path):
    """Without normalization and dropout, which depend on how many images are seen at once."""
    recipe = dataclasses.replace(
        RECIPE, width=0.5, dropout=0.0, epochs=1, warmup_epochs=0.5, weight_decay=0.01
    )
    ends = []
    for micro in (0, 16):
        folder = tmp_path / str(micro)
        execution = Execution(output_dir=str(folder), micro_batch_size=micro)
        assert loop.train(recipe, execution)["updates"] == 22
        model = keras.saving.load_model(folder / "model.keras")
        ends.append([np.array(v) for v in model.trainable_variables])
    for whole, parts in zip(*ends):
        np.testing.assert_allclose(parts, whole, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(precision, tmp_path):
    recipe = dataclasses.replace(RECIPE, precision=precision, epochs=1, warmup_epochs=0.0)
    result = loop.train(recipe, Execution(output_dir=str(tmp_path)))
    model = keras.saving.load_model(tmp_path / "model.keras")
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    assert model.layers[-2].compute_dtype == precision.removeprefix("mixed_")
    name = type(model.optimizer).__name__
    assert name == ("LossScaleOptimizer" if precision == "mixed_float16" else "LARS")
    assert not result["diverged"]
    assert keras.config.dtype_policy().name == "float32"  # restored


@pytest.mark.slow
def test_tensorboard(whole):
    assert list((whole[0] / "tensorboard").rglob("events.out.tfevents.*"))


@pytest.mark.slow
def test_trust_ratios_of_a_run(whole):
    rows = run_folder.read_table(whole[0] / "trust_ratios.csv")
    assert sorted({row["update"] for row in rows}) == [1, 11, 21, 31, 41, 51, 61]
    model = keras.saving.load_model(whole[0] / "model.keras")
    assert [row["variable"] for row in rows if row["update"] == 11] == [
        v.path for v in model.trainable_variables
    ]
    least = {v.path: 0.05 * v.shape[-1] ** 0.5 for v in model.trainable_variables}
    for row in rows:
        decay = RECIPE.weight_decay if row["variable"].endswith("kernel") else 0
        if row["gradient_norm"]:
            expected = 1e-3 * max(row["weight_norm"], least[row["variable"]])
            expected /= row["gradient_norm"] + decay * row["weight_norm"]
            assert row["trust_ratio"] == pytest.approx(expected, rel=1e-5)
        assert row["epoch"] == row["update"] / 22
    assert rows[0]["learning_rate"] == 0  # the first update of the ramp


@pytest.mark.slow
def test_sgd_is_momentum_with_the_decay_in_the_gradient():
    recipe = dataclasses.replace(
        recipes.override(optimizer="sgd"), learning_rate=0.1, decay="constant", warmup_epochs=0.0
    )
    made = plan.make_plan(recipe, Execution())
    ours = optimizers.make(made)
    kernel, bias = keras.Variable(np.ones((1, 3))), keras.Variable(np.ones(3))
    w, v = np.ones(3), np.zeros(3)
    for step in range(3):
        gradient = np.array([1.0, -2.0, step], "float32")
        ours.apply([keras.ops.array([gradient]), keras.ops.array(gradient)], [kernel, bias])
        v = recipe.momentum * v + 0.1 * (gradient + recipe.weight_decay * w)
        w = w - v
    np.testing.assert_allclose(kernel.numpy()[0], w, rtol=1e-6)
    theirs = keras.optimizers.SGD(0.1, momentum=recipe.momentum)
    free = keras.Variable(np.ones(3))
    for step in range(3):
        theirs.apply([keras.ops.array([1.0, -2.0, step])], [free])
    np.testing.assert_allclose(bias.numpy(), free.numpy(), rtol=1e-6)


def test_schedules_of_recipes():
    made = plan.make_plan(
        dataclasses.replace(
            RECIPE,
            learning_rate=8.0,
            start_learning_rate=1.0,
            shift_decay=False,
            end_learning_rate=0.5,
        ),
        Execution(),
    )
    assert (made.warmup_updates, made.updates) == (22, 66)
    schedule = optimizers.schedule(made)
    rates = [float(schedule(update)) for update in (0, 11, 22, 66)]
    assert rates == pytest.approx([1.0, 4.5, 0.5 + 7.5 * (2 / 3) ** 2, 0.5], rel=1e-6)
    cosine = dataclasses.replace(
        RECIPE, learning_rate=8.0, decay="cosine", warmup_power=2.0, end_learning_rate=2.0
    )
    schedule = optimizers.schedule(plan.make_plan(cosine, Execution()))
    rates = [float(schedule(update)) for update in (0, 11, 22, 44, 66)]
    assert rates == pytest.approx([0.0, 2.0, 8.0, 5.0, 2.0], rel=1e-6)


def test_label_smoothing_is_that_of_keras():
    random = np.random.default_rng(0)
    logits = random.normal(size=(5, 7)).astype("float32")
    labels = np.array([0, 6, 3, 3, 1])
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    expected = float(theirs(np.eye(7)[labels], logits))
    ours = losses.cross_entropy(0.1)
    assert float(ours(labels, logits)) == pytest.approx(expected, rel=1e-6)
    copy = losses.SmoothedCrossEntropy.from_config(ours.get_config())
    assert float(copy(labels, logits)) == pytest.approx(expected, rel=1e-6)


def test_estimates():
    made = plan.make_plan(RECIPE, Execution(micro_batch_size=32))
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(name="flat")])
    model.add(keras.layers.Dense(10, use_bias=False))
    # Weight, gradient, velocity and accumulator; then the input, the same flattened, ten outputs.
    assert estimate.memory_bytes(made, model, replicas=2) == 4 * 4 * 640 + 4 * 16 * (64 + 10)
    one = estimate.training_seconds(made, model, replicas=1)
    assert 0 < one < 60
    assert [words.duration(s) for s in (119, 120, 7199, 7200, 4e5)] == [
        "119 seconds",
        "2 minutes",
        "120 minutes",
        "2 hours",
        "5 days",
    ]


@pytest.mark.parametrize(
    ("fields", "execution", "message"),
    [
        ({}, {"micro_batch_size": 48}, "--micro_batch_size must divide --global_batch_size, which"),
        ({"global_batch_size": 2000}, {}, "--global_batch_size must be at most 1437, "),
        ({"warmup_epochs": 3.0}, {}, "--warmup_epochs must be less than --epochs"),
    ],
)
def test_impossible_plans_are_refused(fields, execution, message):
    with pytest.raises(RecipeError, match=message):
        plan.make_plan(dataclasses.replace(RECIPE, **fields), Execution(**execution))


@pytest.mark.parametrize(
    ("fields", "micro_batch_size", "message"),
    [
        ({"global_batch_size": 65}, 0, "--global_batch_size must be .* 2, the .* Received: 65"),
        ({"global_batch_size": 65}, 5, "--micro_batch_size must be .* 2, the .* Received: 5"),
        ({"virtual_batch_size": 24}, 0, "--virtual_batch_size must divide the 32 .* Received: 24"),
    ],
    ids=["global", "micro", "virtual"],
)
def test_batches_that_two_replicas_cannot_share(fields, micro_batch_size, message):
    plan.check_replicas(plan.make_plan(RECIPE, Execution()), 2)
    # A virtual batch may be larger than the batch of a replica.
    larger = dataclasses.replace(RECIPE, virtual_batch_size=48)
    plan.check_replicas(plan.make_plan(larger, Execution()), 2)
    made = plan.make_plan(
        dataclasses.replace(RECIPE, **fields), Execution(micro_batch_size=micro_batch_size)
    )
    with pytest.raises(RecipeError, match=message):
        plan.check_replicas(made, 2)
