"""The public API is what its pages say, and its docstrings name the arguments there are."""

import inspect
import json
import re

import keras
import pytest
from support import api_pages, pages, public_api
from support.helpers import run_python

import keras_lars

# Why something public has no example.
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
    except ValueError:  # an exception's
        return []
    prefixes = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}
    names = [prefixes.get(p.kind.name, "") + p.name for p in parameters]
    return [name for name in names if name != "self"]


def has_own_arguments(value):
    return not inspect.isclass(value) or "__init__" in vars(value)


def test_the_pages_are_made_of_the_docstrings():
    there = {path.name: path.read_text(encoding="utf-8") for path in api_pages.FOLDER.iterdir()}
    assert there == api_pages.pages(), "see tests/support/api_pages.py"


@pytest.mark.slow
def test_what_is_public_is_reached_by_attribute():
    """From nothing but `import keras_lars`, which imports neither the report nor what draws."""
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
    """What completion offers beside what Keras has."""
    return {name for name in {*dir(instance)} - {*dir(base)} if not name.startswith("_")}


def arguments(kind):
    return {name for name in named_in_signature(kind) if name != "**kwargs"}


def test_completion_on_lars_shows_what_is_public():
    lars, sgd = keras_lars.LARS(), keras.optimizers.SGD()
    expected = arguments(keras_lars.LARS) - {*dir(sgd)} | {"trust_ratios", "variable_table"}
    assert added(lars, sgd) - {"momentums"} == expected  # which Keras makes in `build`
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
def test_one_line_says_what_it_is(name):
    if name not in public_api.LINES:
        line, *rest = inspect.getdoc(OBJECTS[name]).splitlines()
        assert line.endswith(".")
        assert not rest or rest[0] == ""


def test_all_names_what_a_module_defines():
    """Nothing without an underscore is left out of `__all__`, nor what is not there in it."""
    for name, module in public_api.public_modules().items():
        assert hasattr(module, "__all__"), name
        assert sorted(module.__all__) == list(module.__all__), name
        own = {
            n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__
        }
        assert {n for n in own if not n.startswith("_")} <= set(module.__all__), name


def test_an_example_shows_what_comes_out():
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
    else:  # Keras's, which takes more by name in one version than in another
        assert {n for n in actual if not n.startswith("*")} <= set(documented)
        assert "**kwargs" in actual or documented == actual


def test_methods_name_their_arguments():
    """Those of the public classes, also without an example, if they list arguments at all."""
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
    """In code, its own and those of every Keras optimizer that it takes."""
    text = "".join(map(pages.read, pages.PAGES))
    code = " ".join(re.findall(r"```.*?```|`[^`]+`", text, re.DOTALL))
    own = [name for name in named_in_signature(keras_lars.LARS) if name != "**kwargs"]
    of_keras = [name for name in named_in_signature(keras.optimizers.SGD) if name != "**kwargs"]
    assert {"clipnorm", "use_ema"} <= set(of_keras)
    names = dict.fromkeys([*own, *of_keras])
    assert [name for name in names if not re.search(rf"\b{name}\b", code)] == []
