"""The configuration survives JSON and cloning, with all exclusion rules."""

import inspect
import json

import keras
import numpy as np
import pytest
from support.helpers import at_least
from support.models import (
    BUILDERS,
    assert_equal,
    batch,
    compiled,
    make_variable,
    nested,
    sequential,
    train,
)
from support.saving import (
    decaying_rate,
    every_builder,
    is_narrow,
    make_lars,
    make_variables,
    no_warning,
)

import keras_lars


def through_json(optimizer):
    return keras_lars.LARS.from_config(json.loads(json.dumps(optimizer.get_config())))


# For every argument that a user can give, a value other than the default.
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
    "weight_norm_floor": 0.5,
    "zero_weight_ratio": 0.5,
    "zero_gradient_ratio": None,
    "exclude_from_layer_adaptation": ["kernel"],
    "exclude_from_weight_decay": [],
    "unadapted_learning_rate_multiplier": 0.5,
    "record_trust_ratios": True,
    "record_noise_scale": True,
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


def test_the_table_of_options_has_every_argument():
    arguments = set()
    for each_class in keras_lars.LARS.__mro__[:-1]:
        arguments |= set(inspect.signature(each_class.__init__).parameters)
    assert arguments - {"self", "args", "kwargs"} == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_in_the_configuration(option):
    # The numbers of EMA matter only with EMA itself.
    default = {"use_ema": True} if option.startswith("ema_") else {}
    optimizer = keras_lars.LARS(**{**default, option: OPTIONS[option]})
    assert optimizer.get_config() != keras_lars.LARS(**default).get_config()

    restored = through_json(optimizer)
    assert restored.get_config() == optimizer.get_config()
    if not option.startswith("exclude_"):
        assert restored.get_config()[option] == OPTIONS[option]


@pytest.mark.slow
def test_a_restored_configuration_trains_the_same():
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
)
def test_rules_are_in_the_configuration(argument, rules):
    optimizer = make_lars(**{argument: rules})
    restored = through_json(optimizer)
    again = through_json(restored)
    assert restored.get_config() == optimizer.get_config()
    for each in (optimizer, restored, again):
        each.build(make_variables())
    assert table(optimizer) == table(restored) == table(again)
    # The configuration after build is the same.
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
    ],
    ids=["other shape", "too few", "other name"],
)
def test_a_position_that_does_not_fit_raises(make_others):
    variables = make_variables()
    optimizer = make_lars(exclude_from_weight_decay=[variables[-1]])
    optimizer.build(variables)
    with pytest.raises(ValueError, match="bias"):
        through_json(optimizer).build(make_others())


def test_a_variable_is_found_if_the_order_has_changed():
    variables = make_variables()
    optimizer = make_lars(exclude_from_weight_decay=[variables[-1]])
    optimizer.build(variables)
    restored, others = through_json(optimizer), make_variables()
    order = [*range(3, len(others)), 0, 1, 2]
    restored.build([others[i] for i in order])
    excluded = [row.position for row in restored.variable_table() if not row.decayed]
    alike = [
        position
        for position, i in enumerate(order)
        if others[i].shape == others[-1].shape and others[i].name == others[-1].name
    ]
    assert excluded == [alike[-1]]


@pytest.mark.slow
def test_a_variable_rule_survives_the_reload_of_a_sequential_model(tmp_path):
    model = sequential()
    model(batch(0)[0])
    kernel, bias = model.layers[1].trainable_variables
    optimizer = make_lars(exclude_from_layer_adaptation=[bias], exclude_from_weight_decay=kernel)
    model.compile(optimizer=optimizer, loss="mse", jit_compile=False)
    train(model, 0, 2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    # Positions are saved because paths change. Where paths are kept, this test proves nothing.
    assert (loaded.layers[1].kernel.path == kernel.path) == at_least(keras, "3.16")
    assert table(loaded.optimizer) == table(optimizer)
    (row,) = [row for row in loaded.optimizer.variable_table() if not row.adapted]
    assert (row.position, row.path) == (3, loaded.layers[1].bias.path)
    for each in (model, loaded):
        train(each, 2, 4)
    assert_equal(loaded.get_weights(), model.get_weights())


@pytest.mark.parametrize("rule", [keras_lars.optional("^model/"), "^model/a|b/kernel"], ids=str)
def test_a_saved_pattern_that_excludes_others_gives_a_warning(rule):
    optimizer = make_lars(exclude_from_layer_adaptation=["a/bias", rule])
    optimizer.build(make_variables(outer="model/"))
    state = {}
    optimizer.save_own_variables(state)
    restored = through_json(optimizer)
    given = make_lars(exclude_from_layer_adaptation=["a/bias", rule])
    for each in (restored, given):
        each.build(make_variables())
    with pytest.warns(UserWarning, match="paths have changed") as caught:
        restored.load_own_variables(state)
    (message,) = [str(w.message) for w in caught]
    assert message.startswith(
        f"`exclude_from_layer_adaptation={given._adaptation_rules[1]}` excludes other variables "
        "than when the state of optimizer 'lars' was saved, because their paths have changed"
    )
    with no_warning():  # it was given for these paths
        given.load_own_variables(state)


@pytest.mark.slow
def test_a_pattern_with_the_name_of_a_sequential_model(tmp_path):
    model = compiled(nested, make_lars(exclude_from_layer_adaptation="inner/"))
    model.save(tmp_path / "model.keras")
    if at_least(keras, "3.16"):  # where paths are kept
        keras.models.load_model(tmp_path / "model.keras")
        return
    with pytest.raises(ValueError, match="lack the names of Sequential models"):
        keras.models.load_model(tmp_path / "model.keras")


@pytest.mark.slow
def test_many_variable_rules_survive_a_reload(tmp_path):
    # Keras identifies the objects that it saves by `id`. A new object may get the `id` of a deleted
    # one.
    model = sequential()
    model(batch(0)[0])
    variables = model.trainable_variables
    optimizer = make_lars(
        exclude_from_layer_adaptation=variables[::2], exclude_from_weight_decay=variables[1::2]
    )
    model.compile(optimizer=optimizer, loss="mse", jit_compile=False)
    train(model, 0, 1)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert table(loaded.optimizer) == table(optimizer) == [(False, True), (True, False)] * 3


def unregistered_rule(variable):
    return "kernel" in variable.path


@pytest.mark.slow
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


@pytest.mark.slow
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
        clone = builder()  # Keras cannot clone subclassed models
        clone(batch(0)[0])
    else:
        clone = keras.models.clone_model(model)
    if not clone.compiled:
        # `clone_model` does this itself, except in early versions.
        clone.compile_from_config(model.get_compile_config())
    assert clone.optimizer is not optimizer
    assert clone.optimizer.get_config() == optimizer.get_config()
    assert int(clone.optimizer.iterations) == 0
    if not clone.optimizer.built:
        clone.optimizer.build(clone.trainable_variables)
    assert table(clone.optimizer) == table(optimizer)


def test_only_a_complete_configuration_without_a_floor_is_of_an_earlier_version():
    config = keras_lars.LARS().get_config()
    del config["weight_norm_floor"]
    assert keras_lars.LARS.from_config(config).weight_norm_floor == 0.0
    by_hand = {"learning_rate": 4.0, "zero_weight_ratio": 1.0}
    assert keras_lars.LARS.from_config(by_hand).weight_norm_floor == 0.05
