"""A type checker finds mistakes in uses of the package, and gives no false alarms."""

import ast
import inspect
import pathlib
import re
import subprocess
import sys
import typing

import keras
import pytest
from support import ROOT, TESTS

import keras_lars
from keras_lars._types import KerasArguments

CASES = TESTS / "support" / "typing_cases.py"
PACKAGE = pathlib.Path(keras_lars.__file__).parent
PUBLIC_MODULES = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if not any(re.match(r"_(?!_init__)", part) for part in path.relative_to(PACKAGE).parts)
]
GENERIC = {"Callable", "Iterable", "Mapping", "Sequence", "dict", "list", "set", "tuple"}


@pytest.mark.slow
def test_errors_are_on_the_wrong_lines_only(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", f"--cache-dir={tmp_path}", "--follow-imports=silent"),
            *(f"--config-file={ROOT / 'pyproject.toml'}", str(CASES)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    found = re.findall(rf"^[^:\n]*{CASES.name}:(\d+): error", done.stdout, re.MULTILINE)
    lines = CASES.read_text(encoding="utf-8").splitlines()
    wrong = {i for i, line in enumerate(lines, 1) if line.endswith("  # wrong")}
    errors = set(map(int, found))
    assert len(wrong) > 50
    assert {lines[i - 1] for i in wrong - errors} == set(), "not found"
    assert {lines[i - 1] for i in errors - wrong} == set(), done.stdout


def signatures(tree):
    """Public functions, and methods of public classes."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from signatures(node)
        if isinstance(node, ast.FunctionDef) and not re.match(r"_(?!_init__|_call__)", node.name):
            yield node


def vague(annotation):
    """Whether an annotation is missing, is `Any`, or has a generic class without arguments."""
    if annotation is None:
        return True
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    if ast.unparse(annotation) == "Any":
        return True
    nodes = list(ast.walk(annotation))
    with_arguments = {id(node.value) for node in nodes if isinstance(node, ast.Subscript)}
    return any(
        isinstance(node, ast.Name) and node.id in GENERIC and id(node) not in with_arguments
        for node in nodes
    )


@pytest.mark.parametrize("path", PUBLIC_MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_public_signatures_have_precise_types(path):
    unclear = []
    for function in signatures(ast.parse(path.read_text(encoding="utf-8"))):
        arguments = function.args
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        named += [each for each in (arguments.vararg, arguments.kwarg) if each]
        annotations = {a.arg: a.annotation for a in named if a.arg not in ("self", "cls")}
        if function.name != "__init__":
            annotations["return"] = function.returns
        unclear += [(function.name, name) for name, what in annotations.items() if vague(what)]
    assert unclear == []


def test_vague_annotations_are_detected():
    texts = ["Any", "dict", "list | None", "dict[str, list]", "'Sequence | None'", "Callable"]
    assert all(vague(ast.parse(text, mode="eval").body) for text in texts)
    texts = ["int", "dict[str, Any]", "'Sequence[int] | None'", "Callable[[int], list[str]]"]
    assert not any(vague(ast.parse(text, mode="eval").body) for text in texts)


def test_keras_arguments_are_those_of_keras():
    """The arguments of every Keras optimizer that `LARS` does not name itself."""
    of_keras = set(inspect.signature(keras.optimizers.SGD).parameters) - {"kwargs"}
    own = set(inspect.signature(keras_lars.LARS).parameters) - {"kwargs"}
    assert set(KerasArguments.__annotations__) == of_keras - own


@pytest.mark.skipif(sys.version_info < (3, 11), reason="`typing.Unpack` is of Python 3.11")
def test_annotations_can_be_read():
    hints = typing.get_type_hints(keras_lars.LARS.__init__)
    assert hints["momentum"] is float
    assert typing.get_origin(hints["kwargs"]) is typing.Unpack


def test_the_signature_reads_well():
    text = str(inspect.signature(keras_lars.LARS))
    assert text.startswith("(learning_rate: 'LearningRate' = ")
    assert "nesterov: bool = False" in text
    assert "exclude_from_weight_decay: 'ExclusionRules | None' = None" in text
    assert text.endswith("name: str = 'lars', **kwargs: 'Unpack[KerasArguments]')")
