"""What is installed: the package, and nothing else."""

import pathlib
import subprocess
import sys
import zipfile

import pytest

import keras_lars

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a clean clone, so that nothing uncommitted or built before gets in."""
    folder = tmp_path_factory.mktemp("wheel")
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    clone = ["git", "clone", "--quiet", "--no-local", str(ROOT), str(folder / "clone")]
    subprocess.run(clone, check=True)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*build, str(folder), str(folder / "clone")], check=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    sources = subprocess.run(
        ["git", "ls-files", "keras_lars"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert names == set(sources.stdout.split())
    assert "keras_lars/py.typed" in names


def test_the_wheel_has_the_version_and_needs_no_backend(wheel):
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    lines = archive.read(metadata).decode().splitlines()
    assert f"Version: {keras_lars.__version__}" in lines
    required = [line for line in lines if line.startswith("Requires-Dist:") and "extra" not in line]
    assert {line.split()[1].split("<")[0].split(">")[0] for line in required} == {"keras", "numpy"}
