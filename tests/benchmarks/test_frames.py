"""Tables in Markdown."""

import pytest

pytest.importorskip("pandas", reason="the extra `benchmarks` is not installed")

from benchmarks import frames


def test_a_markdown_table():
    rows = [{"name": "a", "n": "10"}, {"name": "long one", "n": None}, {"name": "b", "n": "1,867"}]
    assert frames.markdown(rows).splitlines() == [
        "| name     |     n |",
        "|:---------|------:|",
        "| a        |    10 |",
        "| long one |       |",
        "| b        | 1,867 |",
    ]
