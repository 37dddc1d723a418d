"""Every table on a page is the one that `python -m benchmarks.write_pages` makes of the results."""

import pytest
from support import RESULTS, pages

pytest.importorskip("pandas", reason="the extra `benchmarks` is not installed")
pytest.importorskip("sklearn", reason="the extra `benchmarks` is not installed")

from benchmarks import write_pages

pytestmark = pytest.mark.docs


@pytest.mark.slow
@pytest.mark.parametrize("page", write_pages.PAGES)
def test_the_tables_of_a_page_are_those_of_the_results(page):
    assert write_pages.written(page) == pages.read(page)


def test_every_table_is_on_a_page():
    text = "".join(map(pages.read, write_pages.PAGES))
    tables = write_pages.TABLE.findall(text)
    assert len(tables) == text.count("<!-- table: ") == text.count("<!-- /table -->") > 0
    shown = {name for _, asked, _ in tables for name in asked.split()[1:]}
    paths = [path.relative_to(RESULTS).with_suffix("") for path in RESULTS.rglob("*.json")]
    # Those that are described in text.
    others = {f"speed/h100/torch_{name}" for name in ("before", "fewer_kernels")}
    others.add("speed/update_cost_models_xeon")
    assert {path.as_posix() for path in paths} == shown | others
