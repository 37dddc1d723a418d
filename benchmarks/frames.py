"""Markdown tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd


def markdown(rows: pd.DataFrame | Sequence[Mapping[str, Any]], texts: int = 1) -> str:
    """A Markdown table of formatted cells. Missing cells are blank.

    Args:
        rows: For each row, its cells by column name.
        texts: The number of text columns, which come first and are left-aligned. The others hold
            numbers and are right-aligned.
    """
    cells = pd.DataFrame(rows, dtype=object).fillna("")
    numbers = len(cells.columns) - texts
    return cells.to_markdown(
        index=False, disable_numparse=True, colalign=["left"] * texts + ["right"] * numbers
    )
