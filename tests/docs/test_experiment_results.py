"""`benchmarks/README.md` shows every committed result of the paper's experiments."""

import json

import pytest
from support import RESULTS, ROOT
from support.paper_experiments import NAMES

pytestmark = pytest.mark.docs

README = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
FOLDERS = sorted((RESULTS / "figures").iterdir())


def read(folder):
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def test_every_experiment_has_results():
    assert {read(folder)["figure"] for folder in FOLDERS} == set(NAMES)
    ablations = {read(folder)["settings"]["study"] for folder in FOLDERS} - {None, ""}
    assert ablations == {"longer", "warmup", "exclusions", "momentum_form"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_readme_shows_each(folder):
    assert f"<!-- {folder.name} -->" in README
    assert f"results/figures/{folder.name}/figure.png" in README
    assert f"results/figures/{folder.name}/results.json" in README


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_results_are_whole_and_say_where_they_come_from(folder):
    found = read(folder)
    assert len(found["points"]) == found["planned"] > 0
    for environment in found["environments"]:
        assert {"python", "keras", "tensorflow", "keras_lars"} <= environment["versions"].keys()
        assert environment["device"]["processor"]
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "results.csv").read_text(encoding="utf-8").count("\n") > len(found["points"])
