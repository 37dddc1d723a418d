"""The site that `.ci/site` makes from the pages: checks that do not build it."""

import json
import re
import runpy

import pytest
from support import ROOT, pages

pytestmark = pytest.mark.docs

SITE = runpy.run_path(str(ROOT / ".ci" / "site"))


def test_every_page_is_in_the_navigation_once():
    expected = {*pages.PAGES, *SITE["found"]("docs/api/*.md", "*.md")}
    assert {"README.md", "docs/clusters.md", "docs/api/LARS.md"} <= expected
    listed = re.findall(r'"([^"]+\.md)"', json.dumps(SITE["navigation"]()))
    assert sorted(listed) == sorted(expected)


def test_the_contents_of_the_documentation_name_every_page():
    contents = pages.read("docs/README.md")
    names = [page.removeprefix("docs/") for page in SITE["found"]("docs/*.md")]
    assert [name for name in names if f"({name})" not in contents] == ["README.md"]
