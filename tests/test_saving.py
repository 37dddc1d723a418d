"""Configuration and state survive every way Keras and TensorFlow have of saving them."""

import contextlib
import copy
import inspect
import json
import pickle
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from models import (
    BUILDERS,
    assert_equal,
    batch,
    compiled,
    make_variable,
    normal,
    numbers,
    sequential,
    train,
)

import keras_lars

every_builder = pytest.mark.parametrize("builder", BUILDERS.values(), ids=BUILDERS.keys())


def make_lars(**options):
    options = {
        "learning_rate": 0.5,
        "weight_decay": 0.01,
        "trust_coefficient": 0.1,
        "jit_compile": False,
        **options,
    }
    return keras_lars.LARS(**options)


def decaying_rate():
    return keras.optimizers.schedules.PolynomialDecay(0.5, decay_steps=10, power=2.0)


@contextlib.contextmanager
def no_warning():
    # Collected rather than raised: Keras's loader would swallow the error.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    assert not [str(w.message) for w in caught if issubclass(w.category, UserWarning)]


# Configuration ----------------------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="keras_lars_tests")
def is_narrow(variable):
    return variable.shape[-1] == 1


def through_json(optimizer):
    return keras_lars.LARS.from_config(json.loads(json.dumps(optimizer.get_config())))


# One value other than the default for every argument that a user can give.
OPTIONS = {
    "learning_rate": 0.25,
    "momentum": 0.5,
    "weight_decay": 0.25,
    "trust_coefficient": 0.5,
    "nesterov": True,
    "momentum_form": "ratio_outside",
    "decay_in_norm": True,
    "epsilon": 0.125,
    "trust_clip": True,
    "zero_weight_ratio": 0.5,
    "zero_gradient_ratio": None,
    "exclude_from_layer_adaptation": ["kernel"],
    "exclude_from_weight_decay": [],
    "unadapted_learning_rate_multiplier": 0.5,
    "record_trust_ratios": True,
    "jit_compile": False,
    "name": "mine",
    "clipnorm": 1.5,
    "clipvalue": 1.5,
    "global_clipnorm": 1.5,
    "use_ema": True,
    "ema_momentum": 0.5,
    "ema_overwrite_frequency": 3,
    "loss_scale_factor": 2.0,
    "gradient_accumulation_steps": 2,
}


def test_every_argument_has_its_value_in_the_table_of_options():
    arguments = set()
    for each_class in keras_lars.LARS.__mro__[:-1]:
        arguments |= set(inspect.signature(each_class.__init__).parameters)
    assert arguments - {"self", "args", "kwargs"} == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_in_the_configuration(option):
    # EMA's numbers only count with EMA itself.
    default = {"use_ema": True} if option.startswith("ema_") else {}
    optimizer = keras_lars.LARS(**{**default, option: OPTIONS[option]})
    assert optimizer.get_config() != keras_lars.LARS(**default).get_config()

    restored = through_json(optimizer)
    assert restored.get_config() == optimizer.get_config()
    if not option.startswith("exclude_"):
        assert restored.get_config()[option] == OPTIONS[option]


def test_the_configuration_trains_alike():
    chosen = {k: v for k, v in OPTIONS.items() if k not in ("clipvalue", "global_clipnorm")}
    optimizer = keras_lars.LARS(**chosen)
    restored = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(restored, keras_lars.LARS)
    models = [compiled(sequential, each) for each in (optimizer, restored)]
    start = models[0].get_weights()
    for model in models:
        train(model, 0, 6)
    assert_equal(models[1].get_weights(), models[0].get_weights())
    assert not np.array_equal(models[0].get_weights()[0], start[0])


@pytest.mark.parametrize(
    "schedule",
    [
        decaying_rate(),
        keras.optimizers.schedules.CosineDecay(0.5, 10, warmup_target=1.0, warmup_steps=2),
        keras_lars.schedules.WarmUp(decaying_rate(), warmup_steps=3),
    ],
    ids=lambda schedule: type(schedule).__name__,
)
def test_schedules_are_in_the_configuration(schedule):
    optimizer = make_lars(learning_rate=schedule)
    restored = through_json(optimizer)
    assert restored.get_config() == optimizer.get_config()
    for variable in (optimizer.iterations, restored.iterations):
        variable.assign(2)
    assert float(restored.learning_rate) == float(optimizer.learning_rate) == float(schedule(2))


def make_variables(outer="", widths=(3, 2, 1)):
    """Kernels and biases of three layers; `outer` goes in front of every path."""
    variables = []
    for name, width in zip("abc", widths, strict=True):
        variables.append(make_variable(f"{outer}{name}/kernel", np.ones((2, width))))
        variables.append(make_variable(f"{outer}{name}/bias", np.ones(width)))
    return variables


def table(optimizer):
    return [(row.adapted, row.decayed) for row in optimizer.variable_table()]


@pytest.mark.parametrize("argument", ["exclude_from_layer_adaptation", "exclude_from_weight_decay"])
@pytest.mark.parametrize(
    "rules",
    [
        None,
        [],
        "a/",
        ["a/", "c/kernel"],
        keras_lars.rank_at_most(0),
        keras_lars.rank_at_most(1),
        keras_lars.rank_at_most(2),
        keras_lars.bias_or_normalization(),
        keras_lars.optional("b/"),
        keras_lars.optional("absent"),
        is_narrow,
        ["a/", keras_lars.optional("absent"), keras_lars.rank_at_most(1), is_narrow],
    ],
    ids=str,
)
def test_rules_are_in_the_configuration(argument, rules):
    optimizer = make_lars(**{argument: rules})
    restored = through_json(optimizer)
    again = through_json(restored)
    assert restored.get_config() == optimizer.get_config()
    for each in (optimizer, restored, again):
        each.build(make_variables())
    assert table(optimizer) == table(restored) == table(again)
    # A configuration taken after build is the same one.
    assert restored.get_config() == again.get_config() == through_json(again).get_config()


@pytest.mark.parametrize("argument", ["exclude_from_layer_adaptation", "exclude_from_weight_decay"])
@pytest.mark.parametrize("given", [None, [], "b/"])
def test_rules_given_to_the_method_are_in_the_configuration(argument, given):
    optimizer = make_lars(**{argument: given})
    getattr(optimizer, argument)(var_names=["a/"])
    restored = through_json(optimizer)
    plain = make_lars(**{argument: given})
    for each in (optimizer, restored, plain):
        each.build(make_variables())
    assert table(restored) == table(optimizer) != table(plain)
    # The method itself survives the round trip too.
    assert callable(getattr(through_json(restored), argument))


def test_a_restored_optimizer_takes_more_rules_through_the_method():
    restored = through_json(make_lars(exclude_from_weight_decay="a/"))
    restored.exclude_from_weight_decay(var_names=["b/"])
    restored.build(make_variables())
    assert [row.decayed for row in restored.variable_table()] == [False] * 4 + [True] * 2


@pytest.mark.parametrize("through_method", [False, True])
def test_a_variable_is_saved_as_its_position(through_method):
    variables = make_variables("model_1/")
    rules = [variables[2], variables[5]]
    optimizer = make_lars(
        exclude_from_weight_decay=[] if through_method else rules,
        exclude_from_layer_adaptation=[variables[0]],
    )
    if through_method:
        optimizer.exclude_from_weight_decay(var_list=rules)
    optimizer.build(variables)
    restored = through_json(optimizer)
    # The same weights under other paths, as after a reload.
    restored.build(make_variables())
    assert table(restored) == table(optimizer)
    assert [row.decayed for row in restored.variable_table()] == [
        True, True, False, True, True, False
    ]  # fmt: skip
    assert through_json(restored).get_config() == restored.get_config()


@pytest.mark.parametrize(
    "make_others",
    [
        lambda: make_variables(widths=(3, 2, 4)),
        lambda: make_variables()[:-1],
        lambda: make_variables()[:-1] + [make_variable("c/scale", np.ones(1))],
        lambda: make_variables()[::-1],
    ],
    ids=["other shape", "too few", "other name", "other order"],
)
def test_a_position_that_does_not_fit_raises(make_others):
    variables = make_variables()
    optimizer = make_lars(exclude_from_weight_decay=[variables[-1]])
    optimizer.build(variables)
    with pytest.raises(ValueError, match="bias"):
        through_json(optimizer).build(make_others())


def test_a_variable_rule_survives_the_reload_of_a_sequential_model(tmp_path):
    model = sequential()
    model(batch(0)[0])
    kernel, bias = model.layers[1].trainable_variables
    optimizer = make_lars(exclude_from_layer_adaptation=[bias], exclude_from_weight_decay=kernel)
    model.compile(optimizer=optimizer, loss="mse", jit_compile=False)
    train(model, 0, 2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    # The reason for saving a position: otherwise this test proves nothing.
    assert loaded.layers[1].kernel.path != kernel.path
    assert table(loaded.optimizer) == table(optimizer)
    (row,) = [row for row in loaded.optimizer.variable_table() if not row.adapted]
    assert (row.position, row.path) == (3, loaded.layers[1].bias.path)
    for each in (model, loaded):
        train(each, 2, 4)
    assert_equal(loaded.get_weights(), model.get_weights())


def unregistered_rule(variable):
    return "kernel" in variable.path


@pytest.mark.parametrize("argument", ["exclude_from_layer_adaptation", "exclude_from_weight_decay"])
@pytest.mark.parametrize(
    ("rule", "name"),
    [(lambda variable: "kernel" in variable.path, "<lambda>"), (unregistered_rule,) * 2],
    ids=["lambda", "function"],
)
def test_an_unregistered_callable_trains_but_has_no_configuration(argument, rule, name):
    optimizer = make_lars(**{argument: ["bias", rule]})
    model = compiled(sequential, optimizer)
    train(model, 0, 1)
    selected = {"exclude_from_layer_adaptation": 0, "exclude_from_weight_decay": 1}[argument]
    assert not any(row[selected] for row in table(optimizer))
    with pytest.raises(ValueError, match=name if isinstance(name, str) else name.__name__):
        optimizer.get_config()


@every_builder
def test_clone_model_carries_the_configuration(builder):
    optimizer = make_lars(
        learning_rate=decaying_rate(),
        momentum_form="ratio_outside",
        exclude_from_weight_decay=["kernel"],
        exclude_from_layer_adaptation=is_narrow,
        clipnorm=1.5,
    )
    model = compiled(builder, optimizer)
    train(model, 0, 2)
    if builder in (BUILDERS["subclassed"], BUILDERS["nested_subclassed"]):
        clone = builder()  # Keras clones no subclassed model
        clone(batch(0)[0])
    else:
        clone = keras.models.clone_model(model)
    if not clone.compiled:
        # What `clone_model` itself does, except in early versions.
        clone.compile_from_config(model.get_compile_config())
    assert clone.optimizer is not optimizer
    assert clone.optimizer.get_config() == optimizer.get_config()
    assert int(clone.optimizer.iterations) == 0
    if not clone.optimizer.built:
        clone.optimizer.build(clone.trainable_variables)
    assert table(clone.optimizer) == table(optimizer)


# State ------------------------------------------------------------------------------------------


def keras_file(model, builder, tmp_path):
    model.save(tmp_path / "model.keras")
    return keras.models.load_model(tmp_path / "model.keras")


def pickled(model, builder, tmp_path):
    return pickle.loads(pickle.dumps(model))


def deep_copied(model, builder, tmp_path):
    return copy.deepcopy(model)


def blank_twin(model, builder, **changes):
    """The same architecture and optimizer, other weights, an optimizer without variables."""
    config = keras.optimizers.serialize(model.optimizer)
    config["config"].update(changes)
    return compiled(builder, keras.optimizers.deserialize(config), seed=100)


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


# The first three carry the configuration as well as the state.
CARRYING = {way.__name__: way for way in (keras_file, pickled, deep_copied)}
INTO_TWIN = {way.__name__: way for way in (weights_file, checkpointed, checkpointed_before_build)}
WAYS = {**CARRYING, **INTO_TWIN}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())


def trained(builder, optimizer, steps=3):
    model = compiled(builder, optimizer)
    train(model, 0, steps)
    return model


def assert_same_state(actual, expected):
    assert_equal(actual.get_weights(), expected.get_weights())
    assert_equal(numbers(actual.optimizer.variables), numbers(expected.optimizer.variables))
    assert int(actual.optimizer.iterations) == int(expected.optimizer.iterations)
    assert float(actual.optimizer.learning_rate) == float(expected.optimizer.learning_rate)


def assert_resumes(loaded, model, steps=3):
    """Both are in one state after `steps` steps, and still after three more on the same data."""
    assert_same_state(loaded, model)
    weights = model.get_weights()
    train(model, steps, steps + 3)
    # The copy is one: training the original left it where it was.
    assert_equal(loaded.get_weights(), weights)
    train(loaded, steps, steps + 3)
    assert_same_state(loaded, model)
    assert not np.array_equal(model.get_weights()[0], weights[0])


@every_builder
@every_way
def test_training_resumes_bit_for_bit(builder, way, tmp_path):
    optimizer = make_lars(learning_rate=decaying_rate())
    model = trained(builder, optimizer)
    assert all(np.any(slot) for slot in numbers(optimizer.momentums))
    loaded = way(model, builder, tmp_path)
    assert loaded.optimizer.get_config() == optimizer.get_config()
    assert_resumes(loaded, model)


@every_way
@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2}, 3),
        # Three micro-batches with two to an update: the last one waits in the accumulators.
        ({"gradient_accumulation_steps": 2, "learning_rate": decaying_rate()}, 3),
        (
            {
                "gradient_accumulation_steps": 3,
                "use_ema": True,
                "ema_overwrite_frequency": 2,
                "global_clipnorm": 0.5,
                "momentum_form": "learning_rate_outside",
                "nesterov": True,
            },
            5,
        ),
        ({"momentum": 0.0}, 3),
        ({"exclude_from_weight_decay": "kernel", "exclude_from_layer_adaptation": is_narrow}, 3),
        ({"record_trust_ratios": True, "jit_compile": "auto"}, 3),
    ],
    ids=["ema", "accumulation", "accumulation+ema", "no momentum", "exclusions", "compiled"],
)
def test_options_with_state_resume_bit_for_bit(options, steps, way, tmp_path):
    model = trained(sequential, make_lars(**options), steps)
    if "gradient_accumulation_steps" in options:
        accumulated = [v for v in model.optimizer.variables if "accumulator" in v.path]
        assert len(accumulated) == len(model.trainable_variables)
        assert all(np.any(sums) for sums in numbers(accumulated))
    assert_resumes(way(model, sequential, tmp_path), model, steps)


@every_way
def test_a_learning_rate_assigned_in_training_is_saved(way, tmp_path):
    model = trained(sequential, make_lars())
    model.optimizer.learning_rate = 0.125
    # The rate is state too: it is loaded over the one that a twin was made with.
    changes = {"learning_rate": 0.25} if way in INTO_TWIN.values() else {}
    loaded = way(model, sequential, tmp_path, **changes)
    assert float(loaded.optimizer.learning_rate) == 0.125
    assert_resumes(loaded, model)


@every_way
def test_loss_scaling_around_lars_resumes_bit_for_bit(way, tmp_path):
    optimizer = keras.optimizers.LossScaleOptimizer(
        make_lars(), initial_scale=4.0, dynamic_growth_steps=2
    )
    model = trained(sequential, optimizer)
    loaded = way(model, sequential, tmp_path)
    assert isinstance(loaded.optimizer.inner_optimizer, keras_lars.LARS)
    assert_resumes(loaded, model)


@pytest.mark.parametrize("way", CARRYING.values(), ids=CARRYING.keys())
def test_a_model_saved_before_its_first_step_starts_alike(way, tmp_path):
    model = compiled(sequential, make_lars())
    # There is no state to lose, hence nothing to warn about.
    with no_warning():
        loaded = way(model, sequential, tmp_path)
    assert_equal(loaded.get_weights(), model.get_weights())
    for each in (loaded, model):
        train(each, 0, 2)
    assert_same_state(loaded, model)


# A bare optimizer -------------------------------------------------------------------------------


def apply_steps(optimizer, variables, first, last):
    for step in range(first, last):
        gradients = [normal([step, i], v.shape) for i, v in enumerate(variables)]
        optimizer.apply([tf.constant(g) for g in gradients], variables)


def duplicate(variables):
    return [make_variable(v.path, v.numpy()) for v in variables]


@pytest.mark.parametrize(
    "duplicates",
    [
        [copy.deepcopy],
        [lambda optimizer: pickle.loads(pickle.dumps(optimizer))],
        [copy.deepcopy, copy.deepcopy],
        [lambda optimizer: pickle.loads(pickle.dumps(optimizer))] * 2,
        [copy.deepcopy, lambda optimizer: pickle.loads(pickle.dumps(optimizer)), copy.deepcopy],
    ],
    ids=["deepcopy", "pickle", "deepcopy twice", "pickle twice", "mixed"],
)
@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": decaying_rate()},
        {"use_ema": True, "gradient_accumulation_steps": 2},
        {"momentum": 0.0},
    ],
    ids=["schedule", "ema+accumulation", "no momentum"],
)
def test_a_copied_optimizer_keeps_its_state_until_build(duplicates, options):
    variables = make_variables()
    optimizer = make_lars(**options)
    apply_steps(optimizer, variables, 0, 3)
    copied = optimizer
    # The state is not lost: Keras's warning that it is skipped would be wrong.
    with no_warning():
        for make_copy in duplicates:
            copied = make_copy(copied)
            assert not copied.built
        others = duplicate(variables)
        copied.build(others)
    assert_equal(numbers(copied.variables), numbers(optimizer.variables))
    assert int(copied.iterations) == int(optimizer.iterations)
    apply_steps(optimizer, variables, 3, 6)
    apply_steps(copied, others, 3, 6)
    assert_equal(numbers(others), numbers(variables))
    assert_equal(numbers(copied.variables), numbers(optimizer.variables))


def test_a_copied_optimizer_is_independent():
    variables = make_variables()
    optimizer = make_lars()
    apply_steps(optimizer, variables, 0, 2)
    state, weights = numbers(optimizer.variables), numbers(variables)
    copied = copy.deepcopy(optimizer)
    others = duplicate(variables)
    apply_steps(copied, others, 2, 4)
    assert_equal(numbers(optimizer.variables), state)
    assert_equal(numbers(variables), weights)
    assert int(copied.iterations) == 4


@pytest.mark.parametrize("make_copy", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_an_optimizer_without_state_can_be_copied(make_copy):
    variables = make_variables()
    # There is no state to lose, hence nothing to warn about.
    with no_warning():
        copied = make_copy(make_lars(momentum=0.5))
        assert copied.momentum == 0.5
        apply_steps(copied, variables, 0, 1)
    assert int(copied.iterations) == 1


# Foreign state ----------------------------------------------------------------------------------

FOREIGN = {
    "SGD": (lambda: keras.optimizers.SGD(0.25, momentum=0.5), "(?i)lars"),
    "learning_rate_outside": (
        lambda: make_lars(learning_rate=0.25, momentum_form="learning_rate_outside"),
        "learning_rate_outside",
    ),
    "ratio_outside": (
        lambda: make_lars(learning_rate=0.25, momentum_form="ratio_outside"),
        "ratio_outside",
    ),
}
file_endings = pytest.mark.parametrize("ending", ["weights.h5", "keras"])


def save_file(model, path):
    (model.save if path.endswith(".keras") else model.save_weights)(path)


def assert_starts_afresh(optimizer):
    """Velocities and iteration are 0, and the learning rate is the one of `make_lars`."""
    assert int(optimizer.iterations) == 0
    assert not any(np.any(momentum) for momentum in numbers(optimizer.momentums))
    assert float(optimizer.learning_rate) == 0.5


@file_endings
@pytest.mark.parametrize("foreign", FOREIGN)
def test_foreign_state_in_a_file_is_not_loaded(foreign, ending, tmp_path):
    make_optimizer, expected = FOREIGN[foreign]
    source = trained(sequential, make_optimizer())
    path = str(tmp_path / f"model.{ending}")
    save_file(source, path)

    model = trained(sequential, make_lars(), steps=2)
    state = numbers(model.optimizer.variables)
    # As many variables of the same shapes: nothing but a marker tells the two apart.
    assert [v.shape for v in state] == [v.shape for v in numbers(source.optimizer.variables)]
    with pytest.warns(UserWarning, match=expected):
        model.load_weights(path)
    assert_starts_afresh(model.optimizer)
    assert_equal(model.get_weights(), source.get_weights())


@file_endings
@pytest.mark.parametrize("foreign", FOREIGN)
def test_foreign_state_is_not_loaded_inside_loss_scaling(foreign, ending, tmp_path):
    # Keras's wrapper assigns what it finds to the variables of the optimizer inside.
    make_optimizer, expected = FOREIGN[foreign]
    source = trained(sequential, keras.optimizers.LossScaleOptimizer(make_optimizer()))
    path = str(tmp_path / f"model.{ending}")
    save_file(source, path)

    model = trained(sequential, keras.optimizers.LossScaleOptimizer(make_lars()), steps=2)
    with pytest.warns(UserWarning, match=expected):
        model.load_weights(path)
    assert_starts_afresh(model.optimizer.inner_optimizer)
    assert_equal(model.get_weights(), source.get_weights())


@file_endings
def test_state_without_momentum_is_not_loaded_into_momentum(ending, tmp_path):
    source = trained(sequential, make_lars(momentum=0.0))
    path = str(tmp_path / f"model.{ending}")
    save_file(source, path)
    model = trained(sequential, make_lars(), steps=2)
    with pytest.warns(UserWarning, match="(?i)lars"):
        model.load_weights(path)
    assert_starts_afresh(model.optimizer)
    assert_equal(model.get_weights(), source.get_weights())


@file_endings
def test_state_of_the_same_form_is_loaded_whatever_else_changed(ending, tmp_path):
    source = trained(sequential, make_lars())
    path = str(tmp_path / f"model.{ending}")
    save_file(source, path)
    model = trained(
        sequential, make_lars(name="other", nesterov=True, epsilon=0.5, clipnorm=1.0), steps=1
    )
    with no_warning():
        model.load_weights(path)
    assert_equal(numbers(model.optimizer.variables), numbers(source.optimizer.variables))


@file_endings
def test_lars_state_is_not_silently_loaded_into_sgd(ending, tmp_path):
    source = trained(sequential, make_lars())
    path = str(tmp_path / f"model.{ending}")
    save_file(source, path)
    model = trained(sequential, keras.optimizers.SGD(0.25, momentum=0.5), steps=2)
    state = numbers(model.optimizer.variables)
    with pytest.warns(UserWarning, match="(?i)sgd"):
        model.load_weights(path)
    assert_equal(numbers(model.optimizer.variables), state)
    assert_equal(model.get_weights(), source.get_weights())


@pytest.mark.parametrize("build_first", [True, False])
@pytest.mark.parametrize("foreign", FOREIGN)
def test_foreign_state_in_a_checkpoint_leaves_the_slots_alone(foreign, build_first, tmp_path):
    source = trained(sequential, FOREIGN[foreign][0]())
    path = tf.train.Checkpoint(model=source, optimizer=source.optimizer).save(tmp_path / "foreign")

    model = compiled(sequential, make_lars(), seed=100)
    if build_first:
        train(model, 0, 2)
        slots = numbers(model.optimizer.momentums)
    with pytest.warns(UserWarning, match="not loaded"):
        restored = tf.train.Checkpoint(model=model, optimizer=model.optimizer).restore(path)
    restored.expect_partial()
    if not build_first:
        model.optimizer.build(model.trainable_variables)
        slots = [np.zeros_like(slot) for slot in numbers(model.optimizer.momentums)]
    assert_equal(numbers(model.optimizer.momentums), slots)
    assert_equal(model.get_weights(), source.get_weights())


def test_a_checkpoint_without_momentum_is_not_loaded_into_momentum(tmp_path):
    source = trained(sequential, make_lars(momentum=0.0))
    path = tf.train.Checkpoint(model=source, optimizer=source.optimizer).save(tmp_path / "plain")
    model = trained(sequential, make_lars(), steps=2)
    state = numbers(model.optimizer.variables)
    with pytest.warns(UserWarning, match="not loaded"):
        tf.train.Checkpoint(model=model, optimizer=model.optimizer).restore(path).expect_partial()
    assert_equal(numbers(model.optimizer.variables), state)


def test_without_momentum_the_forms_share_their_state(tmp_path):
    source = trained(sequential, make_lars(momentum=0.0))
    path = str(tmp_path / "model.weights.h5")
    source.save_weights(path)
    model = trained(sequential, make_lars(momentum=0.0, momentum_form="ratio_outside"), steps=1)
    with no_warning():
        model.load_weights(path)
    assert_equal(numbers(model.optimizer.variables), numbers(source.optimizer.variables))


# Recorded trust ratios are no state -------------------------------------------------------------


@pytest.mark.parametrize("way", CARRYING.values(), ids=CARRYING.keys())
def test_recorded_trust_ratios_are_never_saved(way, tmp_path):
    model = trained(sequential, make_lars(record_trust_ratios=True))
    with no_warning():
        loaded = way(model, sequential, tmp_path)
    # The setting is carried, what it recorded is not.
    with pytest.raises(ValueError, match="trust_ratios"):
        _ = loaded.optimizer.trust_ratios
    assert_resumes(loaded, model)
    assert loaded.optimizer.trust_ratios.keys() == {
        row.path for row in loaded.optimizer.variable_table()
    }


@pytest.mark.parametrize("way", INTO_TWIN.values(), ids=INTO_TWIN.keys())
@pytest.mark.parametrize("saved_with", [True, False])
def test_state_is_loaded_whether_or_not_trust_ratios_were_recorded(way, saved_with, tmp_path):
    model = trained(sequential, make_lars(record_trust_ratios=saved_with))
    with no_warning():
        loaded = way(model, sequential, tmp_path, record_trust_ratios=not saved_with)
    assert_resumes(loaded, model)


# Export -----------------------------------------------------------------------------------------


@every_builder
@pytest.mark.parametrize("jit_compile", ["auto", False])
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

    # And the model trains on after both.
    train(model, 1, 2)
    assert int(optimizer.iterations) == 2
