"""Training resumes bit for bit, however the state was saved."""

import copy
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.models import (
    BUILDERS,
    assert_equal,
    batch,
    compiled,
    numbers,
    sequential,
    train,
)
from support.saving import (
    decaying_rate,
    is_narrow,
    make_lars,
    no_warning,
    trained,
)

import keras_lars

pytestmark = pytest.mark.slow


def keras_file(model, builder, tmp_path):
    model.save(tmp_path / "model.keras")
    return keras.models.load_model(tmp_path / "model.keras")


def pickled(model, builder, tmp_path):
    return pickle.loads(pickle.dumps(model))


def deep_copied(model, builder, tmp_path):
    return copy.deepcopy(model)


def blank_twin(model, builder, **changes):
    """The same architecture with other weights, and the same optimizer without variables."""
    config = keras.optimizers.serialize(model.optimizer)
    config["config"].update(changes)
    optimizer = keras.optimizers.deserialize(config)
    return compiled(builder, optimizer, seed=100, run_eagerly=model.run_eagerly)


def weights_file(model, builder, tmp_path, **changes):
    path = str(tmp_path / "model.weights.h5")
    model.save_weights(path)
    twin = blank_twin(model, builder, **changes)
    twin.optimizer.build(twin.trainable_variables)
    twin.load_weights(path)
    return twin


def checkpointed(model, builder, tmp_path, **changes):
    path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(tmp_path / "checkpoint")
    twin = blank_twin(model, builder, **changes)
    twin.optimizer.build(twin.trainable_variables)
    restored = tf.train.Checkpoint(model=twin, optimizer=twin.optimizer).restore(path)
    restored.assert_consumed()
    return twin


def checkpointed_before_build(model, builder, tmp_path, **changes):
    path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(tmp_path / "checkpoint")
    twin = blank_twin(model, builder, **changes)
    assert not twin.optimizer.built
    restored = tf.train.Checkpoint(model=twin, optimizer=twin.optimizer).restore(path)
    twin.optimizer.build(twin.trainable_variables)
    restored.assert_consumed()
    return twin


# These carry the configuration as well as the state.
CARRYING = {way.__name__: way for way in (keras_file, pickled, deep_copied)}
INTO_TWIN = {way.__name__: way for way in (weights_file, checkpointed, checkpointed_before_build)}
WAYS = {**CARRYING, **INTO_TWIN}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())


def assert_same_state(actual, expected):
    assert_equal(actual.get_weights(), expected.get_weights())
    assert_equal(numbers(actual.optimizer.variables), numbers(expected.optimizer.variables))
    assert int(actual.optimizer.iterations) == int(expected.optimizer.iterations)
    assert float(actual.optimizer.learning_rate) == float(expected.optimizer.learning_rate)


def assert_resumes(loaded, model, steps=3):
    """Both have the same state after `steps` steps, and after two more on the same data."""
    assert_same_state(loaded, model)
    weights = model.get_weights()
    train(model, steps, steps + 2)
    # It is a true copy: training the original did not change it.
    assert_equal(loaded.get_weights(), weights)
    train(loaded, steps, steps + 2)
    assert_same_state(loaded, model)
    assert not np.array_equal(model.get_weights()[0], weights[0])


class Original:
    """A trained model that several tests share. Each of them trains it further."""

    def __init__(self, builder, optimizer, steps=3, **options):
        self.model = trained(builder, optimizer, steps, **options)
        self.variables = [*self.model.variables, *optimizer.variables]
        self.state = numbers(self.variables)

    def restored(self):
        """The model, back in the state after its first steps."""
        for variable, value in zip(self.variables, self.state, strict=True):
            variable.assign(value)
        return self.model


@pytest.fixture(scope="module", params=BUILDERS.values(), ids=BUILDERS.keys())
def built_by(request):
    optimizer = make_lars(learning_rate=decaying_rate())
    original = Original(request.param, optimizer, run_eagerly=request.param is not sequential)
    return request.param, original


# Only the sequential model is trained in a graph. Tracing takes longer than a few eager steps, and
# the saved state is the same.
@every_way
def test_training_resumes_bit_for_bit(built_by, way, tmp_path):
    builder, original = built_by
    model = original.restored()
    assert all(np.any(slot) for slot in numbers(model.optimizer.momentums))
    loaded = way(model, builder, tmp_path)
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert_resumes(loaded, model)


OPTIONS = {
    "ema": ({"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2}, 3),
    # Three micro-batches with two to an update: the last one waits in the accumulators.
    "accumulation": ({"gradient_accumulation_steps": 2, "learning_rate": decaying_rate()}, 3),
    "accumulation+ema": (
        {
            "gradient_accumulation_steps": 3,
            "use_ema": True,
            "ema_overwrite_frequency": 2,
            "global_clipnorm": 0.5,
            "momentum_form": "learning_rate_outside",
            "nesterov": True,
            "record_noise_scale": True,
        },
        5,
    ),
    # The first update takes one micro-batch. The next one takes three, two of which are waiting.
    "accumulation that grows": ({"gradient_accumulation_steps": {0: 1, 1: 3}}, 3),
    "no momentum": ({"momentum": 0.0}, 3),
    "exclusions": (
        {"exclude_from_weight_decay": "kernel", "exclude_from_layer_adaptation": is_narrow},
        3,
    ),
    "compiled": ({"record_trust_ratios": True, "jit_compile": "auto"}, 3),
}


@pytest.fixture(scope="module", params=OPTIONS.values(), ids=OPTIONS.keys())
def with_options(request):
    options, steps = request.param
    original = Original(sequential, make_lars(**options), steps, run_eagerly=True)
    return options, steps, original


@every_way
def test_options_with_state_resume_bit_for_bit(with_options, way, tmp_path):
    options, steps, original = with_options
    model = original.restored()
    if "gradient_accumulation_steps" in options:
        accumulated = [v for v in model.optimizer.variables if "accumulator" in v.path]
        assert len(accumulated) == len(model.trainable_variables)
        assert all(np.any(sums) for sums in numbers(accumulated))
    assert_resumes(way(model, sequential, tmp_path), model, steps)


@every_way
def test_a_learning_rate_assigned_in_training_is_saved(way, tmp_path):
    model = trained(sequential, make_lars(), run_eagerly=True)
    model.optimizer.learning_rate = 0.125
    # The rate is state too: loading replaces the rate that the twin was created with.
    changes = {"learning_rate": 0.25} if way in INTO_TWIN.values() else {}
    loaded = way(model, sequential, tmp_path, **changes)
    assert float(loaded.optimizer.learning_rate) == 0.125
    assert_resumes(loaded, model)


@every_way
def test_loss_scaling_around_lars_resumes_bit_for_bit(way, tmp_path):
    optimizer = keras.optimizers.LossScaleOptimizer(
        make_lars(), initial_scale=4.0, dynamic_growth_steps=2
    )
    model = trained(sequential, optimizer, run_eagerly=True)
    loaded = way(model, sequential, tmp_path)
    assert isinstance(loaded.optimizer.inner_optimizer, keras_lars.LARS)
    assert_resumes(loaded, model)


@pytest.mark.parametrize("way", CARRYING.values(), ids=CARRYING.keys())
def test_a_model_saved_before_its_first_step_starts_the_same(way, tmp_path):
    model = compiled(sequential, make_lars(), run_eagerly=True)
    # There is no state to lose, so there is nothing to warn about.
    with no_warning():
        loaded = way(model, sequential, tmp_path)
    assert_equal(loaded.get_weights(), model.get_weights())
    for each in (loaded, model):
        train(each, 0, 2)
    assert_same_state(loaded, model)


@pytest.mark.parametrize("way", CARRYING.values(), ids=CARRYING.keys())
def test_recorded_trust_ratios_are_never_saved(way, tmp_path):
    model = trained(sequential, make_lars(record_trust_ratios=True), run_eagerly=True)
    with no_warning():
        loaded = way(model, sequential, tmp_path)
    # The setting is saved, but the recorded ratios are not.
    with pytest.raises(ValueError, match="trust_ratios"):
        _ = loaded.optimizer.trust_ratios
    assert_resumes(loaded, model)
    assert loaded.optimizer.trust_ratios.keys() == {
        row.path for row in loaded.optimizer.variable_table()
    }


@pytest.mark.parametrize("way", INTO_TWIN.values(), ids=INTO_TWIN.keys())
@pytest.mark.parametrize("saved_with", [True, False])
def test_state_is_loaded_whether_or_not_trust_ratios_were_recorded(way, saved_with, tmp_path):
    model = trained(sequential, make_lars(record_trust_ratios=saved_with), run_eagerly=True)
    with no_warning():
        loaded = way(model, sequential, tmp_path, record_trust_ratios=not saved_with)
    assert_resumes(loaded, model)


@pytest.mark.parametrize(
    ("builder", "jit_compile"),
    [*((builder, "auto") for builder in BUILDERS.values()), (sequential, False)],
    ids=[*BUILDERS, "plain ops"],
)
def test_export_and_saved_model_serve(builder, jit_compile, tmp_path):
    optimizer = make_lars(
        learning_rate=decaying_rate(), jit_compile=jit_compile, record_trust_ratios=True
    )
    model = trained(builder, optimizer, steps=1)
    inputs = batch(7)[0]
    expected = model(inputs, training=False).numpy()

    model.export(str(tmp_path / "exported"), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    served = loaded.serve(inputs)
    np.testing.assert_allclose(served, expected, rtol=1e-5, atol=1e-6)

    tf.saved_model.save(model, str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    signature = loaded.signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]
    (served,) = signature(**{name: tf.constant(inputs)}).values()
    np.testing.assert_allclose(served, expected, rtol=1e-5, atol=1e-6)

    # The model can still be trained afterwards.
    train(model, 1, 2)
    assert int(optimizer.iterations) == 2
