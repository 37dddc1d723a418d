"""The commands of the benchmarks."""

import re

from support import ROOT


def commands():
    """The modules with flags that `python -m` runs."""
    found = []
    for path in sorted((ROOT / "benchmarks").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        is_run = '\nif __name__ == "__main__":' in text
        if is_run and re.search(r"flags|\.main\(", text):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found.append(name.removesuffix(".__main__"))
    return found
