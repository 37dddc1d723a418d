"""Writes the tables on the pages from the committed results: `python -m benchmarks.write_pages`.

A table is between `<!-- table: MODULE:FUNCTION RESULT ... -->` and `<!-- /table -->`. The module is
one of `benchmarks`, and a result is a JSON file in `benchmarks/results`, without its ending.
`--check` changes nothing, and fails if a page is out of date.
"""

import json
import pathlib
import pkgutil
import re

from absl import flags

from benchmarks import files
from benchmarks.command_line import UsageError, run

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PLACES = ("README.md", "benchmarks/README.md", "docs/*.md", "benchmarks/results/*/*.md")
PAGES = [path.relative_to(ROOT).as_posix() for place in PLACES for path in sorted(ROOT.glob(place))]
TABLE = re.compile(r"(<!-- table: ([^>]+)\s-->\n)(?:(?!<!--).)*(<!-- /table -->)", re.DOTALL)


def written(page: str) -> str:
    """The text of a page, with its tables written from the results."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return TABLE.sub(lambda found: f"{found[1]}{_table(found[2])}\n{found[3]}", text)


def _table(text: str) -> str:
    """The table that a function makes of results, by their names."""
    function, *names = text.split()
    results = [json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")) for name in names]
    return pkgutil.resolve_name(f"benchmarks.{function}")(*results)


def main(argv: list[str]) -> None:
    for page in PAGES:
        text = written(page)
        if text == (ROOT / page).read_text(encoding="utf-8"):
            continue
        if flags.FLAGS.check:
            raise UsageError(f"{page} is out of date; run `python -m benchmarks.write_pages`")
        files.write_text(ROOT / page, text)
        print(page)


if __name__ == "__main__":
    flags.DEFINE_boolean("check", False, "Fail if a page is out of date; write nothing.")
    run(main)
