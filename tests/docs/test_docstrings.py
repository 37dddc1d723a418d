"""The examples in docstrings print what they show, in every module that has examples."""

import ast
import doctest
import importlib
import json
import pathlib
import tempfile

import keras
import pytest
from support.helpers import run_code

import keras_lars

pytestmark = pytest.mark.docs

PACKAGE = pathlib.Path(keras_lars.__file__).parent
NODES = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

# A strategy of several workers must be created before TensorFlow does anything else, so these come
# first in a process of their own. Callbacks train, and need not share a strategy with tests.
FIRST = ["multi_worker"]
IN_A_NEW_PROCESS = ("multi_worker", "callbacks")

# Optional packages that some modules need.
NEEDS = {"report": "matplotlib"}

# Methods of Keras's interface, which Keras documents.
INTERFACE = {"get_config", "from_config"}


def name_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


TREES = {
    name_of(path): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
}


def examples_in(tree):
    texts = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, NODES)]
    return sum(len(doctest.DocTestParser().get_examples(text)) for text in texts)


EXAMPLES = {name: examples_in(tree) for name, tree in TREES.items() if examples_in(tree)}
OUTSIDE = [name for name in EXAMPLES if name.split(".")[0] in IN_A_NEW_PROCESS]
INSIDE = [name for name in EXAMPLES if name not in OUTSIDE]


def run_examples(name):
    """The number of examples of a module that were run, and their faults."""
    import numpy as np
    import tensorflow as tf

    module = importlib.import_module(f"keras_lars.{name}".rstrip("."))
    known = {"keras": keras, "keras_lars": keras_lars, "np": np, "tf": tf}
    runner, faults = doctest.DocTestRunner(verbose=False), []
    for test in doctest.DocTestFinder().find(module, extraglobs=known):
        with tempfile.TemporaryDirectory() as folder:  # each docstring has its own folder
            test.globs["folder"] = folder
            runner.run(test, out=faults.append)
    return runner.tries, "".join(faults)


@pytest.mark.slow
@pytest.mark.parametrize("name", INSIDE)
def test_examples(name):
    if needed := NEEDS.get(name.split(".")[0]):
        pytest.importorskip(needed)
    attempted, faults = run_examples(name)
    assert not faults, faults
    assert attempted == EXAMPLES[name]


@pytest.fixture(scope="module")
def outside():
    """The outcomes of the examples that need a process of their own."""
    names = sorted(OUTSIDE, key=lambda name: (name not in FIRST, name))
    code = f"""
import json, runpy
run_examples = runpy.run_path({__file__!r})["run_examples"]
for name in {names}:
    print("outcome", json.dumps([name, *run_examples(name)]))
"""
    lines = run_code(code).splitlines()
    found = [json.loads(line[len("outcome ") :]) for line in lines if line.startswith("outcome ")]
    return {name: outcome for name, *outcome in found}


@pytest.mark.slow
@pytest.mark.parametrize("name", OUTSIDE)
def test_examples_that_train(name, outside):
    attempted, faults = outside[name]
    assert not faults, faults
    assert attempted == EXAMPLES[name]


def undocumented(tree, prefix=""):
    """Public functions, classes and methods without a docstring."""
    for node in tree.body:
        if not isinstance(node, NODES) or node.name.startswith("_") or node.name in INTERFACE:
            continue
        is_setter = any(ast.unparse(d).endswith(".setter") for d in node.decorator_list)
        if not ast.get_docstring(node) and not is_setter:
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from undocumented(node, f"{prefix}{node.name}.")


@pytest.mark.parametrize("name", TREES)
def test_public_objects_are_documented(name):
    assert ast.get_docstring(TREES[name])
    if not any(part.startswith("_") for part in name.split(".")):
        assert list(undocumented(TREES[name])) == []
