"""The pages beside the committed results show or link to all of them."""

import json

import pytest
from support import RESULTS
from support.paper_experiments import NAMES

pytestmark = pytest.mark.docs

FOLDER = RESULTS / "figures"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
FOLDERS = sorted(path for path in FOLDER.iterdir() if path.is_dir())


def read(folder):
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("folder", sorted(RESULTS.iterdir()), ids=lambda folder: folder.name)
def test_the_pages_of_a_folder_link_to_each_file(folder):
    page = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.md"))
    files = [path.relative_to(folder) for path in folder.rglob("*.json")]
    assert files
    assert [file for file in files if f"({file.as_posix()})" not in page] == []


def test_every_experiment_has_results():
    assert {read(folder)["experiment"] for folder in FOLDERS} == set(NAMES)
    ablations = {read(folder)["settings"]["ablation"] for folder in FOLDERS} - {None, ""}
    assert ablations == {"longer", "warmup", "exclusions", "momentum_form"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_page_shows_each_experiment(folder):
    assert f".table figures/{folder.name}/results -->" in PAGE
    assert f"({folder.name}/figure.png)" in PAGE
    assert f"({folder.name}/results.json)" in PAGE


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_results_are_complete_and_state_their_origin(folder):
    found = read(folder)
    assert len(found["rows"]) == found["planned"] > 0
    for environment in found["environments"]:
        assert {"python", "keras", "tensorflow", "keras_lars"} <= environment["versions"].keys()
        assert environment["device"]["processor"]
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "results.csv").read_text(encoding="utf-8").count("\n") > len(found["rows"])
