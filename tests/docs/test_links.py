"""Every link from a page to a file of the repository or to a heading has a target."""

import re

import pytest
from support import ROOT, pages

pytestmark = pytest.mark.docs

API = [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("docs/api/*.md"))]
OTHERS = ["CHANGELOG.md", "CONTRIBUTING.md", *API]


def without_code(text):
    return re.sub(r"`[^`]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def anchors(text):
    """The anchors of headings, as GitHub makes them. A repeated heading gets a number."""
    found = []
    for heading in re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        before = sum(re.fullmatch(rf"{re.escape(name)}(-\d+)?", each) is not None for each in found)
        found.append(f"{name}-{before}" if before else name)
    return found


def faults(page, text):
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        if not file.exists():
            found.append(f"{target}: no such file")
        elif anchor and anchor not in anchors(file.read_text(encoding="utf-8")):
            found.append(f"{target}: no such heading")
    return found


@pytest.mark.parametrize("page", [*pages.PAGES, *OTHERS])
def test_links_have_targets(page):
    assert faults(page, pages.read(page)) == []


def test_a_broken_link_is_found():
    text = "# A `b`, c\n[a](#a-b-c) [b](#d) [c](no.md) [d](docs/clusters.md#slurm) `[e](f)`\n"
    found = faults("README.md", text)
    assert found == ["#a-b-c: no such heading", "#d: no such heading", "no.md: no such file"]
    assert anchors(text + "# D\n## D\n") == ["a-b-c", "d", "d-1"]


def test_pages_stay_short():
    limits = {"README.md": 150, "benchmarks/README.md": 120}
    limits |= {page: 200 for page in pages.PAGES if page.startswith("docs/")}
    # These consist mostly of tables.
    limits |= {page: 380 for page in pages.PAGES if "/results/" in page}
    lengths = {page: len(pages.read(page).splitlines()) for page in limits}
    assert {page: n for page, n in lengths.items() if n > limits[page]} == {}
