"""Published accuracies by batch size on ImageNet. None of them were measured here."""

import pathlib

import pandas as pd

from benchmarks import frames
from benchmarks.recipes import ROWS


def table() -> str:
    """The published accuracies as a Markdown table."""
    path = pathlib.Path(__file__).with_name("published.csv")
    lines = pd.read_csv(path, comment="#", dtype=str, keep_default_na=False).to_dict("records")
    for line in lines:
        for column, name in list(line.items()):
            if name in ROWS:
                line |= {column: str(ROWS[name].published), "source": ROWS[name].source}
    return frames.markdown(lines)
