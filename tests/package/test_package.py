"""The distributions: an sdist of the whole repository, and a wheel of the package alone."""

import email
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
from support import ROOT

import keras_lars

BUILD = "import sys; from setuptools import build_meta; print(build_meta.{}(sys.argv[1]))"


def git(*arguments):
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.split()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the unpacked `sdist`, with `wheel.whl`, and with the output of builds in `log`.

    The sdist is built from the files in git and nothing else, the wheel from the sdist as pip does.
    """
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    folder = tmp_path_factory.mktemp("built")
    git("checkout-index", "--all", f"--prefix={folder}/source/")
    requires = re.search(r'^requires = \["(.+)"\]', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", folder / "tools"]
    subprocess.run([*install, requires], check=True)

    def build(hook, source):
        command = [sys.executable, "-W", "default", "-c", BUILD.format(hook), str(folder)]
        done = subprocess.run(
            command,
            cwd=source,
            env={"PATH": "", "PYTHONPATH": str(folder / "tools")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        with open(folder / "log", "a") as log:
            log.write(done.stdout)
        return folder / done.stdout.split()[-1]

    archive = build("build_sdist", folder / "source")
    shutil.unpack_archive(archive, folder / "unpacked")
    (folder / "unpacked" / archive.name.removesuffix(".tar.gz")).rename(folder / "sdist")
    build("build_wheel", folder / "sdist").rename(folder / "wheel.whl")
    return folder


@pytest.fixture(scope="module")
def metadata(built):
    archive = zipfile.ZipFile(built / "wheel.whl")
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(archive.read(name))


@pytest.mark.slow
def test_the_sdist_has_all_files_in_git(built):
    """Including the tests and all their files. A new folder needs a line in MANIFEST.in."""
    made = {"PKG-INFO", "setup.cfg"}
    names = {
        path.relative_to(built / "sdist").as_posix()
        for path in (built / "sdist").rglob("*")
        if path.is_file()
    }
    kept = {name for name in names - made if not re.match(r"keras_lars\.egg-info/|build/", name)}
    assert kept == set(git("ls-files"))


@pytest.mark.slow
def test_the_wheel_has_the_package_and_nothing_else(built):
    names = zipfile.ZipFile(built / "wheel.whl").namelist()
    names = {name for name in names if ".dist-info/" not in name}
    assert names == set(git("ls-files", "keras_lars"))
    assert "keras_lars/py.typed" in names


@pytest.mark.slow
def test_setup_uses_nothing_deprecated(built):
    log = (built / "log").read_text()
    assert "writing" in log
    assert "deprecat" not in log.lower()


@pytest.mark.slow
def test_the_wheel_has_the_version_and_needs_no_backend(metadata):
    assert metadata["Version"] == keras_lars.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    required = [value for value in metadata.get_all("Requires-Dist") if "extra" not in value]
    assert {re.match(r"[\w-]+", value)[0] for value in required} == {"keras", "numpy"}
    assert {"tensorflow", "jax", "torch"} <= set(metadata.get_all("Provides-Extra"))


@pytest.mark.slow
def test_project_urls(metadata):
    urls = dict(value.split(", ") for value in metadata.get_all("Project-URL"))
    assert urls.keys() == {"Documentation", "Source", "Changelog", "Issues"}
    assert all(url.startswith(urls["Source"]) for url in urls.values())


def targets(markdown):
    """The targets of links and images in Markdown, also by reference, and in HTML."""
    text = re.sub(r"```.*?```", "", markdown, flags=re.DOTALL)
    text = re.sub(r"`[^`]*`", "", text)
    forms = r"""\]\(([^)\s]+)[^)]*\)|^ *\[[^\]]+\]: *(\S+)|(?:src|srcset|href)=["']?([^"' >]+)"""
    return ["".join(groups) for groups in re.findall(forms, text, re.MULTILINE)]


def test_links_are_found_in_every_form():
    text = '[a](b) ![c](d "e")\n[f]: g\n<img src="h"> `[i](j)`\n```\n[k](l)\n```\n'
    assert targets(text) == ["b", "d", "g", "h"]


@pytest.mark.slow
def test_links_and_images_of_readme_work_outside_the_repository(metadata):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    described = metadata.get_payload(decode=True).decode()
    found = targets(described)
    assert len(found) == len(targets(readme)) > 0
    assert [target for target in found if not target.startswith("https://")] == []
    (source,) = (
        value.removeprefix("Source, ")
        for value in metadata.get_all("Project-URL")
        if value.startswith("Source, ")
    )
    ours = [target for target in found if target.startswith(source)]
    assert ours
    for target in ours:
        kind, path = re.fullmatch(rf"{source}/(blob|raw)/HEAD/([^#]+)(?:#.+)?", target).groups()
        assert (ROOT / path).exists(), target
        assert kind == ("raw" if path.endswith((".png", ".svg")) else "blob"), target
    # Nothing else is changed.
    for target in found:
        described = described.replace(f"]({target})", "]()")
    for target in targets(readme):
        readme = readme.replace(f"]({target})", "]()")
    assert described.strip() == readme.strip()
