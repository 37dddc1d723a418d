"""Results as data frames, and as Markdown."""

import json

import pytest
from support import pages

pytest.importorskip("pandas", reason="the extra `benchmarks` is not installed")

from benchmarks import frames

RESULTS = pages.ROOT / "benchmarks" / "results"
ROWS = [{"name": "a", "n": 8192}, {"name": "long one", "n": None}]
HERE = {"versions": {"keras": "3"}, "device": {"cores": 2}}


def test_a_row_has_what_the_file_holds_and_what_it_ran_on():
    there = {"versions": {"keras": "4"}, "device": {"cores": 8}}
    results = {"planned": 2, "environments": [HERE, there]}
    results["rows"] = [{**row, "environment": i} for i, row in enumerate(ROWS)]
    found = frames.frame(results)
    assert found["n"][0] == 8192
    assert found["n"].isna().tolist() == [False, True]
    assert found["device"].tolist() == [{"cores": 2}, {"cores": 8}]
    assert found.attrs["planned"] == 2
    assert found["versions"].tolist() == [{"keras": "3"}, {"keras": "4"}]
    alone = frames.frame([{**HERE, "result": {"loss": 1.0}}])
    assert alone["result"][0] == {"loss": 1.0}
    assert alone["versions"][0] == HERE["versions"]


@pytest.mark.parametrize("name", ["digits_resnet50", "studies/first_try", "studies/batch_size"])
def test_committed_results_are_frames(name):
    results = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    found = frames.frame(results)
    assert len(found) == len(results if isinstance(results, list) else results["rows"])
    assert all({"python", "keras", "keras_lars"} <= each.keys() for each in found["versions"])
    assert all(each["cores"] >= 1 for each in found["device"])


def test_a_markdown_table():
    rows = [{"name": "a", "n": "10"}, {"name": "long one", "n": None}, {"name": "b", "n": "1,867"}]
    assert frames.markdown(rows).splitlines() == [
        "| name     |     n |",
        "|:---------|------:|",
        "| a        |    10 |",
        "| long one |       |",
        "| b        | 1,867 |",
    ]
