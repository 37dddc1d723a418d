"""Every table on a page is the one that `python -m benchmarks.write_pages` makes of the results."""

import re

import pytest
from support import pages

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
    assert set(write_pages.BLOCKS) <= set(re.findall(r"<!-- /(.+?) -->", text))
