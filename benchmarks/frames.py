"""Tables in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd


def markdown(rows: pd.DataFrame | Sequence[Mapping[str, Any]], texts: int = 1) -> str:
    """A Markdown table of cells that are formatted already; what is missing is left blank.

    Args:
        rows: The cells, by the name of their column.
        texts: So many columns at the left hold text; the others hold numbers, on the right.
    """
    cells = pd.DataFrame(rows, dtype=object).fillna("")
    numbers = len(cells.columns) - texts
    return cells.to_markdown(
        index=False, disable_numparse=True, colalign=["left"] * texts + ["right"] * numbers
    )
