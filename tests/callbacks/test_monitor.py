"""`TrustRatioMonitor`: what it writes, what it warns of, and when."""

import csv
import errno
import json
import os
import shutil
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.backups import After
from support.models import FEATURES, batch, compiled

import keras_lars
from keras_lars._monitoring import anomalies, history
from keras_lars.callbacks import BackupAndRestore, TrustRatioMonitor, _recording

pytestmark = pytest.mark.slow

COLUMNS = "update,epoch,variable,weight_norm,gradient_norm,trust_ratio,learning_rate"
RATE = keras.optimizers.schedules.PolynomialDecay(0.5, 16, 0.125)


def network():
    """One whose paths are the same however often it is made."""
    x = inputs = keras.Input((FEATURES,))
    for name in ("a", "b"):
        x = keras.layers.Dense(FEATURES, activation="tanh", name=name)(x)
    return keras.Model(inputs, keras.layers.Dense(1, name="head")(x))


def make_lars(learning_rate=0.5, **options):
    return keras_lars.LARS(learning_rate, record_trust_ratios=True, jit_compile=False, **options)


def eager(build, optimizer):
    """Where only what is written matters: tracing takes longer than the few steps do."""
    return compiled(build, optimizer, run_eagerly=True)


def fit(model, *monitors, epochs=2, size=16, batch_size=4, **options):
    """Four batches an epoch."""
    x, y = batch(0, size)
    options = {"shuffle": False, "verbose": 0, **options}
    return model.fit(x, y, batch_size, epochs, callbacks=list(monitors), **options)


def rows_of(folder):
    with open(folder / "trust_ratios.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def updates(folder):
    """The updates that were recorded, each once."""
    return list(dict.fromkeys(int(row["update"]) for row in rows_of(folder)))


class ByHand(keras.callbacks.Callback):
    """What the optimizer itself says after every batch."""

    def on_train_begin(self, logs=None):
        self.seen = {}

    def on_train_batch_end(self, batch, logs=None):
        self.seen[int(self.model.optimizer.iterations)] = dict(self.model.optimizer.trust_ratios)


def test_rows_are_what_the_optimizer_recorded(tmp_path):
    model = compiled(network, make_lars(RATE))
    by_hand = ByHand()
    formats = ["csv", "jsonl"]
    fit(model, TrustRatioMonitor(tmp_path, 3, formats, verbose=False), by_hand)
    rows = rows_of(tmp_path)
    assert list(rows[0]) == COLUMNS.split(",")
    assert updates(tmp_path) == [1, 4, 7]
    assert len(rows) == 3 * len(model.trainable_variables)
    for row in rows:
        update = int(row["update"])
        expected = by_hand.seen[update][row["variable"]]
        assert [float(row[name]) for name in expected._fields] == list(expected)
        assert float(row["epoch"]) == update / 4
        assert float(row["learning_rate"]) == float(RATE(update - 1))
    with open(tmp_path / "trust_ratios.jsonl", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    assert [{k: str(v) for k, v in line.items()} for line in lines] == rows


def test_every_epoch(tmp_path):
    model = eager(network, make_lars())
    fit(model, TrustRatioMonitor(tmp_path, verbose=False), epochs=3)
    assert updates(tmp_path) == [4, 8, 12]
    assert sorted({float(row["epoch"]) for row in rows_of(tmp_path)}) == [1, 2, 3]


def test_the_rate_is_that_of_the_update(tmp_path):
    model = eager(network, make_lars())
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: 0.5 / (epoch + 1))
    fit(model, TrustRatioMonitor(tmp_path, verbose=False), scheduler)
    assert sorted({float(row["learning_rate"]) for row in rows_of(tmp_path)}) == [0.25, 0.5]


def test_the_description(tmp_path):
    model = eager(network, make_lars(RATE, nesterov=True))
    fit(model, TrustRatioMonitor(tmp_path, verbose=False), epochs=1)
    description = json.loads((tmp_path / "variables.json").read_text())
    assert description["optimizer"]["learning_rate"]["config"] == RATE.get_config()
    assert description["optimizer"]["nesterov"] is True
    assert description["optimizer"]["weight_decay"] == 5e-4
    assert description["versions"]["keras"] == keras.__version__
    table = model.optimizer.variable_table()
    rows = [{**row, "shape": tuple(row["shape"])} for row in description["variables"]]
    assert rows == [row._asdict() for row in table]


def test_the_table_comes_first(tmp_path, capsys):
    model = eager(network, make_lars())
    monitor = TrustRatioMonitor(tmp_path)
    fit(model, monitor)
    fit(model, monitor)
    printed = capsys.readouterr().out
    assert printed.startswith("TrustRatioMonitor writes to ")
    assert "6 variables, 6 of them adapted, 3 decayed" in printed.splitlines()[0]
    assert printed.count(str(model.optimizer.variable_table())) == 1


def test_under_accumulation_updates_are_counted(tmp_path):
    model = compiled(network, make_lars(gradient_accumulation_steps=2))
    fit(model, TrustRatioMonitor(tmp_path, 2, verbose=False), epochs=3)
    assert updates(tmp_path) == [1, 3, 5]
    assert sorted({float(row["epoch"]) for row in rows_of(tmp_path)}) == [0.5, 1.5, 2.5]


def test_updates_of_batches_that_grow_are_counted(tmp_path):
    model = eager(network, make_lars(gradient_accumulation_steps={0: 1, 2: 2, 4: 3}))
    fit(model, TrustRatioMonitor(tmp_path, 2, verbose=False), epochs=3)  # 12 batches, 6 updates
    assert updates(tmp_path) == [1, 3, 5]
    assert sorted({float(row["epoch"]) for row in rows_of(tmp_path)}) == [0.25, 1.0, 2.25]
    description = json.loads((tmp_path / "variables.json").read_text())
    assert description["optimizer"]["gradient_accumulation_steps"] == {"0": 1, "2": 2, "4": 3}


def test_inside_loss_scaling_a_step_that_is_skipped_is_no_update(tmp_path):
    # Such gradients are infinite until the scale is halved a few times.
    optimizer = keras.optimizers.LossScaleOptimizer(make_lars(), initial_scale=1e38)
    model = compiled(network, optimizer, loss=lambda y, x: keras.ops.mean(10 * (y - x) ** 2))
    by_hand = []
    after = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: by_hand.append(int(optimizer.iterations))
    )
    fit(model, TrustRatioMonitor(tmp_path, 1, verbose=False), after)
    assert by_hand[0] == 0, "no step was skipped"
    assert updates(tmp_path) == list(range(1, by_hand[-1] + 1))
    assert by_hand[-1] > 1
    assert len(rows_of(tmp_path)) == by_hand[-1] * len(model.trainable_variables)


def test_executions_of_several_steps_record_their_last(tmp_path):
    model = compiled(network, make_lars(), steps_per_execution=2)
    fit(model, TrustRatioMonitor(tmp_path, 3, verbose=False), epochs=2)
    # 1, 4 and 7 are due; what can be seen is after 2, 4, 6 and 8.
    assert updates(tmp_path) == [2, 4, 8]


def test_the_last_execution_of_an_epoch_may_be_a_short_one(tmp_path):
    model = compiled(network, make_lars(), steps_per_execution=3)
    fit(model, TrustRatioMonitor(tmp_path, 1, verbose=False), epochs=2)
    epochs = {row["update"]: float(row["epoch"]) for row in rows_of(tmp_path)}
    assert epochs == {"3": 0.75, "4": 1.0, "7": 1.75, "8": 2.0}


def test_a_second_fit_goes_on(tmp_path):
    model = eager(network, make_lars())
    monitor = TrustRatioMonitor(tmp_path, 3, verbose=False)
    fit(model, monitor, epochs=1)
    fit(model, monitor, epochs=1)
    assert updates(tmp_path) == [1, 4, 7]
    # So does one of another callback, and another training begins anew.
    fit(model, TrustRatioMonitor(tmp_path, 3, verbose=False), epochs=1)
    assert updates(tmp_path) == [1, 4, 7, 10]
    fit(eager(network, make_lars()), TrustRatioMonitor(tmp_path, 3, verbose=False), epochs=1)
    assert updates(tmp_path) == [1, 4]


@pytest.mark.parametrize("first", [True, False], ids=["before the backup", "after it"])
def test_a_training_that_is_restored_leaves_no_gap_and_no_row_twice(first, tmp_path):
    class Interruption(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.optimizer.iterations) == 7:
                raise KeyboardInterrupt

    def train(folder, *callbacks):
        model = eager(network, make_lars(RATE))
        monitor = TrustRatioMonitor(folder, 2, ["csv", "jsonl"], verbose=False)
        backup = BackupAndRestore(folder / "backup", save_freq=3)
        order = [monitor, backup] if first else [backup, monitor]
        fit(model, *order, *callbacks, epochs=3)

    train(tmp_path / "whole")
    # Update 7 was recorded, the backup is of update 6.
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", Interruption())
    assert updates(tmp_path / "parts")[-1] == 7
    with open(tmp_path / "parts" / "trust_ratios.jsonl", "a", encoding="utf-8") as file:
        file.write('{"update": 7, "ep')  # as a process leaves it that is killed
    train(tmp_path / "parts")
    for name in ("trust_ratios.csv", "trust_ratios.jsonl"):
        whole, parts = (tmp_path / which / name for which in ("whole", "parts"))
        assert parts.read_text() == whole.read_text()
    assert updates(tmp_path / "parts") == [1, 3, 5, 7, 9, 11]


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize(
    ("event", "length"),
    [
        ("on_train_batch_end", "known"),
        ("on_test_batch_end", "known"),
        ("on_test_batch_end", "unknown"),
    ],
)
def test_an_interruption_at_the_end_of_an_epoch_leaves_no_gap(event, length, tmp_path):
    class Interruption(keras.callbacks.Callback):
        def interrupt(self, batch, logs=None):
            if int(self.model.optimizer.iterations) == 8:
                backup.save()
                raise KeyboardInterrupt

    setattr(Interruption, event, Interruption.interrupt)
    data = tf.data.Dataset.from_tensor_slices(batch(0, 16)).batch(4)
    if length == "unknown":
        data = data.filter(lambda x, y: True)

    def train(name, *callbacks):
        model = eager(network, make_lars(RATE))
        monitor = TrustRatioMonitor(tmp_path / name, formats=["csv", "jsonl"], verbose=False)
        callbacks = [monitor, *callbacks]
        model.fit(data, epochs=3, validation_data=batch(0, 4), callbacks=callbacks, verbose=0)

    train("whole")
    for _ in range(2):
        backup = BackupAndRestore(tmp_path / "backup")
        with pytest.raises(KeyboardInterrupt):
            train("parts", backup, Interruption())
    train("parts", BackupAndRestore(tmp_path / "backup"))
    for file in ("trust_ratios.csv", "trust_ratios.jsonl"):
        whole, parts = (tmp_path / name / file for name in ("whole", "parts"))
        assert parts.read_text() == whole.read_text()
    assert updates(tmp_path / "parts") == [4, 8, 12]


def test_a_validation_of_its_own_is_not_recorded(tmp_path):
    model = eager(network, make_lars())
    monitor = TrustRatioMonitor(tmp_path, verbose=False)
    fit(model, monitor, epochs=1)
    fit(model, epochs=1)
    model.evaluate(*batch(0, 4), verbose=0, callbacks=[monitor])
    assert updates(tmp_path) == [4]


def events(folder, first=0):
    """The values of TensorBoard's files: scalars and histograms by tag and step."""
    paths = [str(path) for path in sorted(folder.glob("events*"))][first:]
    for record in tf.data.TFRecordDataset(paths):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            yield (value.tag, event.step), tf.make_ndarray(value.tensor)


def test_tensorboard(tmp_path):
    model = eager(network, make_lars(RATE))
    fit(model, TrustRatioMonitor(tmp_path, 2, ["tensorboard", "csv"], verbose=False))
    found = dict(events(tmp_path / "tensorboard"))
    rows = rows_of(tmp_path)
    layers = {}
    for row in rows:
        step = int(row["update"])
        values = {name: float(row[name]) for name in list(row)[3:]}
        values["local_learning_rate"] = values["learning_rate"] * values["trust_ratio"]
        rate = values.pop("learning_rate")
        assert found["learning_rate", step] == np.float32(rate)
        for name, value in values.items():
            assert found[f"{name}/{row['variable']}", step] == np.float32(value)
        epoch_end = 4 if step <= 4 else 8
        layer = row["variable"].split("/")[0]
        layers.setdefault((f"trust_ratios/{layer}", epoch_end), []).append(values["trust_ratio"])
    # The distributions: buckets of (from, to, count).
    assert len(layers) == 3 * 2
    for key, ratios in layers.items():
        buckets = found[key]
        assert buckets[:, 2].sum() == len(ratios)
        assert buckets[0, 0] <= min(ratios)
        assert buckets[-1, 1] >= max(ratios) * (1 - 1e-6)


def test_without_its_folder_training_goes_on(tmp_path):
    folder = tmp_path / "log"
    monitor = TrustRatioMonitor(folder, 1, ["csv", "tensorboard"], verbose=False)
    model = eager(network, make_lars())
    with pytest.warns(match="could not write") as caught:
        fit(model, After(3, lambda: shutil.rmtree(folder)), monitor)
    (message,) = (str(each.message) for each in caught if "could not" in str(each.message))
    missing = os.strerror(errno.ENOENT)
    assert message == (
        f"`TrustRatioMonitor` could not write '{folder / 'trust_ratios.csv'}' ({missing}) and "
        f"'{folder / 'tensorboard'}' ({missing}). Training continues without these rows, and the "
        "next record tries again: free disk space, or make the folder writable. What was deleted "
        "is created again."
    )
    assert updates(folder) == [4, 5, 6, 7, 8]
    assert len(history.read(folder / "trust_ratios.csv").description.variables) == 6
    shown = dict(events(folder / "tensorboard"))
    assert {step for tag, step in shown if tag == "learning_rate"} == {4, 5, 6, 7, 8}
    counts = [shown["trust_ratios/a", step][:, 2].sum() for step in (4, 8)]
    assert counts == [2, 8]  # kernel and bias, in one update and in four


def test_while_the_disk_is_full_training_goes_on(tmp_path):
    """The limit of a file's size stands for the disk's. A few more bytes can be written."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    names, kept = ["trust_ratios.csv", "trust_ratios.jsonl"], []

    def fill():
        kept.extend((tmp_path / name).read_bytes() for name in names)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(kept[0]) + 50, limits[1]))

    def free():
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        kept.append(sorted(path.name for path in tmp_path.iterdir()))
        assert [(tmp_path / name).read_bytes() for name in names] == kept[:2]

    monitor = TrustRatioMonitor(tmp_path, 1, ["csv", "jsonl", "tensorboard"], verbose=False)
    model = eager(network, make_lars())
    try:
        with pytest.warns(match="could not write") as caught:
            fit(model, After(3, fill), After(5, free), monitor)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (message,) = (str(each.message) for each in caught if "could not" in str(each.message))
    assert message.count(os.strerror(errno.EFBIG)) == 3
    assert kept[2] == ["tensorboard", *names, "variables.json"]
    for name in names:
        assert history.read(tmp_path / name).updates.tolist() == [1, 2, 5, 6, 7, 8]
    shown = dict(events(tmp_path / "tensorboard", first=-1))
    assert {step for tag, step in shown if tag == "learning_rate"} == {5, 6, 7, 8}


def test_two_replicas(strategy, tmp_path):
    single = compiled(network, make_lars(RATE))
    with strategy.scope():
        mirrored = compiled(network, keras_lars.LossScaleOptimizer(make_lars(RATE)))
    for model, name in ((single, "single"), (mirrored, "mirrored")):
        fit(model, TrustRatioMonitor(tmp_path / name, 3, verbose=False))
    expected, found = rows_of(tmp_path / "single"), rows_of(tmp_path / "mirrored")
    assert len(found) == 3 * len(single.trainable_variables)
    for a, b in zip(expected, found, strict=True):
        assert a["variable"] == b["variable"]
        for name in ("update", "epoch", "weight_norm", "gradient_norm", "trust_ratio"):
            assert float(b[name]) == pytest.approx(float(a[name]), rel=1e-4)


def test_only_the_chief_writes(tmp_path, monkeypatch, capsys):
    from keras_lars import _replicas

    monkeypatch.setattr(_replicas, "is_chief", lambda strategy: False)
    model = eager(network, make_lars())
    fit(model, TrustRatioMonitor(tmp_path / "folder"), TrustRatioMonitor(tmp_path / "other", 1))
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_variables_that_share_a_path_go_by_position(tmp_path):
    class Twice(keras.layers.Layer):
        def build(self, shape):
            self.one = self.add_weight(shape=(FEATURES, 1), name="kernel")
            self.two = self.add_weight(shape=(FEATURES, 1), name="kernel")

        def call(self, x):
            return x @ self.one + x @ self.two

    model = eager(lambda: keras.Sequential([Twice()]), make_lars())
    fit(model, TrustRatioMonitor(tmp_path, verbose=False), epochs=1)
    assert [row["variable"] for row in rows_of(tmp_path)] == ["0", "1"]


# What a person should know.


def warned(model, tmp_path, monitor=None, **options):
    """The warnings of a fit."""
    monitor = monitor or TrustRatioMonitor(tmp_path, 1, verbose=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model, monitor, **options)
    return [str(w.message) for w in caught if issubclass(w.category, UserWarning)]


def model_of(weights, optimizer):
    model = keras.Sequential(
        [keras.Input((FEATURES,)), keras.layers.Dense(2, name="a"), keras.layers.Dense(1, name="b")]
    )
    model.set_weights([np.full(w.shape, value) for w, value in zip(model.weights, weights)])
    model.compile(optimizer, "mse", run_eagerly=True)
    return model


def test_a_training_that_is_well_warns_of_nothing(tmp_path):
    # Biases of 0 are no kernels: their first step is what it is.
    model = model_of([1.0, 0.0, 1.0, 0.0], make_lars(0.05, trust_coefficient=0.01))
    assert warned(model, tmp_path) == []


def test_a_kernel_of_zeros(tmp_path):
    model = model_of([1.0, 0.5, 0.0, 0.5], make_lars(0.05, trust_coefficient=0.01))
    messages = warned(model, tmp_path)
    assert len(messages) == 2
    assert "All weights are 0" in messages[0]
    assert "`sequential" in messages[0]
    assert messages[0].count("/kernel`") == 1
    assert "b/kernel`" in messages[0]
    # What is before it gets no gradient at that step.
    assert "The gradient is 0" in messages[1]
    assert messages[1].count("/kernel`") == 1
    assert "a/kernel`" in messages[1]


def test_a_kernel_of_zeros_that_is_not_adapted(tmp_path):
    lars = make_lars(0.05, trust_coefficient=0.01, exclude_from_layer_adaptation="b/kernel")
    messages = warned(model_of([1.0, 0.5, 0.0, 0.5], lars), tmp_path)
    assert "The gradient is 0" in messages[0]
    assert not [message for message in messages if "All weights are 0" in message]


def test_what_is_not_finite(tmp_path):
    model = model_of([1.0, 0.5, np.inf, 0.5], make_lars(0.05, trust_coefficient=0.01))
    messages = warned(model, tmp_path)
    assert "is not finite" in messages[0]
    assert "b/kernel`" in messages[0]
    assert sum("b/kernel`" in message for message in messages) == 1, "warned twice"


def test_an_update_larger_than_the_weight(tmp_path):
    lars = make_lars(1000.0, exclude_from_layer_adaptation="bias", momentum=0, weight_decay=0)
    messages = warned(model_of([1.0, 0.5, 1.0, 0.5], lars), tmp_path, epochs=1, size=4)
    assert len(messages) == 1
    assert "more than its own norm" in messages[0]
    assert "a/bias`" in messages[0]
    assert "b/bias`" in messages[0]
    assert "kernel" not in messages[0]  # moved by exactly its norm


def test_a_variable_without_a_gradient(tmp_path):
    class Idle(keras.layers.Layer):
        def build(self, shape):
            self.idle = self.add_weight(shape=(2, 2), name="idle")

        def call(self, x):
            return x

    def build():
        return keras.Sequential([keras.Input((FEATURES,)), Idle(), keras.layers.Dense(1)])

    monitor = TrustRatioMonitor(tmp_path, 1, verbose=False)
    model = eager(build, make_lars(0.05, trust_coefficient=0.01))
    messages = warned(model, tmp_path, monitor)
    assert sum("had no gradient" in message for message in messages) == 1
    assert "idle`" in " ".join(messages)
    assert not [row for row in rows_of(tmp_path) if "idle" in row["variable"]]
    # Once, also in another epoch and another fit; and not if it is not adapted.
    assert not [m for m in warned(model, tmp_path, monitor) if "had no gradient" in m]
    model = eager(
        build, make_lars(0.05, trust_coefficient=0.01, exclude_from_layer_adaptation="idle")
    )
    assert not [m for m in warned(model, tmp_path) if "had no gradient" in m]


def test_many_are_named_together():
    found = [anomalies.Finding("zero weight", f"v{i}") for i in range(160)]
    (message,) = anomalies.messages(found)
    assert "`v0`, `v1`, `v2`, `v3`, `v4` and 155 more" in message


# Refusals.


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"log_dir": ""}, "`log_dir` must be a path"),
        ({"log_dir": None}, "`log_dir` must be a path"),
        ({"log_dir": b"log"}, "`log_dir` must be a path"),
        ({"log_dir": "a\0b"}, r"`log_dir` must be a path that the system accepts \(.* null"),
        ({"update_freq": 0}, "`update_freq` must be 'epoch', or an integer from 1 "),
        ({"update_freq": "batch"}, "`update_freq` must be 'epoch', or an integer from 1 "),
        ({"update_freq": 2**63}, "`update_freq` must be 'epoch', or an integer from 1 to 9"),
        ({"formats": "parquet"}, "`formats` must be one of 'csv', 'jsonl', 'tensorboard'"),
        ({"formats": []}, "`formats` must be one of"),
        ({"formats": None}, "`formats` must be one of"),
        ({"formats": ["csv", "csv"]}, "`formats` must be .* a list of them without repetition"),
        ({"formats": [["csv"]]}, "`formats` must be one of"),
        ({"verbose": 2}, "`verbose` must be one of False, True"),
    ],
)
def test_arguments(arguments, expected, tmp_path):
    with pytest.raises(ValueError, match=expected) as error:
        TrustRatioMonitor(**{"log_dir": tmp_path, **arguments})
    ((name, value),) = arguments.items()
    assert f"Received: {name}={value!r}" in str(error.value)


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"`log_dir` must name a folder\. Received a file"):
        TrustRatioMonitor(tmp_path / "file")


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (lambda: keras.optimizers.Adam(), "must be `keras_lars.LARS`.* Received: Adam"),
        (
            lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()),
            "must be `keras_lars.LARS`.* Received: SGD",
        ),
        (lambda: keras_lars.LARS(), "Received: record_trust_ratios=False"),
    ],
)
def test_optimizers_that_record_nothing(optimizer, expected, tmp_path):
    model = eager(network, optimizer())
    with pytest.raises(ValueError, match=expected):
        fit(model, TrustRatioMonitor(tmp_path))
    assert int(model.optimizer.iterations) == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("trust_ratios.csv", "epoch,loss\n0,1.0\n"),
        ("trust_ratios.csv", ""),
        ("trust_ratios.csv", COLUMNS + "\nx,1,2,3,4,5,6\n"),
        ("trust_ratios.jsonl", '{"epoch": 1}\n'),
        ("trust_ratios.jsonl", "hello\n"),
        ("trust_ratios.jsonl", "[1]\n"),
    ],
)
def test_a_file_of_something_else_is_left_alone(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    model = eager(network, make_lars())
    with pytest.raises(ValueError, match="must be a new folder, or hold a record"):
        fit(model, TrustRatioMonitor(tmp_path, formats=["csv", "jsonl"]))
    assert (tmp_path / name).read_text() == text
    assert int(model.optimizer.iterations) == 0


def test_a_read_only_folder_is_found_before_training(tmp_path, monkeypatch):
    def refuse(**options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(_recording.tempfile, "TemporaryFile", refuse)
    model = eager(network, make_lars())
    with pytest.raises(ValueError, match=r"`log_dir` must be .* written to. Received: .*Read-only"):
        fit(model, TrustRatioMonitor(tmp_path / "new"))
    assert int(model.optimizer.iterations) == 0
