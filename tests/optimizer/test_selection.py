"""Which variables are adapted and which are decayed, for every kind of rule."""

import keras
import numpy as np
import pytest
from support.models import make_variable

import keras_lars


def make_variables():
    """One weight of each kind, in two layers whose names tell them apart."""
    return [
        make_variable("first/kernel", np.ones((3, 2))),
        make_variable("first/bias", np.ones(2)),
        make_variable("norm/gamma", np.ones(2)),
        make_variable("norm/beta", np.ones(2)),
        make_variable("second/kernel", np.ones((2, 4))),
        make_variable("second/temperature", 1.0),
    ]


KERNELS = {"first/kernel", "second/kernel"}
EVERYTHING = {variable.path for variable in make_variables()}


def built(variables, **options):
    optimizer = keras_lars.LARS(jit_compile=False, **options)
    optimizer.build(variables)
    return optimizer


def adapted(optimizer):
    return {row.path for row in optimizer.variable_table() if row.adapted}


def decayed(optimizer):
    return {row.path for row in optimizer.variable_table() if row.decayed}


# The two selections accept the same rules, so tests of rules run on both.
both_selections = pytest.mark.parametrize(
    ("argument", "selected"),
    [("exclude_from_layer_adaptation", adapted), ("exclude_from_weight_decay", decayed)],
    ids=["adaptation", "decay"],
)


def test_by_default_everything_is_adapted_and_kernels_are_decayed():
    optimizer = built(make_variables())
    assert adapted(optimizer) == EVERYTHING
    assert decayed(optimizer) == KERNELS


@pytest.mark.parametrize(
    ("path", "shape", "expected"),
    [
        ("layer/kernel", (2, 2), True),
        ("layer/kernel", (2,), False),
        ("layer/kernel", (), False),
        ("layer/bias", (2, 2), False),
        ("layer/gamma", (2, 2), False),
        ("layer/beta", (2, 2, 2), False),
        ("layer/scale", (2, 2), False),
        # Only the last part of the path counts, and only as a whole.
        ("bias/kernel", (2, 2), True),
        ("scale/gamma/embeddings", (2, 2), True),
        ("layer/relative_bias", (2, 2), True),
        ("layer/bias_table", (2, 2), True),
        ("layer/Scale_2", (2, 2), True),
    ],
)
def test_bias_or_normalization(path, shape, expected):
    variables = [make_variable(path, np.ones(shape)), make_variable("other/kernel", [[1.0]])]
    by_default = built(variables)
    by_name = built(variables, exclude_from_weight_decay=keras_lars.bias_or_normalization())
    assert (path in decayed(by_default)) == expected
    assert decayed(by_name) == decayed(by_default)


def attention():
    layer = keras.layers.MultiHeadAttention(num_heads=2, key_dim=3)
    layer(np.ones((1, 2, 4), "float32"), np.ones((1, 2, 4), "float32"))
    return layer


def gru():
    layer = keras.layers.GRU(3)
    layer.build((None, 2, 4))
    return layer


def normalization_over_two_axes():
    layer = keras.layers.LayerNormalization(axis=[1, 2])
    layer.build((None, 2, 3))
    return layer


@pytest.mark.parametrize("make_layer", [attention, gru, normalization_over_two_axes])
def test_biases_of_rank_two_are_not_decayed(make_layer):
    # A kernel of our own, so that a layer without one still has something to decay.
    variables = [*make_layer().trainable_variables, make_variable("own/kernel", [[1.0]])]
    names = {variable.path: variable.path.split("/")[-1] for variable in variables}
    not_kernels = {path for path, name in names.items() if "kernel" not in name}
    assert any(len(v.shape) == 2 for v in variables if v.path in not_kernels)

    assert decayed(built(variables)) == set(names) - not_kernels


@both_selections
def test_an_empty_list_excludes_nothing(argument, selected):
    assert selected(built(make_variables(), **{argument: []})) == EVERYTHING


@both_selections
@pytest.mark.parametrize(
    ("make_rule", "excluded"),
    [
        (lambda variables: "bias", {"first/bias"}),
        (lambda variables: ["bias"], {"first/bias"}),
        # A pattern is searched for in the whole path, not only at its start or in the name.
        (lambda variables: "irst/", {"first/kernel", "first/bias"}),
        (lambda variables: "^norm", {"norm/gamma", "norm/beta"}),
        (lambda variables: "(gamma|kernel)$", KERNELS | {"norm/gamma"}),
        (lambda variables: ["^first", "gamma"], {"first/kernel", "first/bias", "norm/gamma"}),
        (lambda variables: variables[0], {"first/kernel"}),
        (lambda variables: [variables[0], variables[3]], {"first/kernel", "norm/beta"}),
        (lambda variables: lambda variable: variable.shape[-1:] == (4,), {"second/kernel"}),
        (lambda variables: [lambda variable: "beta" in variable.path], {"norm/beta"}),
        (lambda variables: keras_lars.rank_at_most(0), {"second/temperature"}),
        (lambda variables: keras_lars.rank_at_most(1), EVERYTHING - KERNELS),
        (lambda variables: keras_lars.rank_at_most(2), EVERYTHING),
        (lambda variables: keras_lars.bias_or_normalization(), EVERYTHING - KERNELS),
        (lambda variables: keras_lars.optional("bias"), {"first/bias"}),
        (lambda variables: keras_lars.optional("nothing like it"), set()),
        (
            lambda variables: [
                "gamma",
                variables[0],
                lambda variable: variable.path == "first/bias",
                keras_lars.rank_at_most(0),
                keras_lars.optional("absent"),
            ],
            {"norm/gamma", "first/kernel", "first/bias", "second/temperature"},
        ),
    ],
)
def test_every_kind_of_rule(argument, selected, make_rule, excluded):
    variables = make_variables()
    optimizer = built(variables, **{argument: make_rule(variables)})
    assert selected(optimizer) == EVERYTHING - excluded


def test_the_two_selections_are_separate():
    optimizer = built(
        make_variables(),
        exclude_from_layer_adaptation="^first",
        exclude_from_weight_decay="kernel$",
    )
    assert adapted(optimizer) == EVERYTHING - {"first/kernel", "first/bias"}
    assert decayed(optimizer) == EVERYTHING - KERNELS


def test_a_variable_rule_tells_apart_variables_that_share_a_path():
    twins = [make_variable("layer/kernel", np.ones((2, 2))) for _ in range(2)]
    optimizer = built(
        twins, exclude_from_layer_adaptation=twins[1], exclude_from_weight_decay=twins[0]
    )
    table = optimizer.variable_table()
    assert [row.adapted for row in table] == [True, False]
    assert [row.decayed for row in table] == [False, True]


def test_a_callable_is_called_once_for_each_variable_and_only_in_build():
    asked = []
    variables = make_variables()

    def rule(variable):
        asked.append(variable.path)
        return variable.path == "first/kernel"

    optimizer = built(variables, exclude_from_layer_adaptation=rule)
    for _ in range(2):
        optimizer.apply([np.ones(v.shape, "float32") for v in variables], variables)
    assert asked == [variable.path for variable in variables]


@both_selections
def test_a_mask_of_another_implementation_warns(argument, selected):
    """optax's masks, and the filters of BYOL, are True for what to include."""

    def mask(variables):
        return keras.tree.map_structure(lambda variable: len(variable.shape) > 1, variables)

    match = (
        f"`{argument}=.*mask` excludes all kernels.*return the opposite. Received: .*first/kernel"
    )
    with pytest.warns(UserWarning, match=match):
        assert selected(built(make_variables(), **{argument: mask})) == EVERYTHING - KERNELS
    kernels = [variable for variable in make_variables() if variable.path in KERNELS]
    built(kernels, **{argument: mask})  # which leaves out nothing but kernels
    built(make_variables(), **{argument: lambda variable: not mask(variable)})
    built(make_variables(), **{argument: lambda variable: False})


@both_selections
@pytest.mark.parametrize("rules", ["batch_norm", ["first", "batch_norm"]])
def test_a_pattern_that_matches_nothing_raises_and_lists_the_paths(argument, selected, rules):
    with pytest.raises(ValueError) as error:
        built(make_variables(), **{argument: rules})
    for expected in EVERYTHING | {"batch_norm", argument}:
        assert expected in str(error.value)


@both_selections
@pytest.mark.parametrize(
    "make_rule",
    [
        lambda: keras_lars.rank_at_most(1),
        keras_lars.bias_or_normalization,
        lambda: keras_lars.optional("absent"),
        lambda: None,
    ],
)
def test_a_ready_made_rule_may_match_nothing(argument, selected, make_rule):
    optimizer = built([make_variable("only/kernel", [[1.0]])], **{argument: make_rule()})
    assert selected(optimizer) == {"only/kernel"}


@both_selections
def test_a_variable_that_is_not_trained_raises(argument, selected):
    stranger = make_variable("stranger/kernel", [[1.0]])
    with pytest.raises(ValueError, match="stranger/kernel"):
        built(make_variables(), **{argument: ["bias", stranger]})


@both_selections
@pytest.mark.parametrize(
    "rule", ["(", 3, 1.5, True, b"bias", [3], ["bias", "["], [None], [["bias"]]]
)
def test_a_bad_rule_raises_at_construction(argument, selected, rule):
    with pytest.raises(ValueError, match=f"(?s){argument}.*Received: "):
        keras_lars.LARS(**{argument: rule})


@both_selections
def test_a_layer_is_refused_although_it_is_callable(argument, selected):
    for rule in (keras.layers.Dense(2), keras.Sequential([keras.layers.Dense(2)])):
        with pytest.raises(ValueError, match=f"{argument}.*`trainable_variables`. Received: "):
            keras_lars.LARS(**{argument: [rule]})


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (keras_lars.rank_at_most, -1),
        (keras_lars.rank_at_most, 1.5),
        (keras_lars.rank_at_most, "1"),
        (keras_lars.rank_at_most, None),
        (keras_lars.optional, "("),
        (keras_lars.optional, 3),
        (keras_lars.optional, None),
    ],
)
def test_a_bad_argument_of_a_ready_made_rule_raises(make, argument):
    with pytest.raises(ValueError, match="Received: "):
        make(argument)


def call_method(optimizer, argument, *args, **kwargs):
    # The Keras method and its counterpart have the names of the constructor's arguments.
    return getattr(optimizer, argument)(*args, **kwargs)


@both_selections
def test_the_method_takes_a_single_variable_or_name_too(argument, selected):
    variables = make_variables()
    optimizer = keras_lars.LARS(jit_compile=False, **{argument: []})
    call_method(optimizer, argument, var_list=variables[0], var_names="^second/k")
    optimizer.build(variables)
    everything = selected(built(variables, **{argument: []}))
    assert selected(optimizer) == everything - {"first/kernel", "second/kernel"}


def test_the_method_of_a_loss_scale_optimizer_is_that_of_the_optimizer_inside():
    variables = make_variables()
    optimizer = keras_lars.LARS(jit_compile=False)
    keras_lars.LossScaleOptimizer(optimizer).exclude_from_weight_decay(var_names=["first"])
    optimizer.build(variables)
    assert decayed(optimizer) == {"second/kernel"}


@both_selections
@pytest.mark.parametrize("given", [None, [], "gamma", ["gamma", "beta"]], ids=repr)
def test_the_method_adds_to_the_rules_of_the_constructor(argument, selected, given):
    variables = make_variables()
    without_method = selected(built(variables, **{argument: given}))

    optimizer = keras_lars.LARS(jit_compile=False, **{argument: given})
    call_method(optimizer, argument, var_list=[variables[0]])
    call_method(optimizer, argument, var_names=["^second/k"])
    optimizer.build(variables)

    assert selected(optimizer) == without_method - {"first/kernel", "second/kernel"}
    # The method has something left to exclude. Otherwise nothing would be tested.
    assert without_method >= KERNELS


@both_selections
def test_the_method_matches_paths_and_takes_both_arguments_at_once(argument, selected):
    variables = make_variables()
    optimizer = keras_lars.LARS(jit_compile=False, **{argument: []})
    # "first" is in no variable's name, only in the paths.
    call_method(optimizer, argument, [variables[4]], ["first"])
    optimizer.build(variables)
    assert selected(optimizer) == EVERYTHING - {"first/kernel", "first/bias", "second/kernel"}


@both_selections
def test_the_method_leaves_the_other_selection_alone(argument, selected):
    plain = built(make_variables())
    optimizer = keras_lars.LARS(jit_compile=False)
    call_method(optimizer, argument, var_names=["kernel"])
    optimizer.build(make_variables())
    other = {adapted: decayed, decayed: adapted}[selected]
    assert other(optimizer) == other(plain)
    assert selected(optimizer) != selected(plain)


@both_selections
@pytest.mark.parametrize("kwargs", [{"var_names": ["bias"]}, {"var_list": []}, {}], ids=repr)
def test_the_method_raises_after_build(argument, selected, kwargs):
    optimizer = built(make_variables())
    with pytest.raises(ValueError, match=f"(?s){argument}.*buil"):
        call_method(optimizer, argument, **kwargs)


@both_selections
@pytest.mark.parametrize("arguments", [{}, {"var_list": []}, {"var_names": ()}], ids=repr)
def test_the_method_warns_without_rules(argument, selected, arguments):
    optimizer = keras_lars.LARS(jit_compile=False)
    with pytest.warns(
        UserWarning, match="an empty list until it is built. Received: var_list="
    ) as (caught):
        call_method(optimizer, argument, **arguments)
    (warning,) = caught
    assert str(warning.message).startswith(f"`{argument}` was called without variables or names")
    assert warning.filename == __file__


@both_selections
def test_rules_that_the_method_adds_are_checked_in_build(argument, selected):
    optimizer = keras_lars.LARS(jit_compile=False)
    call_method(optimizer, argument, var_names=["batch_norm"])
    with pytest.raises(ValueError, match="batch_norm"):
        optimizer.build(make_variables())

    optimizer = keras_lars.LARS(jit_compile=False)
    call_method(optimizer, argument, var_list=[make_variable("stranger/kernel", [[1.0]])])
    with pytest.raises(ValueError, match="stranger/kernel"):
        optimizer.build(make_variables())


@pytest.mark.parametrize("is_adapted", [True, False])
@pytest.mark.parametrize("is_decayed", [True, False])
@pytest.mark.parametrize("through", ["constructor", "method"])
def test_the_exclusions_change_the_numbers(is_adapted, is_decayed, through):
    variables = [
        make_variable("one/kernel", [[3.0, 4.0]]),
        make_variable("two/kernel", [[3.0, 4.0]]),
    ]
    gradient = np.array([[0.6, 0.8]], "float32")
    rules = {}
    if not is_adapted:
        rules["exclude_from_layer_adaptation"] = "one"
    if not is_decayed:
        rules["exclude_from_weight_decay"] = "one"
    optimizer = keras_lars.LARS(
        learning_rate=0.5,
        momentum=0.0,
        weight_decay=0.25,
        trust_coefficient=0.1,
        unadapted_learning_rate_multiplier=0.125,
        jit_compile=False,
        **(rules if through == "constructor" else {}),
    )
    if through == "method":
        for argument, pattern in rules.items():
            call_method(optimizer, argument, var_names=[pattern])
    optimizer.build(variables)
    optimizer.apply([gradient, gradient], variables)

    # Weight norm 5, gradient norm 1: the paper's ratio without and with decay.
    def weights(is_adapted, is_decayed):
        decay = 0.25 if is_decayed else 0.0
        ratio = 0.1 * 5.0 / (1.0 + decay * 5.0) if is_adapted else 0.125
        weight = np.array([[3.0, 4.0]])
        return weight - 0.5 * ratio * (gradient + decay * weight)

    np.testing.assert_allclose(variables[0].numpy(), weights(is_adapted, is_decayed), rtol=1e-6)
    np.testing.assert_allclose(variables[1].numpy(), weights(True, True), rtol=1e-6)


def only_the_first_kernel(variable):
    return variable.path == "first/kernel"


def test_the_variable_table_names_the_rule():
    variables = make_variables()
    table = built(
        variables,
        exclude_from_layer_adaptation=["gam+a", only_the_first_kernel, keras_lars.rank_at_most(0)],
        exclude_from_weight_decay=[variables[4], keras_lars.optional("beta")],
    ).variable_table()

    assert [row.position for row in table] == list(range(len(variables)))
    assert [row.path for row in table] == [variable.path for variable in variables]
    assert [tuple(row.shape) for row in table] == [tuple(v.shape) for v in variables]
    rows = {row.path: row for row in table}
    for row in table:
        assert {type(row.adapted), type(row.decayed)} == {bool}
        assert (row.adaptation_rule == "") == row.adapted
        assert (row.decay_rule == "") == row.decayed
    assert "gam+a" in rows["norm/gamma"].adaptation_rule
    assert "only_the_first_kernel" in rows["first/kernel"].adaptation_rule
    assert "rank_at_most" in rows["second/temperature"].adaptation_rule
    assert "second/kernel" in rows["second/kernel"].decay_rule
    assert "beta" in rows["norm/beta"].decay_rule
    assert (rows["first/bias"].adapted, rows["first/bias"].decayed) == (True, True)


def test_the_variable_table_names_the_default_rule():
    rows = {row.path: row for row in built(make_variables()).variable_table()}
    assert "bias_or_normalization" in rows["first/bias"].decay_rule


def test_variables_that_keras_overwrites_are_neither_adapted_nor_decayed():
    scales = make_variable("first/scales", np.ones((2, 2)), overwrite_with_gradient=True)
    *others, row = built([*make_variables(), scales]).variable_table()
    assert (row.adapted, row.decayed) == (False, False)
    assert row.adaptation_rule == row.decay_rule == "overwritten by Keras"
    assert all(other.adapted for other in others)


def test_the_variable_table_prints_a_line_for_each_variable():
    table = built(make_variables(), exclude_from_layer_adaptation="gam+a").variable_table()
    lines = str(table).splitlines()
    for row in table:
        (line,) = [line for line in lines if row.path in line]
        for cell in (row.adaptation_rule, row.decay_rule, str(tuple(row.shape))):
            assert cell in line
    # The printed table must show the effect of the rules.
    assert "gam+a" in str(table)


def test_the_variable_table_needs_build():
    with pytest.raises(ValueError, match="buil"):
        keras_lars.LARS().variable_table()
