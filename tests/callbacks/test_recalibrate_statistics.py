"""Moving statistics that are recomputed: exact, without a trace, at the right times."""

import dataclasses
import functools
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.backups import After, InterruptionError
from support.models import FEATURES, assert_close, assert_equal, normal, numbers

import keras_lars
from keras_lars import _replicas
from keras_lars.callbacks import BackupAndRestore, RecalibrateStatistics

EPSILON = 1e-3
X, Y = normal(1, (20, FEATURES)) * 3 + 5, normal(2, (20, 1))


def compiled(*layers, features=FEATURES, **options):
    model = keras.Sequential([keras.Input((features,)), *layers])
    optimizer = options.pop("optimizer", None) or keras_lars.LARS(1.0, jit_compile=False)
    model.compile(optimizer, "mse", **options)
    return model


def normalization(**options):
    return keras.layers.BatchNormalization(epsilon=EPSILON, **options)


def small(**options):
    keras.utils.set_random_seed(0)  # layers draw their seeds when they are made
    # A beta that is not 0, so that no mean is: rounding errors are relative to it.
    return compiled(
        normalization(beta_initializer="ones"),
        keras.layers.Dense(3),
        normalization(),
        keras.layers.Dense(1),
        **options,
    )


def recalibrate(model, data, **options):
    """Outside of `fit`, as before an evaluation."""
    callback = RecalibrateStatistics(data, **options)
    callback.set_model(model)
    callback.on_test_begin()
    return callback


def statistics(*layers):
    return [np.array(v) for layer in layers for v in (layer.moving_mean, layer.moving_variance)]


def expected(model, batches):
    """Those of `small`, in float64: of each batch, and averaged by its samples."""
    (gamma, beta), (kernel, bias) = [numbers(each.trainable_weights) for each in model.layers[:2]]
    rows = []
    for x in batches:
        x = x.astype("float64")
        normalized = (x - x.mean(0)) / np.sqrt(x.var(0) + EPSILON) * gamma + beta
        hidden = normalized @ kernel + bias
        rows.append([x.mean(0), x.var(0), hidden.mean(0), hidden.var(0)])
    weights = [len(x) for x in batches]
    return [np.average(columns, axis=0, weights=weights) for columns in zip(*rows)]


def cut(x, size):
    return [x[first : first + size] for first in range(0, len(x), size)]


def dataset(*arrays, size=8):
    return tf.data.Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0]).batch(size)


# What it computes.


@pytest.mark.slow
def test_batches_that_are_lists_hold_inputs_and_targets():
    """As a `DataLoader` of torch makes them."""
    model = small()
    batches = [[x, np.ones((len(x), 1), "float32")] for x in cut(X, 8)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recalibrate(model, Batches(batches))
    found = statistics(model.layers[0], model.layers[2])
    for actual, wanted in zip(found, expected(model, cut(X, 8)), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-5)


class Batches:
    """Batches that are no array, and no `tf.data.Dataset`."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


@pytest.mark.slow
def test_layers_that_are_built_in_the_first_step(monkeypatch):
    class Late(keras.Model):
        def __init__(self):
            super().__init__()
            self.normalization, self.dense = normalization(), keras.layers.Dense(1)

        def build(self, shape):
            self.built = True

        def call(self, x, training=None):
            return self.dense(self.normalization(x, training=training))

    model = Late()
    model.compile(keras_lars.LARS(1.0, jit_compile=False), "mse")
    model.build((None, X.shape[1]))
    model.fit(X, np.ones(len(X)), verbose=0, callbacks=[RecalibrateStatistics(X)])
    np.testing.assert_allclose(model.normalization.moving_mean, X.mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_statistics_are_the_mean_over_the_batches_by_their_samples():
    model = small()
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0)  # so that no weight is what it was
    recalibrate(model, X, batch_size=8)
    batches = cut(X, 8)
    assert [len(batch) for batch in batches] == [8, 8, 4]
    found = statistics(model.layers[0], model.layers[2])
    assert_close([v.astype("float64") for v in found], expected(model, batches), 1e-6)
    # The mean of the whole is then that of the data; each batch alike would be another one.
    np.testing.assert_allclose(found[0], X.astype("float64").mean(0), rtol=1e-6)
    alike = np.mean([batch.mean(0) for batch in batches], axis=0)
    assert np.max(np.abs(alike - found[0])) > 1e-2


@pytest.mark.slow
def test_batches_bound_how_many_are_used():
    model = small()
    recalibrate(model, X, batches=2, batch_size=8)
    found = statistics(model.layers[0], model.layers[2])
    assert_close([v.astype("float64") for v in found], expected(model, cut(X[:16], 8)), 1e-6)
    recalibrate(model, X, batches=100, batch_size=8)
    np.testing.assert_allclose(model.layers[0].moving_mean, X.mean(0), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The structure of `inputs`")
@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        (X, Y, np.ones(20)),
        [X],
        dataset(X),
        dataset(X, Y),
        dataset(X, Y, np.ones(20)),
        dataset(X.astype("float64"), Y),
        dataset(X).repeat().take(3),
        list,
    ],
    ids=["x-y", "x-y-w", "list", "dataset", "of-x-y", "of-x-y-w", "float64", "take", "iterable"],
)
def test_all_forms_of_data_give_the_same(data):
    if data is list:

        class Loader:
            def __iter__(self):
                return iter([(batch, None) for batch in cut(X, 8)])

        data = Loader()
    model = small()
    recalibrate(model, data, batch_size=8)
    assert_equal(numbers(model.weights), weights_by_arrays())


@functools.cache
def weights_by_arrays():
    model = small()
    recalibrate(model, X, batch_size=8)
    return numbers(model.weights)


def test_several_inputs():
    inputs = {"a": keras.Input((FEATURES,), name="a"), "b": keras.Input((1,), name="b")}
    layer = normalization()
    model = keras.Model(inputs, layer(keras.layers.Concatenate()([inputs["a"], inputs["b"]])))
    model.compile(keras_lars.LARS(), "mse")
    recalibrate(model, {"b": Y, "a": X})
    np.testing.assert_allclose(layer.moving_mean, [*X.mean(0), *Y.mean(0)], rtol=1e-5)
    with pytest.raises(ValueError, match="`data` must hold inputs that the model accepts"):
        recalibrate(model, X)
    recalibrate(model, dataset({"b": Y[:4], "a": X[:4]}))
    np.testing.assert_allclose(layer.moving_mean, [*X[:4].mean(0), *Y[:4].mean(0)], rtol=1e-5)


class Block(keras.layers.Layer):
    """A layer that holds layers, one of them in inference mode."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inside, self.at_rest = normalization(), normalization()

    def call(self, inputs, training=None):
        return self.at_rest(self.inside(inputs, training=training), training=False)


@pytest.mark.slow
def test_layers_are_found_wherever_they_are_and_left_alone_where_they_rest():
    block, frozen, last = Block(), normalization(trainable=False), normalization()
    inner = keras.Sequential([keras.Input((FEATURES,)), block])
    model = compiled(inner, frozen, last)
    resting = [*statistics(block.at_rest), *statistics(frozen)]
    recalibrate(model, X)
    assert_equal([*statistics(block.at_rest), *statistics(frozen)], resting)
    scale = 1 / np.sqrt(1 + EPSILON)  # of each layer that rests, with a mean of 0
    variance = X.var(0)
    np.testing.assert_allclose(block.inside.moving_mean, X.mean(0), rtol=1e-5)
    np.testing.assert_allclose(block.inside.moving_variance, variance, rtol=1e-5)
    of_last = variance / (variance + EPSILON) * scale**4
    np.testing.assert_allclose(last.moving_variance, of_last, rtol=1e-5)
    # Frozen and thawed again.
    block.inside.trainable, frozen.trainable = False, True
    before = statistics(block.inside)
    model.compile(keras_lars.LARS(), "mse")
    recalibrate(model, X[:4])
    assert_equal(statistics(block.inside), before)
    assert np.any(numbers([frozen.moving_mean])[0] != resting[2])


def test_a_layer_that_is_called_twice_has_the_mean_over_its_calls():
    layer, inputs = normalization(), [keras.Input((1,)), keras.Input((1,))]
    model = keras.Model(inputs, [layer(each) for each in inputs])
    model.compile(keras_lars.LARS(), "mse")
    recalibrate(model, [X[:, :1], 3 * X[:, 1:2]])
    means, variances = [X[:, 0].mean(), 3 * X[:, 1].mean()], [X[:, 0].var(), 9 * X[:, 1].var()]
    np.testing.assert_allclose(layer.moving_mean, [np.mean(means)], rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, [np.mean(variances)], rtol=1e-5)


def test_virtual_batches():
    from benchmarks.models.virtual_batch import VirtualBatchNormalization

    model = compiled(VirtualBatchNormalization(4), keras.layers.Dense(1))
    recalibrate(model, X, batch_size=8)
    np.testing.assert_allclose(model.layers[0].moving_mean, X.mean(0), rtol=1e-5)
    variance = np.mean([group.var(0) for group in cut(X, 4)], axis=0)
    np.testing.assert_allclose(model.layers[0].moving_variance, variance, rtol=1e-5)


@pytest.mark.slow
def test_statistics_that_are_not_finite_are_repaired():
    model, other = small(), small()
    for variable in (model.layers[0].moving_mean, model.layers[2].moving_variance):
        variable.assign(np.full(variable.shape, np.nan))
    for each in (model, other):
        recalibrate(each, X)
    assert_equal(numbers(model.weights), numbers(other.weights))


@pytest.mark.slow
def test_renormalization_keeps_its_deviation_with_its_variance():
    try:
        layer = normalization(renorm=True)
    except (TypeError, ValueError):
        pytest.skip("this Keras has no `renorm`")
    model = compiled(layer, keras.layers.Dense(1))
    model.fit(X, Y, verbose=0)
    renormalizing = numbers([layer.renorm_mean, layer.renorm_stddev])
    recalibrate(model, X)
    np.testing.assert_allclose(layer.moving_variance, X.var(0), rtol=1e-4)
    np.testing.assert_allclose(layer.moving_stddev, np.sqrt(X.var(0) + EPSILON), rtol=1e-4)
    assert_equal(numbers([layer.renorm_mean, layer.renorm_stddev]), renormalizing)


@pytest.mark.parametrize("policy", ["mixed_float16", "float64"])
def test_other_precisions(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = small()
    finally:
        keras.config.set_dtype_policy("float32")
    recalibrate(model, X)
    tolerance = 2e-3 if policy == "mixed_float16" else 1e-6
    np.testing.assert_allclose(model.layers[0].moving_variance, X.var(0), rtol=tolerance)


# That it leaves no trace.


class Counter(keras.layers.Layer):
    """Counts its calls in training, and adds noise from Keras's global seed generator."""

    def build(self, shape):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.mean = keras.metrics.Mean()

    def call(self, inputs, training=False):
        if training:
            self.count.assign_add(1.0)
            self.mean.update_state(inputs)
            self.add_loss(keras.ops.mean(inputs) * 1e-3)
            inputs = inputs + keras.random.normal(keras.ops.shape(inputs))
        return inputs


def noisy(**options):
    keras.utils.clear_session()  # in Keras 3.10 the seed does not reach the global generator
    keras.utils.set_random_seed(0)
    options = {"metrics": ["mae"], **options}
    layers = [normalization(momentum=0.7), keras.layers.Dropout(0.5), Counter()]
    return compiled(*layers, normalization(), keras.layers.Dense(1), **options)


def everything_but_statistics(model):
    moving = {id(v) for layer in model.layers for v in layer.weights if "moving" in v.name}
    state = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
    return numbers([v for v in state if id(v) not in moving])


@pytest.mark.slow
@pytest.mark.parametrize("run_eagerly", [False, True], ids=["compiled", "eager"])
def test_training_is_the_same_bit_for_bit(run_eagerly):
    ends, logs = [], []
    for with_callback in (False, True):
        model = noisy(run_eagerly=run_eagerly)
        callbacks = [RecalibrateStatistics(X, batch_size=8)] if with_callback else []
        history = model.fit(
            X, Y, batch_size=8, epochs=3, shuffle=False, verbose=0, callbacks=callbacks
        )
        ends.append(everything_but_statistics(model))
        ends[-1].append(numbers([keras.random.normal((3,))])[0])  # the next of the global seed
        ends[-1].append(np.random.uniform(size=1))
        logs.append(history.history)
        assert [layer.momentum for layer in model.layers if hasattr(layer, "momentum")] == [
            0.7,
            0.99,
        ]
        assert float(model.layers[2].count) == 9
    assert_equal(*ends)
    assert logs[0] == logs[1]


@pytest.mark.slow
def test_a_pass_that_fails_leaves_no_trace():
    model = noisy(run_eagerly=True)
    model.fit(X, Y, batch_size=8, verbose=0)

    class Failing:
        def __iter__(self):
            yield X[:8]
            yield X[8:16]
            yield X[:, :1]

    before = numbers([*model.variables, *model.metrics_variables, *model.optimizer.variables])
    callback = RecalibrateStatistics(Failing())
    callback.set_model(model)
    with pytest.raises(ValueError):
        callback.on_test_begin()
    after = numbers([*model.variables, *model.metrics_variables, *model.optimizer.variables])
    assert_equal(after, before)
    assert [model.layers[0].momentum, model.layers[3].momentum] == [0.7, 0.99]


@pytest.mark.slow
def test_it_is_compiled_once():
    traces = []

    class Traced(keras.layers.Layer):
        def call(self, inputs):
            traces.append(inputs.shape)
            return inputs

    model = compiled(normalization(), Traced(), keras.layers.Dense(1))
    callback = RecalibrateStatistics(X[:16], batch_size=8)
    traces.clear()
    model.fit(X[:16], Y[:16], batch_size=8, epochs=1, verbose=0, callbacks=[callback])
    first = len(traces)
    model.train_function(iter([(X[:8], Y[:8])]))
    for _ in range(3):
        callback._recalibrate()
        model.layers[0].moving_mean.assign(np.zeros(FEATURES))
    assert len(traces) == first


# When it acts.


@dataclasses.dataclass
class Times:
    """Where it took the statistics, as (epoch, hook)."""

    seen: list

    def callback(self, data=X, **options):
        times = self

        class Watched(RecalibrateStatistics):
            def _sums(self):
                times.seen.append(self._epoch)
                return super()._sums()

        return Watched(data, **options)


@pytest.mark.slow
def test_once_an_epoch_before_its_validation():
    times, seen = Times([]), []

    class AtBatch(keras.callbacks.Callback):
        def on_test_batch_begin(self, batch, logs=None):
            seen.append(statistics(self.model.layers[0])[0])

    callbacks = [times.callback(), AtBatch()]
    model = small(run_eagerly=True)
    model.fit(
        X, Y, epochs=3, verbose=0, callbacks=callbacks, validation_data=(X, Y), validation_freq=2
    )
    assert times.seen == [0, 1, 2]
    (found,) = seen  # of the only validation
    np.testing.assert_allclose(found, X.mean(0), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("every", "epochs"), [(1, [0, 1, 2, 3, 4]), (2, [1, 3, 4]), (7, [4])])
def test_every_so_many_epochs_and_at_the_end(every, epochs):
    times = Times([])
    callbacks = [times.callback(every_epochs=every)]
    model = small(run_eagerly=True)
    model.fit(X, Y, epochs=5, verbose=0, callbacks=callbacks, validation_data=(X, Y))
    assert times.seen == epochs


@pytest.mark.slow
def test_at_the_end_of_a_training_that_was_stopped():
    class StopAt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    times, model = Times([]), small(run_eagerly=True)
    callbacks = [times.callback(every_epochs=5), StopAt()]
    model.fit(X, Y, epochs=5, verbose=0, callbacks=callbacks)
    assert times.seen == [None]
    np.testing.assert_allclose(model.layers[0].moving_mean, X.mean(0), rtol=1e-5)


@pytest.mark.slow
def test_weights_that_are_averaged_at_the_end_get_statistics_of_their_own():
    times = Times([])
    optimizer = keras_lars.LARS(0.5, use_ema=True, ema_momentum=0.5, jit_compile=False)
    model = small(optimizer=optimizer, run_eagerly=True)
    model.fit(X, Y, epochs=2, batch_size=20, verbose=0, callbacks=[times.callback()])
    assert times.seen == [0, 1, None]
    found = statistics(model.layers[0], model.layers[2])
    assert_close([v.astype("float64") for v in found], expected(model, [X]), 1e-5)


@pytest.mark.slow
def test_evaluate_by_itself():
    times, model = Times([]), small()
    callback = times.callback()
    model.evaluate(X, Y, verbose=0, callbacks=[callback])
    np.testing.assert_allclose(model.layers[0].moving_mean, X.mean(0), rtol=1e-5)
    model.evaluate(X, Y, verbose=0, callbacks=[callback])
    assert len(times.seen) == 1  # nothing has changed
    model.layers[1].bias.assign(np.ones(3))
    model.evaluate(X, Y, verbose=0, callbacks=[callback])
    assert len(times.seen) == 2


@pytest.mark.slow
def test_a_model_that_is_built_by_its_first_batch():
    model = keras.Sequential([normalization(), keras.layers.Dense(1)])
    model.compile(keras_lars.LARS(jit_compile=False), "mse")
    model.fit(X, Y, verbose=0, callbacks=[RecalibrateStatistics(X)])
    np.testing.assert_allclose(model.layers[0].moving_mean, X.mean(0), rtol=1e-5)


# Together with others.


@pytest.mark.slow
@pytest.mark.parametrize(("backup_first", "save_freq"), [(True, "epoch"), (False, 2)])
def test_an_interrupted_training_ends_with_the_same_bits(backup_first, save_freq, tmp_path):
    def train(folder, *more):
        model = noisy(run_eagerly=not backup_first)  # both ways, of which this one is quicker
        # Keras's global seed generator, which `Counter` draws from, is in no backup.
        model.layers[2].call = lambda inputs, training=False: inputs
        callbacks = [RecalibrateStatistics(X, batch_size=8), BackupAndRestore(folder, save_freq)]
        callbacks = [*(callbacks[::-1] if backup_first else callbacks), *more]
        options = {"batch_size": 8, "epochs": 3, "shuffle": False, "verbose": 0}
        history = model.fit(X, Y, callbacks=callbacks, validation_data=(X, Y), **options)
        return numbers([*model.variables, *model.optimizer.variables]), history.history

    whole, logs = train(tmp_path / "whole")
    for batches in (5, 3):
        with pytest.raises(InterruptionError):
            train(tmp_path / "again", After(batches))
    again, rest = train(tmp_path / "again")
    assert_equal(again, whole)
    for name, values in rest.items():
        assert values == logs[name][-len(values) :]


@pytest.mark.slow
@pytest.mark.parametrize("synchronized", [False, True], ids=["each", "synchronized"])
def test_replicas_share_the_batches_and_the_result(strategy, synchronized):
    batches = cut(X, 8)  # three of them: one replica of two repeats one, which does not count
    replicas = strategy.num_replicas_in_sync
    with strategy.scope():
        model = compiled(
            normalization(synchronized=synchronized, beta_initializer="ones"),
            keras.layers.Dense(3),
            normalization(synchronized=synchronized),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(1),
        )
    model.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    before = everything_but_statistics(model)
    seeds = [v.value for v in model.non_trainable_variables if "seed" in v.path]
    seeds_before = _replicas.read_all(seeds, strategy)
    recalibrate(model, dataset(X))
    variables = [v.value for layer in model.layers for v in layer.weights if "moving" in v.path]
    found = _replicas.read_all(variables, strategy)
    for values, one in zip(found, expected(model, batches), strict=True):
        assert len(values) == replicas
        assert_close([v.astype("float64") for v in values], [one] * replicas, 1e-5)
        assert_equal(list(values), [values[0]] * replicas)
    assert_equal(everything_but_statistics(model), before)
    assert_equal(_replicas.read_all(seeds, strategy), seeds_before)
    assert model.layers[0].synchronized == synchronized


# What it refuses.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batches": 0}, "`batches` must be an integer >= 1, or None. Received: batches=0"),
        ({"batches": 1.5}, "`batches` must be an integer >= 1, or None"),
        ({"batches": X[:, 0]}, r"`data` must .* one tuple: pass `\(x, y\)`.*Received: batches="),
        ({"every_epochs": 0}, "`every_epochs` must be an integer >= 1. Received: every_epochs=0"),
        ({"batch_size": None}, "`batch_size` must be an integer >= 1. Received: batch_size=None"),
        ({"data": None}, "`data` must be arrays, or a collection .* Received: data=None"),
        ({"data": 3.0}, "`data` must be arrays, or a collection"),
        ({"data": iter([X])}, "`data` must be arrays, or a collection"),
        ({"data": []}, "`data` must be arrays with a sample axis"),
        ({"data": np.float32(1)}, "`data` must be arrays with a sample axis"),
        ({"data": X[:0]}, "`data` must be non-empty arrays"),
        ({"data": [X, X[:3]]}, "equal length. Received: data of shapes"),
        ({"data": dataset(X).repeat()}, "`batches` is required for infinite data"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        RecalibrateStatistics(**{"data": X, **options})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (X[:, :3], r"`data` must hold inputs .* a batch of shape \(20, 3\), for which it raises"),
        (dataset(X[:0]), "`data` must hold at least one batch. Received: none"),
        ([(X, Y), (X, Y)], "a list holds its inputs, .* a list of 4 arrays, .* has 1 input"),
        ([X, X], "a list holds its inputs, not batches, .* a list of 2 arrays, .* has 1 input"),
    ],
    ids=["shape", "empty", "batches", "batches-of-inputs"],
)
def test_data_that_do_not_fit_are_refused_before_anything_is_trained(data, message):
    model = small()
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y, verbose=0, callbacks=[RecalibrateStatistics(data)])
    assert int(model.optimizer.iterations) == 0


def test_models_without_moving_statistics_are_refused():
    for layers in ([], [keras.layers.LayerNormalization()], [normalization(trainable=False)]):
        model = compiled(*layers, keras.layers.Dense(1))
        with pytest.raises(ValueError, match="at least one trainable layer that has"):
            model.fit(X, Y, verbose=0, callbacks=[RecalibrateStatistics(X)])

    class AtRest(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.normalization = normalization()

        def call(self, inputs):
            return self.normalization(inputs, training=False)

    model = compiled(AtRest(), keras.layers.Dense(1))
    with pytest.raises(ValueError, match=r"in training mode.* inference mode: \['batch_norm"):
        model.fit(X, Y, verbose=0, callbacks=[RecalibrateStatistics(X)])


@pytest.mark.slow
def test_data_of_which_later_nothing_is_left():
    class Once:
        times = 0

        def __iter__(self):
            self.times += 1
            return iter([X] if self.times == 1 else [])

    with pytest.raises(ValueError, match="`data` must hold at least one batch"):
        small().fit(X, Y, verbose=0, callbacks=[RecalibrateStatistics(Once())])


def test_statistics_that_are_not_finite():
    model, data = small(), X.copy()
    data[3, 0] = np.nan
    first = model.layers[0]
    with pytest.warns(UserWarning, match="are not finite, so losses and metrics") as caught:
        recalibrate(model, data)
    (message,) = (str(each.message) for each in caught)
    assert message.startswith(f"The recalibrated statistics `{first.moving_mean.path}`, `")
    recalibrate(model, data)  # it is said once for each model
    other = small()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_replicas, "is_chief", lambda strategy: False)
        recalibrate(other, data)
