"""A `fit` that trains after the end of its schedule gives one warning, at its beginning or end."""

import warnings

import keras
import pytest
from support.backups import After, InterruptionError
from support.models import batch, compiled, functional

import keras_lars
from keras_lars import _replicas
from keras_lars._fit_checks import FitChecks
from keras_lars.callbacks import BackupAndRestore, NoiseScaleMonitor, TrustRatioMonitor
from keras_lars.schedules import FitSchedule

pytestmark = pytest.mark.slow

USED_UP = "The schedule of optimizer 'lars' is used up"


def make_model(epochs=3, **options):
    """A model with a schedule of two batches per epoch."""
    schedule = FitSchedule(10, epochs, 8, 1.0)
    lars = keras_lars.LARS(schedule, record_trust_ratios=True, jit_compile=False, **options)
    return compiled(functional, lars, run_eagerly=True)


def fit(model, *callbacks, batch_size=8, epochs=3, data=None, **options):
    """Calls `fit`, and returns its warnings about the schedule."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        x, y = batch(0, 10) if data is None else (data, None)
        options = {"epochs": epochs, "callbacks": list(callbacks), "verbose": 0, **options}
        if data is None:
            options["batch_size"] = batch_size
        model.fit(x, y, **options)
    messages = [str(each.message) for each in caught]
    return [m for m in messages if "schedule" in m and "statistics" not in m]


def batches_of_unknown_number():
    while True:
        yield batch(0)


def test_a_second_fit_warns_at_its_end():
    model = make_model()
    assert fit(model) == []
    assert fit(model) == [
        "After the end of its schedule, optimizer 'lars' made 6 updates, at a learning rate of 0. "
        "Compile with a new schedule before each `fit`."
    ]
    assert fit(model, epochs=1) == []  # it is said once
    model.optimizer.learning_rate = FitSchedule(10, 3, 8, 1.0)
    (message,) = fit(model, epochs=1)
    assert "made 10 updates, at" in message


def test_one_update_too_many():
    model = make_model()
    fit(model)
    (message,) = fit(model, epochs=1, steps_per_epoch=1)
    assert "made 1 update, at" in message


def test_a_loaded_model(tmp_path):
    model = make_model()
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.compile(loaded.optimizer, "mse", run_eagerly=True)
    (message,) = fit(loaded)
    assert "made 6 updates, at" in message


def test_with_a_monitor_the_warning_comes_at_the_beginning(tmp_path):
    options = {"record_noise_scale": True, "gradient_accumulation_steps": 2}
    for monitor, given in (
        (TrustRatioMonitor(tmp_path, verbose=False), {}),
        (NoiseScaleMonitor(tmp_path, verbose=False), options),
    ):
        model = make_model(**given)
        size = 4 if given else 8
        assert fit(model, monitor, batch_size=size) == []
        with pytest.warns(UserWarning, match=USED_UP), pytest.raises(InterruptionError):
            model.fit(*batch(0), verbose=0, callbacks=[monitor, After(1)])
        assert fit(model, monitor, batch_size=size) == []  # it is said once
        assert fit(model, batch_size=size) == []


def test_the_message_at_the_beginning(tmp_path):
    model = make_model()
    monitor = TrustRatioMonitor(tmp_path, verbose=False)
    fit(model, monitor)
    assert fit(model, monitor) == [
        "The schedule of optimizer 'lars' is used up: it is for 6 updates, and this `fit` trains "
        "at a learning rate of 0. Compile with a new schedule before each `fit`."
    ]


def test_the_callback_of_prepared_models_warns_at_the_beginning(monkeypatch):
    model = make_model()
    wrapped = keras_lars.LossScaleOptimizer(model.optimizer)
    model.compile(wrapped, "mse", run_eagerly=True)
    assert fit(model, FitChecks()) == []
    with monkeypatch.context() as patch:
        patch.setattr(_replicas, "is_chief", lambda strategy: False)
        assert fit(model, FitChecks()) == []  # another worker warns
    (message,) = fit(model, FitChecks(), FitChecks())
    assert message.startswith(USED_UP)


def test_a_warning_about_the_batches_is_the_only_one():
    (message,) = fit(make_model(epochs=2))
    assert message.startswith("`fit` makes 6 batches, but this schedule is for 4")


def test_batches_of_unknown_number(tmp_path):
    endless = {"data": batches_of_unknown_number(), "steps_per_epoch": None, "epochs": 1}
    (message,) = fit(make_model(epochs=1), **{**endless, "steps_per_epoch": 5})
    assert "but this schedule is for 2" in message

    class Finite(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 4

    (message,) = fit(make_model(epochs=1), Finite(), **endless)
    assert "made 3 updates, at" in message


def test_a_new_schedule_and_a_schedule_in_parts():
    model = make_model()
    assert fit(model, epochs=3) == []
    model.compile(keras_lars.LARS(FitSchedule(10, 3, 8, 1.0), jit_compile=False), "mse")
    assert fit(model) == []
    # In parts: the first `fit` does not know that others follow.
    model = make_model()
    assert len(fit(model, epochs=1)) == 1
    assert fit(model, epochs=3, initial_epoch=1) == []
    assert len(fit(model, epochs=4, initial_epoch=3)) == 1


def test_leftover_batches_make_no_update(tmp_path):
    model = make_model(gradient_accumulation_steps=2)  # 9 batches; one is left over
    monitor = TrustRatioMonitor(tmp_path, verbose=False)
    assert fit(model, monitor, batch_size=4) == []
    assert int(model.optimizer.iterations) == model.optimizer._schedule.updates == 4


def test_early_stopping(tmp_path):
    stopping = keras.callbacks.EarlyStopping("loss", patience=0, min_delta=1e9)
    monitor = TrustRatioMonitor(tmp_path, verbose=False)
    model = make_model()
    assert fit(model, stopping, monitor) == []
    assert int(model.optimizer.iterations) == 4


@pytest.mark.parametrize("first", ["backup", "monitor"])
@pytest.mark.parametrize("after", [3, 6, None])
def test_a_restored_training(after, first, tmp_path):
    """After a batch in any epoch, or after its end. After the last batch, none are left."""

    def callbacks():
        backup = BackupAndRestore(tmp_path / "backup", 1, delete_checkpoint=False)
        monitor = TrustRatioMonitor(tmp_path / "run", verbose=False)
        return [backup, monitor][:: 1 if first == "backup" else -1]

    if after is None:
        assert fit(make_model(), *callbacks()) == []
    else:
        with pytest.raises(InterruptionError):
            fit(make_model(), *callbacks(), After(after))
    model = make_model()
    assert fit(model, *callbacks()) == []
    assert int(model.optimizer.iterations) == 6


def test_a_restored_training_with_more_epochs(tmp_path):
    def train(epochs, of_schedule):
        callbacks = [
            BackupAndRestore(tmp_path / "backup", delete_checkpoint=False),
            TrustRatioMonitor(tmp_path / "run", verbose=False),
        ]
        return fit(make_model(epochs=of_schedule), *callbacks, epochs=epochs)

    assert train(3, of_schedule=3) == []
    (message,) = train(4, of_schedule=4)  # `BackupAndRestore` warns that it is another one
    assert message.startswith("The learning-rate schedule is {")
    first, second = train(5, of_schedule=4)
    assert first.startswith("`fit` makes 10 batches, but this schedule is for 8")
    assert second.startswith(USED_UP)


def test_the_backup_of_keras(tmp_path):
    def train(*callbacks):
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup.weights.h5")
        model = make_model()
        return model, fit(model, TrustRatioMonitor(tmp_path, verbose=False), backup, *callbacks)

    with pytest.raises(InterruptionError):
        train(After(5))
    model, warned = train()
    assert (warned, int(model.optimizer.iterations)) == ([], 6)
