"""What each module may import, and what no committed file may mention."""

import ast
import graphlib
import pathlib
import subprocess
import sys

import pytest
from support import ROOT, TESTS

import keras_lars

PACKAGE = pathlib.Path(keras_lars.__file__).parent


def imports(path, lazy=True, types=True):
    """Dotted names of everything that a file imports.

    Without `lazy`, not what its functions import; without `types`, not what type checkers need.
    """
    found = set()
    types = types and lazy

    def visit(node):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            found.update(f"{base}.{alias.name}".replace("..", ".") for alias in node.names)
        if not types and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        for child in ast.iter_child_nodes(node):
            if lazy or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def users(name):
    """Files of the package that import `name` or anything in it, at the top or in a function."""
    return {
        path.relative_to(PACKAGE).as_posix()
        for path in modules()
        if any((imported + ".").startswith(name + ".") for imported in imports(path))
    }


def test_imports_only_point_down():
    """There is no import cycle, so there is an order in which to read the modules."""
    names = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in modules()
    }
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}

    def module_of(imported):
        while imported and imported not in names:
            imported = imported.rpartition(".")[0]
        return imported

    arrows = {
        name: {module_of(each) for each in imports(path, types=False)} - {"", name}
        for name, path in names.items()
    }
    assert sum(map(len, arrows.values())) > len(names)
    graphlib.TopologicalSorter(arrows).prepare()  # raises CycleError


@pytest.mark.slow
def test_private_keras_is_used_only_in_workarounds():
    assert users("keras.src") == {"_keras/trainer.py"}
    assert users("tensorflow.python") == {"_keras/heartbeat.py", "_keras/tensorflow_context.py"}


TENSORFLOW_MODULES = {
    "_backends/tensorflow.py",
    "_backends/tensorflow_norms.py",
    "_backends/tensorflow_replicas.py",
    "_backends/tensorflow_xla.py",
    "_cluster_start.py",
    "_replicas.py",
    "_keras/heartbeat.py",
    "_keras/iterators.py",
    "_keras/saving.py",
    "_keras/tensorflow_context.py",
    "_keras/trainer.py",
    "callbacks/_backup_state.py",
    "_monitoring/tensorboard.py",
}


TORCH_MODULES = {
    "_backends/torch.py",
    "_backends/torch_clipping.py",
    "_backends/torch_fused.py",
    "_backends/torch_norms.py",
    "_backends/torch_update.py",
    "_keras/torch_variables.py",
}
JAX_MODULES = {"_backends/jax.py", "_backends/jax_sums.py", "_backends/jax_update.py"}
OF_ONE_BACKEND = TENSORFLOW_MODULES | TORCH_MODULES | JAX_MODULES


def test_tensorflow_is_used_in_its_modules_and_in_functions_of_a_few_others():
    others = {"callbacks/_training_pass.py", "callbacks/backup.py", "multi_worker.py"}
    assert users("tensorflow") == TENSORFLOW_MODULES | others


@pytest.mark.slow
def test_other_backends_are_used_in_few_modules():
    # Only to compile a forward pass, or to run it without gradients.
    assert users("jax") == JAX_MODULES | {"callbacks/_training_pass.py"}
    assert users("torch") == TORCH_MODULES | {"_model_state.py", "callbacks/_training_pass.py"}


def test_importing_the_package_imports_no_backend():
    """Modules of one backend are imported only in functions, if that backend is in use."""
    for path in modules():
        if path.relative_to(PACKAGE).as_posix() not in OF_ONE_BACKEND:
            imported = {name.split(".")[0] for name in imports(path, lazy=False)}
            assert not imported & {"tensorflow", "torch", "jax"}, path


def test_the_update_rule_imports_only_keras():
    named = {name.split(".")[0] for name in imports(PACKAGE / "_update_rule.py")}
    assert named - set(sys.stdlib_module_names) == {"keras"}


def test_the_reference_imports_only_numpy():
    assert imports(TESTS / "support" / "reference.py") == {"numpy"}


def test_the_package_imports_no_tests_and_no_benchmarks():
    outside = {"tests", "helpers", "reference", "benchmarks", "absl", "sklearn"}
    for path in modules():
        assert not {name.split(".")[0] for name in imports(path)} & outside, path


@pytest.mark.slow
def test_only_the_report_and_the_range_test_draw():
    assert {name.split("/")[0] for name in users("matplotlib")} == {"report", "_range_test.py"}
    # They import Matplotlib only when they draw.
    assert not any("matplotlib" in n for path in modules() for n in imports(path, lazy=False))
    assert not any("report" in name for name in imports(PACKAGE / "__init__.py", lazy=False))


# Notes, machines and tools outside the project. Joined here, so that this file has none of them.
FORBIDDEN = [
    "".join(parts)
    for parts in [
        ("sha", "red/"),
        ("find", "ings.md"),
        ("sty", "le.md"),
        ("iss", "ue2"),
        ("/wo", "rk/"),
        ("/ro", "ot/"),
        ("/t", "mp/bash"),
    ]
]


@pytest.mark.slow
def test_no_committed_file_mentions_notes_outside_the_project():
    # An unpacked sdist may be inside another checkout, whose files git would list.
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert TESTS / "package" / "test_imports.py" in files
    mentions = [
        (str(path), word)
        for path in files
        if path.is_file()
        for word in FORBIDDEN
        if word in path.read_text(encoding="utf-8", errors="ignore")
    ]
    assert mentions == []
