"""What `find_learning_rate` finds, and that it leaves no trace."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import backend_range_checks
from support.models import assert_equal

import keras_lars
from keras_lars import find_learning_rate

X = np.random.default_rng(0).normal(size=(256, 8)).astype("float32")
Y = (X.sum(axis=1) > 0).astype("int32")


def make_model(optimizer=None, **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(8),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dropout(0.1),
            keras.layers.Dense(2),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = optimizer or keras_lars.LARS(1.0)
    model.compile(optimizer, loss, metrics=["accuracy"], **options)
    return model


# Enough updates to leave a trace.
FEW = 12
with_few_updates = pytest.mark.filterwarnings(
    "ignore:With fewer than 100 updates", "ignore:The loss was lowest"
)


def find(model, data=(X, Y), **options):
    return find_learning_rate(model, data, batch_size=32, verbose=0, **options)


class Distance(keras.Model):
    """A model that predicts w, so that the loss is its squared distance from the targets."""

    def __init__(self):
        super().__init__()
        self.w = self.add_weight(shape=(1,), initializer="zeros")
        self.built = True

    def call(self, inputs):
        return 0 * inputs + self.w


ONES = (np.zeros((4, 1), "float32"), np.ones((4, 1), "float32"))


def distance(**options):
    model = Distance()
    model.compile(keras.optimizers.SGD(1.0, **options), "mse")
    return model


@pytest.mark.slow
def test_rates_are_a_geometric_ramp_and_losses_are_those_before_updates():
    with pytest.warns(UserWarning, match=r"beyond maximum_learning_rate=0\.1"):
        found = find(distance(), ONES, minimum_learning_rate=1e-3, maximum_learning_rate=0.1)
    rates = np.geomspace(1e-3, 0.1, 100)
    np.testing.assert_array_equal(found.rates, rates)
    distances = np.cumprod(1 - 2 * rates[:-1])  # of w from 1
    np.testing.assert_allclose(found.losses, [1, *distances**2], rtol=1e-4)
    expected = np.average(found.losses[:10], weights=0.8 ** np.arange(10)[::-1])
    np.testing.assert_allclose(found.smoothed[9], expected)
    assert found.learning_rate == 0.05


def test_an_accumulated_update_has_one_rate_and_the_mean_of_its_losses():
    targets = np.array([1.0, 3.0, 1.0, 3.0, 1.0], "float32").reshape(5, 1)
    data = tf.data.Dataset.from_tensor_slices((targets, targets)).batch(1).repeat()
    limits = {"minimum_learning_rate": 0.2, "maximum_learning_rate": 20.0}
    model = distance(gradient_accumulation_steps=2)
    with pytest.warns(UserWarning, match="updates=3"):
        found = find(model, data, updates=3, **limits)
    assert found.losses[0] == (1 + 9) / 2
    assert found.losses[1] == pytest.approx(((1 - 0.8) ** 2 + (3 - 0.8) ** 2) / 2)


def test_with_growing_accumulation_each_update_has_the_mean_of_its_losses():
    targets = np.array([1.0, 3.0, 1.0], "float32").reshape(3, 1)
    data = tf.data.Dataset.from_tensor_slices((targets, targets)).batch(1).repeat()
    model, steps = Distance(), {0: 2, 1: 1, 2: 3}
    lars = keras_lars.LARS(1.0, 0.0, 0.0, 0.0, gradient_accumulation_steps=steps)  # w stays 0
    model.compile(lars, "mse", run_eagerly=True)
    with pytest.warns(UserWarning, match=r"updates=3|The loss was lowest"):
        found = find(model, data, updates=3)
    np.testing.assert_allclose(found.losses, [(1 + 9) / 2, 1, (1 + 9 + 1) / 3])


def everything(model):
    """The values of all variables on all replicas."""
    results = model.distribute_strategy.experimental_local_results
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    variables += [*model.metrics_variables, *model.optimizer.variables]
    return [np.array(each.numpy()) for v in variables for each in results(v.value)]


def averaged_scaled_and_accumulated():
    inner = keras_lars.LARS(1.0, use_ema=True, gradient_accumulation_steps=3)
    return keras_lars.LossScaleOptimizer(inner)


@pytest.mark.slow
@with_few_updates
@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (averaged_scaled_and_accumulated, {"steps_per_execution": 4}),
        (lambda: keras.optimizers.Adam(1e-3), {}),
    ],
    ids=["lars", "adam"],
)
def test_training_continues_as_without_the_range_test(optimizer, options):
    tested, other = (make_model(optimizer(), **options) for _ in range(2))
    for model in (tested, other):
        keras.utils.set_random_seed(1)
        history = model.fit(X, Y, batch_size=32, epochs=1, verbose=0)
        before = everything(model)
        if model is tested:
            find(model, updates=FEW, minimum_learning_rate=1e-4)
            assert_equal(everything(model), before)
            assert model.history is history
            assert model.steps_per_execution == options.get("steps_per_execution", 1)
        model.fit(X, Y, batch_size=32, epochs=1, verbose=0)
    assert_equal(everything(tested), everything(other))


@pytest.mark.slow
@with_few_updates
def test_replicas_of_a_strategy_keep_their_own_statistics(strategy):
    with strategy.scope():
        model = make_model(jit_compile=False)
    model.fit(X, Y, batch_size=64, epochs=1, verbose=0)
    before = everything(model)
    find(model, updates=FEW)
    assert_equal(everything(model), before)


@pytest.mark.slow
def test_an_interrupted_test_leaves_no_trace():
    losses = iter(range(20))

    def interrupted(y, logits):
        if next(losses, None) is None:
            raise KeyboardInterrupt
        return keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True)

    model = make_model()
    model.compile(model.optimizer, interrupted, run_eagerly=True)
    model.train_on_batch(X[:2], Y[:2])
    before = everything(model)
    with pytest.raises(KeyboardInterrupt):
        find(model)
    assert_equal(everything(model), before)


@pytest.mark.slow
def test_lowest_at_the_first_rate_warns():
    with pytest.warns(UserWarning, match="beyond minimum_learning_rate=1.5"):
        find(distance(), ONES, minimum_learning_rate=1.5, maximum_learning_rate=3.0)


@pytest.mark.slow
def test_an_initial_loss_that_is_not_finite_raises():
    with pytest.raises(ValueError, match="a finite loss before training"):
        find(make_model(), (np.full_like(X, np.nan), Y))


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("updates", 1),
        ("updates", 100.0),
        ("minimum_learning_rate", 0.0),
        ("maximum_learning_rate", 0.5),
        ("maximum_learning_rate", float("inf")),
        ("batch_size", 0),
        ("verbose", 3),
        ("data", X),
        ("data", (X,)),
        ("data", (X, Y[:3])),
        ("data", (X[:0], Y[:0])),
        ("data", 3),
        ("data", ((X, Y) for _ in range(200))),
        ("data", tf.data.Dataset.from_tensor_slices((X[:0], Y[:0])).batch(2)),
        ("data", "abc"),
        ("model", None),
        ("model", keras.Sequential([keras.layers.Dense(1)])),
    ],
)
def test_bad_arguments(argument, value):
    arguments = {"model": make_model(), "data": (X, Y), argument: value}
    with pytest.raises(ValueError, match=f"`{argument}` must"):
        find_learning_rate(**arguments)


@pytest.mark.parametrize("y", [Y, Y.tolist(), tf.constant(Y)], ids=["array", "list", "tensor"])
def test_data_in_two_arguments(y):
    with pytest.raises(ValueError, match=r"`data` must .* one tuple.*Received: updates=") as error:
        find_learning_rate(make_model(), X, y)
    assert "pass `(x, y)` instead of `x, y`" in str(error.value)


@pytest.mark.parametrize("stopped", [False, True])
def test_its_repr_is_short(stopped):
    arrays = [np.arange(1.0, 74.0)] * 3
    found = keras_lars._range_test.RangeTest(12.34567, *arrays, stopped_early=stopped)
    assert repr(found) == f"RangeTest(learning_rate=12.35, updates=73, stopped_early={stopped})"


def test_models_that_are_not_ready_are_refused():
    unbuilt = keras.Sequential([keras.layers.Dense(1)])
    unbuilt.compile(keras_lars.LARS(1.0), "mse")
    with pytest.raises(ValueError, match="`model` must be built"):
        find(unbuilt)
    schedule = keras_lars.schedules.for_fit(256, epochs=10, global_batch_size=32)
    with pytest.raises(ValueError, match="whose learning rate is a number"):
        find(make_model(keras_lars.LARS(schedule)))
    frozen = make_model()
    frozen.trainable = False
    with pytest.raises(ValueError, match="`model` must have trainable variables: otherwise all"):
        find(frozen)


def test_data_without_batches_are_refused_before_any_training():
    backend_range_checks.check_the_range_test_refuses_data_without_batches()


@with_few_updates
def test_a_model_that_returns_no_loss_is_refused():
    class OwnLogs(Distance):
        def train_step(self, data):
            return {"own_loss": super().train_step(data)["loss"]}

    model = OwnLogs()
    model.compile(keras.optimizers.SGD(1.0), "mse", run_eagerly=True)
    with pytest.raises(ValueError, match=r"returns its loss as 'loss'.*returns \['own_loss'\]"):
        find(model, ONES, updates=2)


@pytest.mark.slow
def test_plot(tmp_path):
    pytest.importorskip("matplotlib")
    found = find(make_model())
    found.plot(tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="`path` must be"):
        found.plot("")


@pytest.mark.slow
def test_progress_is_shown(capfd):
    find_learning_rate(make_model(), (X, Y), batch_size=32)
    assert "100/100" in capfd.readouterr().out


@pytest.mark.slow
@with_few_updates
def test_lists_of_inputs_and_of_outputs():
    """Keras treats them as lists, but `tf.data` as arrays."""
    backend_range_checks.check_the_range_test_does_not_change_later_training()


@with_few_updates
def test_a_series_of_pandas_is_a_column_as_in_fit():
    pandas = pytest.importorskip("pandas", reason="the extra `benchmarks` is not installed")
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    model.compile(keras_lars.LARS(1.0), "mse", metrics=["mae"])
    targets = pandas.Series(X.sum(axis=1))
    model.fit(X, targets, batch_size=128, verbose=0)
    found = find_learning_rate(model, (X, targets), batch_size=32, updates=FEW)
    column = find_learning_rate(model, (X, targets.to_numpy()[:, None]), batch_size=32, updates=FEW)
    np.testing.assert_array_equal(found.losses, column.losses)
