"""The pages of the documentation, and their code blocks."""

import re
import textwrap
from typing import NamedTuple

from support import ROOT

PLACES = ("README.md", "benchmarks/README.md", "docs/*.md", "benchmarks/results/*/*.md")
PAGES = [path.relative_to(ROOT).as_posix() for place in PLACES for path in sorted(ROOT.glob(place))]
LANGUAGES = {"python", "bash", "bibtex", "yaml"}


class Block(NamedTuple):
    page: str
    section: str  # the heading above it
    language: str
    text: str


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


def on_one_line(page):
    """The text of a page, so that a sentence is found wherever its lines are broken."""
    return " ".join(read(page).split())


def study(name):
    return on_one_line(f"benchmarks/results/studies/{name}.md")


def blocks(*languages):
    """All code blocks in these languages. Unknown languages raise, as tests would miss them."""
    found = []
    for page in PAGES:
        section, language, lines = "", None, []
        for line in read(page).splitlines():
            fence = re.match(r"\s*(?:```+|~~~+)\s*(.*)", line)
            if fence and language is None:
                language, lines = fence[1], []
                if language not in LANGUAGES:
                    raise ValueError(f"{page}: a code block in {language!r} after {section!r}")
            elif fence:
                found.append(Block(page, section, language, textwrap.dedent("\n".join(lines))))
                language = None
            elif language is not None:
                lines.append(line)
            elif heading := re.match(r"#+ (.+)", line):
                section = heading[1]
        if language is not None:
            raise ValueError(f"{page}: a code block without an end in {section!r}")
    return [block for block in found if block.language in languages]


def other_backend(block):
    """The backend that a block imports and needs; None if it runs on any backend."""
    found = re.search(r"^import (jax|torch)$", block.text, re.M)
    return found and found[1]
