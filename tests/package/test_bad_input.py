"""Bad numbers, texts and files are refused with a clear message, or understood."""

import csv
import json
import math
import re
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.helpers import run_command

import keras_lars
from benchmarks import command_line
from keras_lars import _arguments, _json, _words, report, schedules
from keras_lars._monitoring import history, record
from keras_lars.callbacks import TrustRatioMonitor

HUGE = 10**400


def refused(match, function, *arguments, **named):
    """The message of the error, which has fewer than 1,500 characters."""
    with pytest.raises(ValueError, match=match) as caught:
        function(*arguments, **named)
    assert len(str(caught.value)) < 1500
    return str(caught.value)


def ids(value):
    """Short IDs, since they get into the environment of processes."""
    return _arguments.shown(value)[:20].replace("\0", "0")


# Numbers.


@pytest.mark.parametrize("value", [HUGE, -HUGE, 1e39, np.longdouble("1e4000"), 10**5000], ids=ids)
def test_numbers_that_exceed_float32(value):
    for argument in ("learning_rate", "weight_decay", "clipnorm"):
        refused(f"`{argument}` must be a finite number", keras_lars.LARS, **{argument: value})


def test_the_largest_float32_is_accepted():
    largest = float(np.finfo("float32").max)
    assert keras_lars.LARS(weight_decay=largest).weight_decay == largest
    message = refused("weight_decay", keras_lars.LARS, weight_decay=np.nextafter(largest, np.inf))
    assert ">= 0 and <= 3.4e+38, which is the largest float32. Received: weight_decay=" in message


def test_huge_numbers_are_shown_by_their_number_of_digits():
    message = refused("learning_rate", keras_lars.LARS, HUGE)
    assert message.endswith("Received: learning_rate=an integer of about 400 digits")
    with pytest.raises(ValueError, match="digits"):  # Python refuses to print them
        str(10**5000)


def test_steps_that_exceed_the_counter():
    for steps in (2**31, 2**63, HUGE):
        refused("`warmup_steps` must be an integer >= 0", schedules.WarmUp, 1.0, steps)
        for argument in ("gradient_accumulation_steps", "ema_overwrite_frequency"):
            refused(f"`{argument}` must be an integer", keras_lars.LARS, **{argument: steps})
    warm_up = schedules.WarmUp(1.0, 2**31 - 1)
    assert float(warm_up(2**30)) == pytest.approx(0.5)
    refused("`step` must be a finite number", warm_up, 2**63)
    refused("`epochs` must give fewer than 2\\*\\*31", schedules.FitSchedule, 2**31, 1, 1, 1.0)


def test_a_schedule_accepts_numbers_of_any_type():
    warm_up = schedules.WarmUp(1.0, 4)
    for step in (2, 2.0, np.uint64(2), np.int8(2), np.float64(2), keras.ops.array(2)):
        assert float(warm_up(step)) == 0.5
    for step in ("2", None, True, [2], float("nan"), 1j, np.array("a")):
        refused("`step` must be", warm_up, step)


def test_loss_scaling():
    def wrap(**given):
        return keras_lars.LossScaleOptimizer(keras_lars.LARS(), **given)

    for scale in (0, -1, float("nan"), HUGE, "8", True):
        refused("`initial_scale` must be a finite number > 0", wrap, initial_scale=scale)
    for steps in (0, 1.5, 2**63, True):
        refused("`dynamic_growth_steps` must be an integer", wrap, dynamic_growth_steps=steps)
    refused("`inner_optimizer` must be", keras_lars.LossScaleOptimizer, "sgd")
    for inner in (wrap(), keras.optimizers.LossScaleOptimizer(keras_lars.LARS())):
        refused("`inner_optimizer` must .* unscaled twice", keras_lars.LossScaleOptimizer, inner)
    refused("`name` must be a string of one line", wrap, name="a\nb")


def test_ports():
    refused(
        "`port` must be an integer >= 1 and <= 65535", keras_lars.multi_worker.strategy, 1, 65_536
    )


# Learning rates and rules.


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (keras.optimizers.schedules.CosineDecay, "not a class"),
        (lambda step: 1.0, "a callable without arguments"),
        (np.array([1.0, 2.0]), "not a tensor or variable"),
        (np.array("x"), "not a tensor or variable"),
    ],
)
def test_learning_rates_of_wrong_types(value, rule):
    refused(f"`learning_rate` must be .*{rule}", keras_lars.LARS, value)


def test_learning_rates_that_are_assigned():
    optimizer = keras_lars.LARS()
    optimizer.learning_rate = keras.ops.convert_to_tensor(2.0)
    assert float(optimizer.learning_rate) == 2.0
    cyclic = []
    cyclic.append(cyclic)
    for value in (np.array([1.0, 2.0]), np.array("x"), keras.ops.ones(2), cyclic, HUGE):
        refused("`learning_rate` must be", setattr, optimizer, "learning_rate", value)


class Returning(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that returns the result of a function of the step."""

    def __init__(self, function):
        self.function = function

    def __call__(self, step):
        return self.function(step)


def run_one_step(learning_rate):
    keras_lars.LARS(learning_rate).apply([np.ones(2, "float32")], [keras.Variable([1.0, 2.0])])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "None"),
        (-4.0, "-4.0"),
        (math.nan, "nan"),
        (1e39, "1e+39"),
        (True, "True"),
        ("4.0", "'4.0'"),
        ([4.0], "[4.0]"),
        (np.float32(-4), "np.float32(-4.0)"),
        (np.array(-4.0), "array(-4.)"),
        (np.ones(1), "array([1.])"),
        (tf.ones(2), "<EagerTensor of shape (2,)>"),
        (tf.constant(True), "<tf.Tensor: shape=(), dtype=bool, numpy=True>"),
    ],
    ids=ids,
)
def test_rates_that_a_function_returns(value, shown):
    rule = "`learning_rate` must be a schedule or callable that returns a finite number >= 0"
    for function in (lambda: value, Returning(lambda step: value)):
        assert refused(rule, run_one_step, function).endswith(f", which returns {shown}")


def test_a_schedule_is_called_before_training_for_the_value_of_its_tensor():
    variable = keras.Variable([1.0, 2.0])
    for first in (-4.0, math.nan, math.inf):
        schedule = Returning(lambda step: tf.constant(first) + 0.0 * tf.cast(step, "float32"))  # noqa: B023
        message = refused("`learning_rate` must be", keras_lars.LARS(schedule).build, [variable])
        assert message.endswith(f", which returns {np.array(first, 'float32')!r}")


@pytest.mark.parametrize(
    "value", [4, np.float64(4), np.array(4), tf.constant(4), tf.Variable(4.0)], ids=ids
)
def test_rates_of_any_type_that_a_function_returns(value):
    run_one_step(lambda: value)
    run_one_step(Returning(lambda step: value))


def test_a_schedule_may_return_a_tensor_of_unknown_shape():
    schedule = Returning(lambda step: tf.py_function(lambda: 4.0, [], "float32"))
    optimizer, variable = keras_lars.LARS(schedule), keras.Variable([1.0, 2.0])
    tf.function(lambda: optimizer.apply([tf.ones(2)], [variable]))()


def test_a_schedule_that_fails_raises_its_own_error():
    with pytest.raises(ZeroDivisionError):
        run_one_step(Returning(lambda step: 1 / 0))


def test_a_callable_is_called_once_for_each_update():
    rates = iter([4.0])
    run_one_step(lambda: next(rates))


def test_a_schedule_may_have_variables():
    class Learned(keras.optimizers.schedules.LearningRateSchedule):
        trainable_variables = ()

        def __call__(self, step):
            return 1.0

    assert float(keras_lars.LARS(Learned()).learning_rate) == 1.0


@pytest.mark.parametrize("pattern", ["", "bias|", "|bias", "a||b", "(?i)", "(?i)|bias"], ids=ids)
def test_patterns_with_an_empty_alternative(pattern):
    """They match every path, so they would exclude everything."""
    refused("`pattern` must be .* without an empty alternative", keras_lars.optional, pattern)
    for argument in ("exclude_from_layer_adaptation", "exclude_from_weight_decay"):
        for rule in (pattern, ["kernel", pattern]):
            message = refused(f"`{argument}` must be", keras_lars.LARS, **{argument: rule})
            assert message.endswith(f"Received: {argument}={pattern!r}")


@pytest.mark.parametrize(
    "pattern", [".*", "^(?!.*kernel)", "[|]$|a", r"a\|", "[||]", "(a|)$", "x*"], ids=ids
)
def test_unusual_patterns_that_are_accepted(pattern):
    assert repr(keras_lars.optional(pattern)) == f"optional({pattern!r})"


@pytest.mark.parametrize(
    "pattern",
    [b"x", None, 5, re.compile("x"), "(", "(" * 20_000, "a{99999999999999999999}"],
    ids=ids,
)
def test_invalid_patterns(pattern):
    refused("`pattern` must be", keras_lars.optional, pattern)


@pytest.mark.parametrize(
    "rule",
    [b"bias", len("a"), [["bias"]], int, lambda: True, np.ones(2), {"class_name": "NoSuch"}]
    + [{"class_name": "pattern", "config": {"pattern": b"x"}, "registered_name": None}],
)
def test_rules_of_wrong_types(rule):
    given = {"exclude_from_weight_decay": rule}
    refused("`exclude_from_weight_decay` must be a rule", keras_lars.LARS, **given)


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        (lambda name: "bias" in name, "TypeError: argument of type 'Variable' is not"),
        (lambda name: "b" in list(name), "TypeError: 'Variable' object is not iterable"),
        (lambda name: name in ("bias", "gamma"), "TypeError: a variable is not a string"),
        (lambda name: name.endswith("bias"), "AttributeError: 'Variable' object has no attribute"),
        (lambda variable: np.ones(2), "ValueError: The truth value of an array"),
    ],
    ids=["in", "loop", "equal", "method", "array"],
)
def test_callables_that_fail(rule, error):
    for argument in ("exclude_from_layer_adaptation", "exclude_from_weight_decay"):
        optimizer = keras_lars.LARS(**{argument: ["kernel", rule]})
        variables = [keras.Variable([1.0], name="kernel")]
        message = refused(f"`{argument}` must hold callables", optimizer.build, variables)
        assert '`lambda variable: "bias" in variable.path`. Received: ' in message
        assert f"<lambda>, which raises {error}" in message


def test_a_callable_gets_the_variable_itself():
    kernel, bias = keras.Variable([1.0], name="kernel"), keras.Variable([1.0], name="bias")
    kind, seen = type(kernel), []

    def rule(variable):
        seen.append(variable)
        is_one = bool(np.all(keras.ops.convert_to_numpy(variable == 1.0)))
        return isinstance(variable, kind) and variable is bias and is_one

    optimizer = keras_lars.LARS(exclude_from_layer_adaptation=rule)
    optimizer.build([kernel, bias])
    assert [row.adapted for row in optimizer.variable_table()] == [True, False]
    assert [id(variable) for variable in seen] == [id(kernel), id(bias)]
    assert [type(variable) for variable in seen] == [kind, kind]


def test_variables_and_configurations_of_wrong_types():
    for given in (None, 5, "w", [5], [None], np.ones(3), keras.Variable([1.0])):
        refused("`variables` must be a list of Keras variables", keras_lars.LARS().build, given)
        refused("`config` must be a dictionary", keras_lars.LARS.from_config, given)
    refused("`var_list` must be a rule", keras_lars.LARS().exclude_from_weight_decay, 5)
    refused("`name` must be a string of one line", keras_lars.LARS, name="a\rb")


class Unwritable:
    def __repr__(self):
        raise RuntimeError("no repr")


def test_how_values_are_shown():
    assert _arguments.shown("a") == "'a'"
    assert len(_arguments.shown("x" * 4000)) == 205
    assert "Unwritable" in _arguments.shown(Unwritable())
    assert "`momentum` must be" in refused("momentum", keras_lars.LARS, momentum=Unwritable())


# Data.


@pytest.mark.parametrize("data", [np.array([None, {}]), np.array(["a", "b"])])
def test_data_that_is_not_numeric(data):
    model = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization()])
    model.compile(keras_lars.LARS(), "mse")
    callback = keras_lars.callbacks.RecalibrateStatistics(data)
    x = np.ones((4, 1))
    refused("`data` must hold", model.fit, x, x, verbose=0, callbacks=[callback])


def test_data_without_samples():
    cyclic = []
    cyclic.append(cyclic)
    for data in ((), keras.ops.array(1.0), cyclic, (1, 2, 3, 4)):
        refused("`data` must be", keras_lars.callbacks.RecalibrateStatistics, data)


# Records.

COLUMNS = ",".join(record.COLUMNS) + "\n"
ROW = "1,0.5,dense/kernel,5.0,0.5,0.01,2.0\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["dense\nlayer", "a\r\nb", "back\\slash", "\\n", 'a"b,c', "a\\\nb"], ids=ids
)
def test_names_with_line_breaks(name, tmp_path):
    """Layers may have such names. Each row still takes one line, and the report shows them."""
    layer = keras.layers.Dense(1, name=name)
    model = keras.Sequential([keras.Input((2,)), layer], name="model")
    # Eagerly, since TensorFlow refuses such names in graphs. Other backends accept them.
    optimizer = keras_lars.LARS(record_trust_ratios=True, jit_compile=False)
    model.compile(optimizer, "mse", run_eagerly=True)
    formats = ["csv", "jsonl"]
    for _ in range(2):  # the second run continues the files of the first
        monitor = TrustRatioMonitor(tmp_path, formats=formats, verbose=False)
        model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0, callbacks=[monitor])
    for kind in formats:
        record = history.read(tmp_path / f"trust_ratios.{kind}")
        assert [variable.key for variable in record.variables] == [v.path for v in layer.weights]
        assert record.updates.tolist() == [1, 2]
        assert record.is_recorded.all()
    lines = (tmp_path / "trust_ratios.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(list(csv.reader(lines))) == 1 + 2 * 2
    page = report.draw(tmp_path).read_text(encoding="utf-8")
    assert "LARS, layer by layer" in page
    assert len(str(model.optimizer.variable_table()).split("\n")) == 1 + 2


def test_escaping_of_names_is_reversible():
    for name in ("a", "\n", "\\", "\\n", "\\\n", "\r\n\\r", "\\\\n"):
        assert "\n" not in _words.escaped(name)
        assert _words.unescaped(_words.escaped(name)) == name


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_byte_order_mark_is_understood(kind, tmp_path):
    path = tmp_path / f"trust_ratios.{kind}"
    row = dict(zip(record.COLUMNS, [1, 0.5, "dense/kernel", 5.0, 0.5, 0.01, 2.0]))
    text = COLUMNS + ROW if kind == "csv" else json.dumps(row) + "\n"
    path.write_text("\ufeff" + text, encoding="utf-8")
    assert history.read(path).updates.tolist() == [1]
    file = record.writer(kind, tmp_path)
    file.check()
    file.begin(2)
    assert path.read_text(encoding="utf-8") == text


def test_a_byte_order_mark_in_the_description(tmp_path):
    (tmp_path / "trust_ratios.csv").write_text(COLUMNS + ROW, encoding="utf-8")
    variable = {"position": 0, "path": "dense/kernel", "shape": [2, 2], "adapted": True}
    variable |= {"adaptation_rule": "", "decayed": True, "decay_rule": ""}
    text = json.dumps({"optimizer": {}, "versions": {}, "variables": [variable]})
    (tmp_path / "variables.json").write_text("\ufeff" + text, encoding="utf-8")
    assert history.read(tmp_path / "trust_ratios.csv").variables[0].adapted


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[" * 500 + "]" * 500, '{"a":' * 500 + "1" + "}" * 500], ids=ids
)
def test_deep_json(text, tmp_path):
    with pytest.raises(ValueError, match="nested too deeply"):
        _json.parse(text)
    (tmp_path / "trust_ratios.jsonl").write_text(text + "\n", encoding="utf-8")
    refused("`run` must be a record", report.draw, tmp_path)
    (tmp_path / "trust_ratios.csv").write_text(COLUMNS + ROW, encoding="utf-8")
    (tmp_path / "variables.json").write_text(text, encoding="utf-8")
    refused("`run` must have a variables.json", report.draw, tmp_path)
    monitor = TrustRatioMonitor(tmp_path, formats="jsonl")
    refused("`log_dir` must be a new folder", monitor._recorder.check)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".json", ".jsonl"]


@pytest.mark.parametrize("update", [str(HUGE), str(2**63), "9" * 5000, "0", "1.5", "true"], ids=ids)
def test_invalid_updates(update, tmp_path):
    (tmp_path / "trust_ratios.csv").write_text(COLUMNS + update + ROW[1:], encoding="utf-8")
    refused("`run` must be a record of norms and ratios: line 2", report.draw, tmp_path)


@pytest.mark.parametrize("value", [None, b"log", 5, "", "a\0b", "x" * 5000], ids=ids)
def test_invalid_paths(value, tmp_path):
    refused("`run` must be a path", report.draw, value)
    (tmp_path / "trust_ratios.csv").write_text(COLUMNS + ROW, encoding="utf-8")
    if value is not None:
        refused("`output` must be a path", report.draw, tmp_path, value)


def test_a_folder_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    refused("`log_dir` must name a folder", TrustRatioMonitor, tmp_path / "file" / "log")


@pytest.mark.slow
def test_a_report_that_cannot_be_written_leaves_the_previous_one(tmp_path):
    (tmp_path / "trust_ratios.csv").write_text(COLUMNS + ROW, encoding="utf-8")
    report.draw(tmp_path)
    folder = tmp_path / "report"
    picture = (folder / "norms.png").read_bytes()
    (folder / "index.html.temporary").mkdir()  # where the last of the files would be written
    (tmp_path / "trust_ratios.csv").write_text(COLUMNS + "2" + ROW[1:], encoding="utf-8")
    with pytest.raises(OSError, match="temporary"):
        report.draw(tmp_path)
    assert (folder / "norms.png").read_bytes() == picture
    assert len(list(folder.iterdir())) == 4 + 1


# Long names.


@pytest.mark.slow
def test_a_report_of_names_of_4000_characters_takes_seconds(tmp_path):
    rows = [
        f"{update},1,{'x' * 4000}{i:03},5.0,{i + 0.5},0.01,2.0\n"
        for update in (1, 2)
        for i in range(160)
    ]
    (tmp_path / "trust_ratios.csv").write_text(COLUMNS + "".join(rows), encoding="utf-8")
    started = time.process_time()
    report.draw(tmp_path)
    # It once took more than a minute for names a tenth as long.
    assert time.process_time() - started < 30


# Commands.


def said(module, *arguments):
    done = run_command(module, *arguments)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--startup_seconds=nan"], "error: --startup_seconds must be a finite number. .*nan"),
        (["--output_dir="], "error: --output_dir must not be empty. Received: ''"),
        (["--data_dir=a\nb"], "error: --data_dir must be one line of printable text. .*"),
        ([f"--epochs={HUGE}"], r"error: --epochs must be below 2\*\*63. Received: 10000.{,200}"),
        ([f"--epochs={10**6}"], "error: --epochs must be at least 1 and below 1000000. .*"),
        (["--micro_batch_size=2147483648"], "error: --micro_batch_size must be .* 2147483648.*"),
        ([f"--recipe={'x' * 4000}"], "error: --recipe must be a name .{,700}"),
    ],
)
def test_flags_of_a_training(flags, expected):
    assert re.fullmatch(expected, said("benchmarks.train", *flags))


@pytest.mark.slow
def test_flags_of_other_commands(tmp_path):
    line = said("benchmarks.experiments.ablations", "--seeds=1,1")
    assert re.fullmatch(r"error: --seeds must not repeat a value. Received: \['1', '1'\]", line)
    assert "--memory" in said("benchmarks.speed.update", "--memory=inf")
    assert "--models must not repeat a value" in said("benchmarks.speed.update", "--models=a,a")
    line = said("benchmarks.experiments.first_try", f"--output={tmp_path}/none/x.json")
    assert "--output must be in an existing folder" in line


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "null", "{}", "[[]]", '{"rows": 1}', "\xff", ""], ids=ids
)
@pytest.mark.parametrize(
    ("module", "form"),
    [
        ("benchmarks.collect", "{}"),
        ("benchmarks.speed.step", "--show={}"),
        ("benchmarks.experiments.batch_size", "--show={}"),
        ("benchmarks.experiments.norm_ratios", "--show={}"),
    ],
)
def test_files_that_are_not_results(module, form, text, tmp_path):
    path = tmp_path / "results.json"
    path.write_bytes(text.encode("latin-1"))
    assert re.match(r"error: (--\w+|each argument) must be ", said(module, form.format(path)))
    assert list(tmp_path.iterdir()) == [path]


def test_results_with_lone_surrogates(tmp_path):
    """They are valid JSON, but cannot be printed."""
    path = tmp_path / "results.json"
    path.write_text(r'{"\ud800": 1}', encoding="utf-8")
    with pytest.raises(command_line.UsageError, match=r"^--show must be a result .*surrogates"):
        command_line.read_json(path, "--show")
