"""The public API agrees with its pages, and its docstrings name the actual arguments."""

import inspect
import json
import re

import keras
import pytest
from support import api_pages, pages, public_api
from support.helpers import run_python

import keras_lars

# Public objects without an example, and why.
WITHOUT_EXAMPLE = {
    "multi_worker.WorkerLostError": "raised only where one of several processes has died",
}

OBJECTS = public_api.objects()
CALLABLES = {name: value for name, value in OBJECTS.items() if callable(value)}


def named_in_docstring(value):
    """The names that "Args:" lists; several may share a line."""
    text = inspect.getdoc(value)
    section = re.search(r"^Args:\n((?:(?: {4}.*)?\n)+)", text + "\n", re.MULTILINE)
    lines = re.findall(r"^ {4}(\S[^:]*):", section[1], re.MULTILINE) if section else []
    return [name for line in lines for name in line.replace("`", "").split(", ")]


def named_in_signature(value):
    try:
        parameters = inspect.signature(value).parameters.values()
    except ValueError:  # an exception has no signature
        return []
    prefixes = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}
    names = [prefixes.get(p.kind.name, "") + p.name for p in parameters]
    return [name for name in names if name != "self"]


def has_own_arguments(value):
    return not inspect.isclass(value) or "__init__" in vars(value)


def test_the_pages_are_made_from_the_docstrings():
    there = {path.name: path.read_text(encoding="utf-8") for path in api_pages.FOLDER.iterdir()}
    assert there == api_pages.pages(), "see tests/support/api_pages.py"


@pytest.mark.slow
def test_public_objects_are_attributes():
    """After just `import keras_lars`, which imports neither the report nor Matplotlib."""
    code = """
import json, sys
import keras  # which itself imports matplotlib where it is installed
before = {*sys.modules}
import keras_lars
print("outcome", json.dumps([[*{*sys.modules} - before], dir(keras_lars)]))
for name in json.loads(sys.argv[1]):
    value = keras_lars
    for part in name.split("."):
        value = getattr(value, part)
"""
    names = re.findall(r"^\| \[?`([\w.]*\w)`", pages.read("docs/api/README.md"), re.MULTILINE)
    assert {*names} | {*public_api.public_modules()} == {*OBJECTS}
    outcome = run_python("-c", code, json.dumps(names)).split("outcome ")[1]
    imported, listed = json.loads(outcome)
    assert "keras_lars.schedules" in imported
    assert not {name for name in imported if re.match(r"keras_lars\.report|matplotlib", name)}
    assert {name.split(".")[0] for name in names} <= set(listed)


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    assert {*keras_lars.__all__} <= {*dir(keras_lars)}
    with pytest.raises(AttributeError, match="'keras_lars' has no attribute 'reports'"):
        _ = keras_lars.reports


def added(instance, base):
    """The names that completion offers in addition to those of Keras."""
    return {name for name in {*dir(instance)} - {*dir(base)} if not name.startswith("_")}


def arguments(kind):
    return {name for name in named_in_signature(kind) if name != "**kwargs"}


def test_completion_on_lars_shows_what_is_public():
    lars, sgd = keras_lars.LARS(), keras.optimizers.SGD()
    expected = arguments(keras_lars.LARS) - {*dir(sgd)} | {"trust_ratios", "variable_table"}
    assert added(lars, sgd) - {"momentums"} == expected  # Keras makes it in `build`
    for optimizer in (lars, sgd):
        optimizer.build([keras.Variable([1.0])])
    assert added(lars, sgd) == expected
    wrapped = [keras_lars.LossScaleOptimizer(lars), keras.optimizers.LossScaleOptimizer(sgd)]
    assert added(*wrapped) == set()


def test_completion_on_callbacks_and_schedules_shows_what_is_public(tmp_path):
    of_keras = keras.callbacks.Callback()
    monitor = keras_lars.callbacks.TrustRatioMonitor(tmp_path)
    assert added(monitor, of_keras) == arguments(type(monitor))
    warm_up = keras_lars.schedules.WarmUp(1.0, 2)
    schedule = keras.optimizers.schedules.LearningRateSchedule()
    assert added(warm_up, schedule) == arguments(type(warm_up))
    if keras.backend.backend() == "tensorflow":
        backup = keras_lars.callbacks.BackupAndRestore(tmp_path)
        documented = {"batch", "epoch", "epochs", "save"}
        assert added(backup, of_keras) == arguments(type(backup)) | documented
        assert added(keras_lars.callbacks.AverageStatistics(), of_keras) == set()


@pytest.mark.parametrize("name", OBJECTS)
def test_docstrings_start_with_one_line(name):
    if name not in public_api.LINES:
        line, *rest = inspect.getdoc(OBJECTS[name]).splitlines()
        assert line.endswith(".")
        assert not rest or rest[0] == ""


def test_all_names_what_a_module_defines():
    """`__all__` is sorted, and has every name without an underscore that the module defines."""
    for name, module in public_api.public_modules().items():
        assert hasattr(module, "__all__"), name
        assert sorted(module.__all__) == list(module.__all__), name
        own = {
            n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__
        }
        assert {n for n in own if not n.startswith("_")} <= set(module.__all__), name


def test_examples_show_their_output():
    missing = {
        name
        for name, value in CALLABLES.items()
        if not re.search(r">>> .+\n( *(\.\.\.|>>>).*\n)*\s*[^\s>.]", inspect.getdoc(value))
    }
    assert missing == set(WITHOUT_EXAMPLE)


@pytest.mark.parametrize("name", CALLABLES)
def test_docstrings_name_the_arguments(name):
    value = CALLABLES[name]
    documented, actual = named_in_docstring(value), named_in_signature(value)
    if has_own_arguments(value):
        assert documented == actual
    else:  # inherited from Keras, whose versions differ in the arguments that they name
        assert {n for n in actual if not n.startswith("*")} <= set(documented)
        assert "**kwargs" in actual or documented == actual


def test_methods_name_their_arguments():
    """Methods of public classes, even without an example, if they list arguments at all."""
    methods = [
        method
        for value in CALLABLES.values()
        if inspect.isclass(value)
        for method in public_api.own_attributes(value).values()
        if inspect.isfunction(method) and "Args:" in (method.__doc__ or "")
    ]
    assert keras_lars.LARS.exclude_from_weight_decay in methods
    for method in methods:
        assert named_in_docstring(method) == named_in_signature(method), method


def test_the_pages_name_every_argument_of_lars():
    """As code: its own arguments, and those of every Keras optimizer."""
    text = "".join(map(pages.read, pages.PAGES))
    code = " ".join(re.findall(r"```.*?```|`[^`]+`", text, re.DOTALL))
    own = [name for name in named_in_signature(keras_lars.LARS) if name != "**kwargs"]
    of_keras = [name for name in named_in_signature(keras.optimizers.SGD) if name != "**kwargs"]
    assert {"clipnorm", "use_ema"} <= set(of_keras)
    names = dict.fromkeys([*own, *of_keras])
    assert [name for name in names if not re.search(rf"\b{name}\b", code)] == []
