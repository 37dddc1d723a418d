"""Results as data frames: made of what a file of results holds, and written as Markdown tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd


def frame(results: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row for each training or measurement, with the versions and the device it ran on.

    Whatever else the file says is in `attrs`. A column holds what the file holds, nested objects
    too.

    Args:
        results: An object with a list of `rows`, or the list itself.
    """
    if isinstance(results, Mapping):
        rows, about = results["rows"], {k: v for k, v in results.items() if k != "rows"}
    else:
        rows, about = results, {}
    of_all = {name: about[name] for name in ("versions", "device") if name in about}
    environments = about.get("environments")
    records = [
        {**of_all, **(environments[row["environment"]] if environments else {}), **row}
        for row in rows
    ]
    found = pd.DataFrame(records)
    found.attrs.update(about)
    return found


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
